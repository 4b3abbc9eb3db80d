"""`relevo import messages`: what an older CRM holds is put aside, for `relevo backfill`."""

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.commands import opening
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from relevo.settings import Business, Config
    from relevo.store.legacy_messages import Reading
    from relevo.store.legacy_sources import Csv, LegacyDatabase
    from relevo.store.staging import Staging, Taken

ROWS_SHOWN_MAX = 10
"""Rows named for one reason; with --json up to a thousand are."""

REASONS = {
    "nobody": "no number, no lid and no lead: it is nobody's",
    "not_a_phone": "its number is none, and no lid or lead stands beside it",
    "no_person": "a group or a list, not one person",
    "id_too_long": "a lead or a lid of more than 200 characters",
    "no_direction": "nothing says who wrote it",
    "unknown_direction": "its direction is neither in nor out",
    "empty": "it has no text",
    "too_long": "a text of more than 65,536 characters",
    "no_time": "nothing says when it was written",
    "not_a_time": "its time is written as no instant",
    "too_old": "nobody wrote that early",
    "in_the_future": "it is local time perhaps: see --local-times",
}


def add(what: Commands) -> None:
    """Add the command of this module to those of `relevo import`."""
    messages = opening.add(what, "messages", "what was said, of CSV or PostgreSQL", _messages)
    messages.description = (
        "Puts aside the messages of an older CRM, of a CSV or of the tables whatsapp_message and "
        "whatsapp_conversation of its PostgreSQL. `relevo backfill` then gives each to whose it "
        "is. What is put aside already stays as it is, so it may be repeated."
    )
    messages.epilog = (
        "Exit codes: 0 everything was put aside; 1 rows were refused, as the summary tells; 2 it "
        "cannot be done. Columns and what they may hold: docs/importing.md."
    )
    source = messages.add_mutually_exclusive_group(required=True)
    source.add_argument("file", metavar="FILE", nargs="?", type=Path, help="a CSV")
    source.add_argument(
        "--url-env", metavar="NAME", help="the variable that holds the url of the CRM's PostgreSQL"
    )
    messages.add_argument("--business", required=True, metavar="ID", help="whose messages they are")
    messages.add_argument(
        "--channel", metavar="ID", help="the line they came by (default: the only one)"
    )
    messages.add_argument(
        "--local-times",
        action="store_true",
        help="times without a zone are the business's (default: UTC)",
    )
    messages.add_argument(
        "--outbound-author",
        choices=("agent", "assistant", "automation"),
        default="agent",
        help="who wrote what was sent (default: agent)",
    )
    messages.add_argument(
        "--dry-run", action="store_true", help="tell what would happen, and change nothing"
    )
    messages.add_argument("--json", action="store_true", help="for a script")


async def _messages(options: argparse.Namespace) -> int:
    from relevo.store.staging import Staging

    config = opening.config(options)
    [business] = opening.businesses(config, options.business)
    channel_id = _channel(config, business, options.channel)
    source = _source(options)
    expected = await source.count()
    reading = _reading(business, options)
    async with opening.connected(config) as database:
        staging = Staging(database.pools, business.id, channel_id, reading, options.dry_run)
        taken = await _take(staging, source, expected)
    if options.json:
        _tell_script(taken, rehearsal=options.dry_run)
    else:
        _tell(taken, rehearsal=options.dry_run)
    return BAD if taken.refused else WELL


async def _take(staging: "Staging", source: "Csv | LegacyDatabase", expected: int) -> "Taken":
    from relevo import telling
    from relevo.store.staging import Taken

    taken = Taken()
    with telling.progress("reading", expected) as advance:
        async for page in source.pages():
            await staging.take(page, taken)
            advance(len(page))
    return taken


def _source(options: argparse.Namespace) -> "Csv | LegacyDatabase":
    from relevo.errors import ConfigError
    from relevo.store.legacy_sources import Csv, LegacyDatabase

    if options.file is not None:
        return Csv(options.file)
    url = os.environ.get(options.url_env, "")
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigError(
            f"--url-env: the variable {options.url_env} should hold a url postgresql://…"
        )
    return LegacyDatabase(url, f"--url-env {options.url_env}")


def _channel(config: "Config", business: "Business", only: str | None) -> str:
    """Return the line of a business that is meant.

    Raises:
        ConfigError: if none is, or several may be.
    """
    from relevo.errors import ConfigError

    known = [channel.id for channel in config.channels if channel.business == business.id]
    found = [channel_id for channel_id in known if only in {None, channel_id}]
    if len(found) != 1:
        raise ConfigError(f"--channel: name one of business {business.id}: {', '.join(known)}")
    return found[0]


def _reading(business: "Business", options: argparse.Namespace) -> "Reading":
    from datetime import UTC
    from zoneinfo import ZoneInfo

    from relevo.clock import SystemClock
    from relevo.messages import Author
    from relevo.store.legacy_messages import Reading

    return Reading(
        region=business.region,
        local=ZoneInfo(business.timezone) if options.local_times else UTC,
        outbound=Author(options.outbound_author),
        now=SystemClock().now(),
    )


def _tell_script(taken: "Taken", *, rehearsal: bool) -> None:
    from relevo import telling

    telling.show_json(
        {
            "rehearsal": rehearsal,
            "rows": taken.rows,
            "put_aside": taken.staged,
            "known": taken.known,
            "refused": dict(sorted(taken.refused.items())),
            "refusals": [asdict(refusal) for refusal in taken.refusals],
        }
    )


def _tell(taken: "Taken", *, rehearsal: bool) -> None:
    from rich.text import Text

    from relevo import terminal

    on = terminal.console()
    on.print(Text(f"{taken.rows:>8}  rows read"))
    on.print(Text(f"{taken.staged:>8}  put aside; `relevo backfill` gives them to whose they are"))
    on.print(Text(f"{taken.known:>8}  put aside before, or there twice"))
    if taken.refused:
        on.print(Text(f"{taken.refused.total():>8}  refused:", style="yellow"))
    for reason, number in sorted(taken.refused.items()):
        shown = [str(r.number) for r in taken.refusals if r.reason == reason][:ROWS_SHOWN_MAX]
        more = f" and {number - len(shown)} more" if number > len(shown) else ""
        rows = f"{'row' if number == 1 else 'rows'} {', '.join(shown)}{more}"
        on.print(Text(f"          {number} {reason}: {REASONS[reason]}; {rows}"))
    if rehearsal:
        on.print(Text("A rehearsal: nothing was changed."))
