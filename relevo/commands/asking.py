"""`relevo why` and `relevo audit`: questions that change nothing."""

import argparse

from relevo.commands import opening
from relevo.commands.opening import BAD, WELL, Commands

TURNS_MAX = 1000


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    why = opening.add(commands, "why", "tell why a customer was, or was not, replied to", _why)
    opening.add_address(why)
    why.add_argument(
        "--turns",
        type=opening.whole(1, TURNS_MAX),
        default=20,
        metavar="N",
        help="newest turns shown",
    )
    why.add_argument("--json", action="store_true", help="for a script")
    audit = opening.add(commands, "audit", "check that no accepted message is missing", _audit)
    audit.add_argument("--json", action="store_true", help="for a script")


async def _why(options: argparse.Namespace) -> int:
    from relevo import telling
    from relevo.store.inspection import why

    config = opening.config(options)
    businesses = opening.businesses(config, options.business)
    async with opening.connected(config) as database:
        found = [
            conversation
            for business in businesses
            for conversation in await why(
                database.pools, business.id, options.address, business.region, options.turns
            )
        ]
    telling.why(found, options.address, as_json=options.json)
    return WELL if found else BAD


async def _audit(options: argparse.Namespace) -> int:
    from relevo import telling
    from relevo.store.inspection import audit

    config = opening.config(options)
    opening.refuse_without_owner(config, "an audit")
    database = await opening.database(config, make=False)
    try:
        balances = await audit(database.urls.owner_url)
    finally:
        await database.stop()
    telling.balances(balances, as_json=options.json)
    return WELL if all(balance.sound for balance in balances) else BAD
