"""`relevo backfill`: messages of an older CRM are given to whose they are."""

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from relevo.commands import opening
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from relevo.settings import Business
    from relevo.store.pools import Pools

REASONS = {
    "unknown_lead": "nobody is known under its lead, and it tells no phone",
    "unknown_lid": "nobody is known under its lid, and it tells no phone",
}

Summary = dict[str, Counter[str]]
"""By business: `inserted`, `known` (from elsewhere), `waiting`, else why it was refused."""


def add(commands: Commands) -> None:
    """Add the command of this module."""
    what = "give the messages of an older CRM, once imported, to whose they are"
    backfill = opening.add(commands, "backfill", what, _backfill)
    backfill.description = (
        "Finds whose each message is that `relevo import messages` has put aside, by its lead, "
        "then its phone, then its lid, and stores it in that thread as told. It may run while "
        "Relevo serves, be interrupted, and be repeated."
    )
    backfill.epilog = (
        "Exit codes: 0 everything has its thread; 1 something was refused, as the summary tells; 2 "
        "it cannot be done."
    )
    backfill.add_argument("--business", metavar="ID", help="only this one (default: every one)")
    backfill.add_argument(
        "--again", action="store_true", help="also try what was refused by an earlier run"
    )
    backfill.add_argument("--json", action="store_true", help="for a script")


async def _backfill(options: argparse.Namespace) -> int:
    config = opening.config(options)
    businesses = opening.businesses(config, options.business)
    async with opening.connected(config) as database:
        summary = {
            business.id: await _of_one(database.pools, business, again=options.again)
            for business in businesses
        }
    if options.json:
        _tell_script(summary)
    else:
        _tell(summary)
    refused = any(found[reason] for found in summary.values() for reason in REASONS)
    return BAD if refused else WELL


async def _of_one(pools: "Pools", business: "Business", *, again: bool) -> Counter[str]:
    from relevo import telling
    from relevo.clock import SystemClock
    from relevo.store.backfilling import Backfill

    backfill = Backfill(pools, business.id, business.region, SystemClock())
    waiting = await backfill.waiting(again=again)
    with telling.progress(f"backfilling {business.id}", waiting) as advance:
        async for rows in backfill.run():
            advance(rows)
    found: Counter[str] = Counter()
    for row in await backfill.summary():
        found[row["reason"] or row["state"]] += row["messages"]
    return found


def _tell_script(summary: Summary) -> None:
    from relevo import telling

    telling.show_json(
        [
            {
                "business": business_id,
                "inserted": found["inserted"],
                "known": found["known"],
                "waiting": found["waiting"],
                "refused": {reason: found[reason] for reason in REASONS if found[reason]},
            }
            for business_id, found in summary.items()
        ]
    )


def _tell(summary: Summary) -> None:
    from rich.table import Table
    from rich.text import Text

    from relevo import terminal

    on = terminal.console()
    table = Table(title="What has become of all that was imported")
    for column in ("business", "inserted", "known already", "waiting", *REASONS):
        table.add_column(column, justify="left" if column == "business" else "right")
    for business_id, found in summary.items():
        counts = (found[key] for key in ("inserted", "known", "waiting", *REASONS))
        table.add_row(business_id, *map(str, counts))
    on.print(table)
    for reason, meaning in REASONS.items():
        if number := sum(found[reason] for found in summary.values()):
            on.print(Text(f"{number} {reason}: {meaning}.", style="yellow"))
    if any(found[reason] for found in summary.values() for reason in REASONS):
        on.print(Text("Once they are known, `relevo backfill --again` tries these again."))
