"""`relevo dead-letters`: turns that were given up, and what a person does about them."""

import argparse
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from relevo.commands import opening
from relevo.commands.listing import Listing, show_list
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from relevo.store.letters import Dealt, Letter, Refusal
    from relevo.store.pools import Connection, Pools

Deed: TypeAlias = "Callable[[Connection, str, int, datetime], Awaitable[Dealt | Refusal]]"
"""Retries or drops a business's letter, now."""

WHY_NOT = {
    "unknown": "there is none",
    "closed": "it is closed already",
    "of_a_send": "it is a send of our own, which answers nobody; send it again where it came from",
    "waits_for_nothing": "nothing of it waits: its messages were told since, or dropped",
    "under_way": "its messages are in a turn that is under way",
}
"""By `store.letters.Refusal`."""


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    what = "turns that were given up: look, answer them after all, or drop them"
    group = commands.add_parser("dead-letters", help=what, allow_abbrev=False)
    inner = group.add_subparsers(required=True, metavar="COMMAND")
    opening.add_list(opening.add(inner, "list", "the open ones, newest first", _list), "closed")
    show = opening.add(inner, "show", "one with its turn, messages and evidence", _show)
    opening.add_which(show, "a dead letter")
    show.add_argument("--json", action="store_true", help="for a script")
    retry = opening.add(inner, "retry", "have its messages answered now; ends a hold", _retry)
    opening.add_which_or_all(retry, "a dead letter", "every open one, oldest first")
    drop = opening.add(inner, "drop", "never answer its messages by themselves", _drop)
    opening.add_which_or_all(drop, "a dead letter", "every open one")
    drop.add_argument("--yes", action="store_true", help="do drop")


async def _list(options: argparse.Namespace) -> int:
    from relevo.store.letters import letters

    listing: Listing[Letter] = Listing(
        newest=partial(letters, closed=options.all),
        id_of=lambda letter: letter.turn_id,
        nothing="There are no dead letters." if options.all else "No dead letter is open.",
        columns=["id", "given up", "business", "customer", "while", "reason", "waiting", "closed"],
        row=_row,
    )
    return await show_list(options, listing)


async def _show(options: argparse.Namespace) -> int:
    from relevo import telling, terminal
    from relevo.store.letters import turn_of

    config = opening.config(options)
    async with opening.connected(config) as database:
        letter = await _find(options, database.pools)
        turn = None if letter is None else await turn_of(database.pools, letter)
    if letter is None or turn is None:
        return _nothing(options.id)
    if options.json:
        telling.show_json(asdict(letter) | {"turn": turn})
        return WELL
    closed = "open" if letter.closed_as is None else f"{letter.closed_as} {_at(letter.closed_at)}"
    telling.say(f"Dead letter {letter.turn_id} of {letter.business_id}, {closed}")
    telling.say(f"  customer {letter.canonical_key}")
    telling.say(f"  given up {_at(letter.created_at)} while {letter.stage}: {letter.reason}")
    telling.say(f"  {telling.counted(letter.waiting, 'message')} of it not answered and not told")
    telling.show_turn(terminal.console(), turn)
    return WELL


async def _retry(options: argparse.Namespace) -> int:
    from relevo.store.letters import retry

    config = opening.config(options)
    async with opening.connected(config) as database:
        if options.all:
            return await _each(options, database.pools, retry, "retried")
        return await _one(options, database.pools, retry, "retried")


async def _drop(options: argparse.Namespace) -> int:
    from relevo.errors import ConfigError
    from relevo.store.letters import drop

    config = opening.config(options)
    if not options.yes:
        which = "every open dead letter" if options.all else f"dead letter {options.id}"
        raise ConfigError(
            f"dropping {which} leaves its customer without an answer, until he writes again; look "
            "at it with `show`, and repeat it with --yes if that is what you want"
        )
    async with opening.connected(config) as database:
        if options.all:
            return await _each(options, database.pools, drop, "dropped")
        return await _one(options, database.pools, drop, "dropped")


async def _one(options: argparse.Namespace, pools: "Pools", deed: Deed, done: str) -> int:
    from relevo import telling
    from relevo.clock import SystemClock
    from relevo.store.letters import Refusal

    letter = await _find(options, pools)
    if letter is None:
        return _nothing(options.id)
    async with pools.tenant(letter.business_id) as connection:
        which = (letter.business_id, letter.turn_id, SystemClock().now())
        dealt = await deed(connection, *which)
    if isinstance(dealt, Refusal):
        telling.say(f"Dead letter {options.id} cannot be {done}: {WHY_NOT[dealt]}.")
        return BAD
    after = "; a server that runs begins within seconds" if done == "retried" else ""
    with_it = telling.counted(dealt.messages, "message")
    telling.say(f"Dead letter {options.id} is {done}, with {with_it}{after}.")
    return WELL


async def _each(options: argparse.Namespace, pools: "Pools", deed: Deed, done: str) -> int:
    """Deal with every open letter, and say how many were refused, and why."""
    from relevo import telling
    from relevo.clock import SystemClock
    from relevo.store.letters import Refusal, open_ids

    businesses = opening.businesses(opening.config(options), options.business)
    which = [(b.id, turn_id) for b in businesses for turn_id in await open_ids(pools, b.id)]
    refused = Counter[str]()
    for business_id, turn_id in telling.tracked(which, "dead letters"):
        async with pools.tenant(business_id) as connection:
            dealt = await deed(connection, business_id, turn_id, SystemClock().now())
        if isinstance(dealt, Refusal):
            refused[dealt] += 1
    telling.say(f"{telling.counted(len(which) - refused.total(), 'dead letter')} {done}.")
    for why, number in sorted(refused.items()):
        telling.say(f"{telling.counted(number, 'dead letter')} left open: {WHY_NOT[why]}.")
    return BAD if refused else WELL


async def _find(options: argparse.Namespace, pools: "Pools") -> "Letter | None":
    from relevo.store.letters import letter

    businesses = opening.businesses(opening.config(options), options.business)
    tried = [await letter(pools, business.id, options.id) for business in businesses]
    found = [one for one in tried if one is not None]
    return opening.only_one(found, lambda one: one.business_id, f"dead letter {options.id}")


def _nothing(turn_id: int) -> int:
    from relevo import telling

    telling.say(f"There is no dead letter {turn_id}.")
    return BAD


def _row(letter: "Letter") -> list[str]:
    return [
        str(letter.turn_id),
        _at(letter.created_at),
        letter.business_id,
        letter.canonical_key,
        letter.stage,
        letter.reason,
        str(letter.waiting),
        f"{letter.closed_as} {_at(letter.closed_at)}" if letter.closed_as else "",
    ]


def _at(instant: datetime | None) -> str:
    from relevo import telling

    return telling.at(instant)
