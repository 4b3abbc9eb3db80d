"""`relevo import`: what is known from before becomes ours."""

import argparse
from dataclasses import asdict
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.commands import importing_messages, opening
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from relevo.settings import Business
    from relevo.store.importing import Refusal, Tally

ROWS_SHOWN_MAX = 10
"""Rows named for one reason; with --json up to a thousand are."""

REASONS = {
    ("id", "wrong_prefix"): "a phone number or another service's id stands in its place",
    ("id", "wrong_characters"): "it only begins like an id",
    ("id", "not_text"): "a number stands in its place",
    ("time", "not_a_time"): "it is written as no instant",
    ("time", "not_text"): "it is a number, and of what is not known",
    ("time", "too_old"): "no customer wrote that early",
    ("time", "in_the_future"): "it is local time perhaps; UTC is expected",
    ("row", "not_a_phone"): "its wa_id is no phone number",
    ("row", "missing"): "it has no wa_id",
}
REFUSED = {
    "id": "conversation_id refused; the customers are kept, and the AI begins anew with them",
    "time": "last_webhook_timestamp refused; the customers are kept, without their last time",
    "row": "rows without a customer, not taken at all",
}


def add(commands: Commands) -> None:
    """Add the command of this module."""
    parser = commands.add_parser(
        "import",
        help="take over the customers and messages of a system that is replaced",
        allow_abbrev=False,
    )
    what = parser.add_subparsers(required=True, metavar="WHAT")
    threads = opening.add(what, "threads", "the table threads, of SQLite or CSV", _threads)
    threads.description = (
        "Reads wa_id, conversation_id and last_webhook_timestamp (naive UTC) of a SQLite file's "
        "table threads, or of a CSV with these columns. What is known already stays as it is, so "
        "it may be repeated, also while Relevo serves."
    )
    threads.epilog = (
        "Exit codes: 0 everything was taken; 1 something was refused, as the summary tells; 2 it "
        "cannot be done."
    )
    threads.add_argument("file", metavar="FILE", type=Path, help="SQLite or CSV, by its content")
    threads.add_argument("--business", required=True, metavar="ID", help="whose customers they are")
    threads.add_argument(
        "--dry-run", action="store_true", help="tell what would happen, and change nothing"
    )
    threads.add_argument("--json", action="store_true", help="for a script")
    importing_messages.add(what)


async def _threads(options: argparse.Namespace) -> int:
    from relevo.store.legacy import count

    config = opening.config(options)
    opening.refuse_without_owner(config, "an import")
    [business] = opening.businesses(config, options.business)
    expected = count(options.file)
    database = await opening.database(config, make=False)
    try:
        tally = await _take(options, business, database.urls.owner_url, expected)
    finally:
        await database.stop()
    if options.json:
        _tell_script(tally, rehearsal=options.dry_run)
    else:
        _tell(options, tally)
    return BAD if tally.refused else WELL


async def _take(
    options: argparse.Namespace, business: "Business", owner_url: str, expected: int
) -> "Tally":
    from relevo import telling
    from relevo.clock import SystemClock
    from relevo.store.importing import Importing, Tally
    from relevo.store.legacy import threads
    from relevo.store.owner import as_owner

    now = SystemClock().now()
    tally = Tally()
    async with as_owner(owner_url) as connection:
        importing = Importing(
            connection, business.id, business.region, now, rehearsal=options.dry_run
        )
        with telling.progress("importing", expected) as advance:
            async for page in threads(options.file, now):
                await importing.take(page, tally)
                advance(len(page))
    return tally


def _tell_script(tally: "Tally", *, rehearsal: bool) -> None:
    from relevo import telling
    from relevo.metrics.logs import masked

    telling.show_json(
        {
            "rehearsal": rehearsal,
            "rows": tally.rows,
            "imported": tally.imported,
            "known": tally.known,
            "changed": tally.changed,
            "overtaken": tally.overtaken,
            "assistants_threads": tally.assistants_threads,
            "refused": {
                what: {reason: n for (of, reason), n in sorted(tally.refused.items()) if of == what}
                for what in REFUSED
            },
            "refusals": [asdict(r) | {"wa_id": masked(r.wa_id)} for r in tally.refusals],
        }
    )


def _tell(options: argparse.Namespace, tally: "Tally") -> None:
    from rich.text import Text

    from relevo import terminal

    on = terminal.console()
    on.print(Text(f"{tally.rows:>8}  {_rows(tally.rows)} read"))
    on.print(Text(f"{tally.imported:>8}  new here"))
    on.print(Text(f"{tally.known:>8}  known already, and {tally.changed} of them lacked something"))
    more = [
        (tally.overtaken, "had written to Relevo by then, so that time was not taken"),
        (tally.assistants_threads, "have a thread_id of the Assistants API: nothing can use it"),
    ]
    for number, what in more:
        if number:
            on.print(Text(f"{number:>8}  {what}"))
    for what, meaning in REFUSED.items():
        reasons = {reason: n for (of, reason), n in tally.refused.items() if of == what}
        if not reasons:
            continue
        on.print(Text(f"{sum(reasons.values()):>8}  {meaning}:", style="yellow"))
        kept = sorted(
            (r for r in tally.refusals if r.what == what), key=attrgetter("reason", "number")
        )
        for reason, refusals in groupby(kept, attrgetter("reason")):
            on.print(Text(f"          {_reason(what, reason, reasons[reason], list(refusals))}"))
    if options.dry_run:
        on.print(Text("A rehearsal: nothing was changed."))


def _reason(what: str, reason: str, number: int, refusals: "list[Refusal]") -> str:
    from relevo.metrics.logs import masked

    shown = ", ".join(f"{r.number} ({masked(r.wa_id)})" for r in refusals[:ROWS_SHOWN_MAX])
    more = f" and {number - ROWS_SHOWN_MAX} more" if number > ROWS_SHOWN_MAX else ""
    return f"{number} {reason}: {REASONS[what, reason]}; {_rows(number)} {shown}{more}"


def _rows(number: int) -> str:
    return "row" if number == 1 else "rows"
