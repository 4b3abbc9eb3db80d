"""`relevo hold`, `resume` and `answer`: a person takes a chat, gives it back, wants it answered."""

import argparse
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from relevo.commands import opening
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from relevo.messages import ConversationKey
    from relevo.store.pools import Pools

MINUTES_MAX = 366 * 24 * 60

Deed: TypeAlias = "Callable[[Pools, ConversationKey, datetime], Awaitable[tuple[int, str]]]"
"""Does it to one conversation, now; its exit code and what happened, in a line."""


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    hold = opening.add(commands, "hold", "stay silent towards a customer: a human has it", _hold)
    opening.add_address(hold)
    hold.add_argument(
        "--for",
        dest="minutes",
        type=opening.whole(1, MINUTES_MAX),
        metavar="MINUTES",
        help="how long (default: until `relevo resume`)",
    )
    resume = opening.add(commands, "resume", "give a customer back to the AI", _resume)
    opening.add_address(resume)
    answer = opening.add(
        commands, "answer", "have the AI answer now what waits; ends a hold", _answer
    )
    opening.add_address(answer)


async def _hold(options: argparse.Namespace) -> int:
    from relevo import telling
    from relevo.store import holding

    async def hold(pools: "Pools", key: "ConversationKey", now: datetime) -> tuple[int, str]:
        until = holding.UNTIL_RESUMED
        if options.minutes is not None:
            until = now + timedelta(minutes=options.minutes)
        await holding.hold(pools, key, until)
        return WELL, f"The chat is held {telling.until(until)}."

    return await _do(options, hold)


async def _resume(options: argparse.Namespace) -> int:
    from relevo import telling
    from relevo.store import holding

    async def resume(pools: "Pools", key: "ConversationKey", now: datetime) -> tuple[int, str]:
        resumed = await holding.resume(pools, key, now)
        if resumed is None:
            return BAD, "This customer has been erased, or is one with another, since."
        if resumed.held_until is None:
            said = "No hold was set; what a colleague wrote holds the chat no longer."
        else:
            said = f"The chat is the AI's again; it was held {telling.until(resumed.held_until)}."
        if resumed.messages:
            came = telling.counted(resumed.messages, "message")
            said += f" {came} came meanwhile; `relevo answer` has the AI answer now."
        return WELL, said

    return await _do(options, resume)


async def _answer(options: argparse.Namespace) -> int:
    from relevo import telling
    from relevo.store import holding

    async def answer(pools: "Pools", key: "ConversationKey", now: datetime) -> tuple[int, str]:
        messages = await holding.answer(pools, key, now)
        if not messages:
            return BAD, "Nothing waits for an answer."
        return WELL, (
            f"An answer to {telling.counted(messages, 'message')} is asked for; a server that "
            "runs begins within seconds."
        )

    return await _do(options, answer)


async def _do(options: argparse.Namespace, deed: Deed) -> int:
    """Do it to every conversation that the address leads to, and say of each what happened."""
    from relevo import telling
    from relevo.clock import SystemClock
    from relevo.store.holding import known

    config = opening.config(options)
    businesses = opening.businesses(config, options.business)
    said: list[tuple[str, tuple[int, str]]] = []
    async with opening.connected(config) as database:
        for business in businesses:
            for found in await known(database.pools, business.id, options.address, business.region):
                done = await deed(database.pools, found.key, SystemClock().now())
                said.append((found.canonical_key, done))
    if not said:
        telling.say(f"Nobody is known under {options.address}.")
        return BAD
    for who, (_, line) in said:
        telling.say(line if len(said) == 1 else f"{who}: {line}")
    return WELL if any(code == WELL for _, (code, _) in said) else BAD
