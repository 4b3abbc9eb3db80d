"""`relevo keys`: keys of the API, made, listed and revoked."""

import argparse
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from relevo.commands import opening
from relevo.commands.listing import Listing, show_list
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from relevo.store.api_keys import Kept

DAYS = 365
"""How long a key works if nothing else is said."""
DAYS_MAX = 3650
NAME_CHARACTERS_MAX = 80

SCOPES = {
    "read": "see conversations, threads and turns",
    "send": "have messages sent",
    "manage": "hold, resume, answer, tag, close, link",
    "operate": "dead letters and quarantine",
}
"""By `relevo.keys.Scope`, which a test compares them with."""

WHY_NOT = {
    "two_of_name": "has two keys of this name that work already; revoke the older one first "
    "(`relevo keys list`, `relevo keys revoke ID`)",
    "too_many": "has too many keys that work already; revoke those that nobody uses "
    "(`relevo keys list`, `relevo keys revoke ID`)",
}
"""By `store.api_keys.Refusal`."""


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    group = commands.add_parser("keys", help="keys of the API", allow_abbrev=False)
    inner = group.add_subparsers(required=True, metavar="COMMAND")
    create = opening.add(inner, "create", "make a key, which is shown once", _create)
    create.add_argument("name", metavar="NAME", type=_name, help="what it is for")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=SCOPES,
        help="what it may do, several times: "
        + "; ".join(f"{scope} ({what})" for scope, what in SCOPES.items()),
    )
    create.add_argument("--business", help="whose it is, if several are configured")
    ends = create.add_mutually_exclusive_group()
    ends.add_argument(
        "--days",
        type=opening.whole(1, DAYS_MAX),
        default=DAYS,
        metavar="N",
        help=f"how long it works (default: {DAYS})",
    )
    ends.add_argument("--for-ever", action="store_true", help="until it is revoked")
    create.add_argument("--json", action="store_true", help="for a script")
    what = "those that work, newest first; never the keys themselves"
    opening.add_list(opening.add(inner, "list", what, _list), "revoked and expired")
    revoke = opening.add(inner, "revoke", "have a key work no longer, at once", _revoke)
    which = "its id (see `list`), or the whole of one that has got about"
    revoke.add_argument("id", metavar="ID", type=_id, help=which)
    revoke.add_argument("--business", help="only this business (default: every one)")


async def _create(options: argparse.Namespace) -> int:
    import secrets

    from relevo import telling
    from relevo.clock import SystemClock
    from relevo.keys import CHANCE_BYTES, Scope, id_of
    from relevo.store.api_keys import NewKey, create

    config = opening.config(options)
    business_id = _whose(options, [b.id for b in opening.businesses(config, options.business)])
    now = SystemClock().now()
    expires_at = None if options.for_ever else now + timedelta(days=options.days)
    new = NewKey(options.name, [Scope(scope) for scope in options.scope], expires_at)
    chance = secrets.token_bytes(CHANCE_BYTES)
    async with opening.connected(config) as database:
        text, refusal = await create(database.pools, business_id, new, chance, now)
    if refusal is not None:
        telling.say(f"No key was made: {business_id} {WHY_NOT[refusal]}.")
        return BAD
    if options.json:
        shown = {"business_id": business_id, "id": id_of(text), "key": text}
        telling.show_json(shown | asdict(new))
        return WELL
    until = f"until {telling.at(expires_at)}" if expires_at else "until it is revoked"
    telling.say(f"A key of {business_id} named {new.name} ({', '.join(new.scopes)}), {until}.")
    telling.say("It is shown this once; only its hash is kept.")
    telling.say(text)
    return WELL


async def _list(options: argparse.Namespace) -> int:
    from relevo.clock import SystemClock
    from relevo.store.api_keys import listed

    working_at = None if options.all else SystemClock().now()
    listing: Listing[Kept] = Listing(
        newest=partial(listed, working_at=working_at),
        id_of=lambda kept: round(kept.created_at.timestamp() * 1e6),
        nothing="There are no keys." if options.all else "No key works.",
        columns=["id", "name", "business", "scopes", "made", "last used", "expires", "revoked"],
        row=_row,
    )
    return await show_list(options, listing)


async def _revoke(options: argparse.Namespace) -> int:
    from relevo import telling
    from relevo.clock import SystemClock
    from relevo.store.api_keys import revoke

    config = opening.config(options)
    now = SystemClock().now()
    async with opening.connected(config) as database:
        for business in opening.businesses(config, options.business):
            if await revoke(database.pools, business.id, options.id, now):
                telling.say(f"Key {options.id} of {business.id} works no longer.")
                return WELL
    telling.say(f"There is no key {options.id}.")
    return BAD


def _whose(options: argparse.Namespace, configured: list[str]) -> str:
    from relevo.errors import ConfigError

    if len(configured) > 1:
        raise ConfigError(f"--business: name one of {', '.join(configured)}")
    return options.business or configured[0]


def _name(text: str) -> str:
    if not (text.isprintable() and text.strip() and len(text) <= NAME_CHARACTERS_MAX):
        raise argparse.ArgumentTypeError(f"should be 1 to {NAME_CHARACTERS_MAX} visible characters")
    return text


def _id(text: str) -> str:
    """Take a key's id; of a whole key nothing else is looked at, or shown again."""
    from relevo.keys import id_of

    return id_of(text) or _name(text)


def _row(kept: "Kept") -> list[str]:
    return [
        kept.id,
        kept.name,
        kept.business_id,
        ", ".join(kept.scopes),
        _at(kept.created_at),
        _at(kept.last_used_at),
        _at(kept.expires_at),
        _at(kept.revoked_at),
    ]


def _at(instant: datetime | None) -> str:
    from relevo import telling

    return telling.at(instant)
