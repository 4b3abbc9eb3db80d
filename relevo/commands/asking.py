"""`relevo why` and `relevo audit`: questions that change nothing."""

import argparse

from relevo.commands import opening
from relevo.commands.opening import BAD, WELL, Commands

TURNS_MAX = 1000


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    why = opening.add(commands, "why", "tell why a customer was, or was not, replied to", _why)
    why.add_argument(
        "address",
        metavar="ADDRESS",
        type=opening.address,
        help="a phone number, or another address",
    )
    why.add_argument("--business", help="only this business (default: every one that knows it)")
    why.add_argument("--turns", type=_turns, default=20, metavar="N", help="newest turns shown")
    why.add_argument("--json", action="store_true", help="for a script")
    audit = opening.add(commands, "audit", "check that no accepted message is missing", _audit)
    audit.add_argument("--json", action="store_true", help="for a script")


def _turns(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and 1 <= int(text[:9]) <= TURNS_MAX):
        raise argparse.ArgumentTypeError(f"should be a whole number from 1 to {TURNS_MAX}")
    return int(text)


async def _why(options: argparse.Namespace) -> int:
    from relevo import telling
    from relevo.store.inspection import why
    from relevo.tasks import Tasks

    config = opening.config(options)
    if options.business is not None:
        opening.known_business(config, options.business)
    database = await opening.database(config, make=False)
    try:
        await database.connect(Tasks(opening.report))
        found = [
            conversation
            for business in config.businesses
            if options.business in {None, business.id}
            for conversation in await why(
                database.pools, business.id, options.address, business.region, options.turns
            )
        ]
    finally:
        await database.stop()
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
