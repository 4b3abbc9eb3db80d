"""One customer, one thread: a link between two addresses is carried out, also while both are alive.

A link is a wish, and names addresses, so it outlives other merges. Ingest stores one in the very
statement that stores a message whose addresses lead to different people; number changes, leads and
persons add theirs. Whoever carries one out does it in one transaction that holds both rows: what is
written for them meanwhile waits, and then finds the loser gone, and resolves again. What is under
way decides (`relevo.merging`); a wish that has to wait is tried again (`merger.py`).
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import asyncpg
import orjson

from relevo import identity, merging
from relevo.merging import Past, Postponed, Side
from relevo.messages import Address
from relevo.store.placing import Reached
from relevo.store.reading import read_rows
from relevo.store.rows import conversation_row
from relevo.store.sql import statements
from relevo.turns import Turn

if TYPE_CHECKING:
    from relevo.store.pools import Connection, Pools

TRIES_MAX = 5
"""Tries of a merge whose rows are locked, each with a patience of 200 ms; then it is postponed."""


DISTURBANCES = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.ForeignKeyViolationError,
)
"""Somebody else had rows locked, met a person under the same key, or merged one that we found."""

BUSY = "busy"

T = TypeVar("T")


class Reason(StrEnum):
    """Why two addresses are one person's. All but a message overrule what a person has undone."""

    MESSAGE = "message"
    NUMBER_CHANGED = "number_changed"
    LEAD = "lead"
    PERSON = "person"


class Fulfilled(StrEnum):
    """What became of a link."""

    MERGED = "merged"
    LED = "led"
    """One address was nobody's: it leads to the other's conversation now."""
    NEEDLESS = "needless"
    """Both lead to one conversation already, or a person has parted them."""
    NOBODY = "nobody"
    """Neither address is anybody's."""
    POSTPONED = "postponed"


class Wish(NamedTuple):
    """A link that is to be carried out. Of a number change, `address` is the old one."""

    business_id: str
    address: Reached
    other: Reached
    reason: Reason


@dataclass(frozen=True, slots=True)
class Done:
    """What was done about a link; `conversation_id` is where both lead, if they do."""

    fulfilled: Fulfilled
    conversation_id: int | None = None
    merge_id: int | None = None
    touched: tuple[int, ...] = ()
    """Conversations whose memory is old now, or that are to be looked at before the next try."""
    ended: tuple[tuple[int, Turn], ...] = ()
    """Turns that ended as merged, each with the conversation it was in."""
    reason: str = ""
    """Why it is postponed."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who merges: its connections, how it reads phones, and its number among the processes."""

    pools: "Pools"
    region: str
    incarnation: int


class Busy(Exception):  # noqa: N818  (no failure: somebody else is at work)
    """Rows are locked for longer than one who holds others waits, or were changed meanwhile."""


async def undisturbed(
    writer: Writer, business_id: str, work: "Callable[[Connection], Awaitable[T]]"
) -> T:
    """Do something in one transaction; what somebody else comes between is begun again.

    Raises:
        Busy: if that happens again and again; nothing is done.
        StoreUnavailableError: nothing is certain to be done.
    """
    for _ in range(TRIES_MAX):
        with suppress(Busy):
            async with writer.pools.tenant(business_id) as connection:
                try:
                    await connection.execute(statements("merging")["patience"])
                    return await work(connection)
                except DISTURBANCES as error:
                    raise Busy from error
    raise Busy


async def carry_out(writer: Writer, wish: Wish, now: datetime) -> Done:
    """Carry out one link, in one transaction, and forget it; a postponed one is kept.

    Raises:
        StoreUnavailableError: nothing is certain to be done.
    """
    try:
        return await undisturbed(
            writer, wish.business_id, lambda c: _carried_out(c, writer, wish, now)
        )
    except Busy:
        return Done(Fulfilled.POSTPONED, reason=BUSY)


async def _carried_out(connection: "Connection", writer: Writer, wish: Wish, now: datetime) -> Done:
    sql, business_id = statements("merging"), wish.business_id
    homes = await _homes(connection, wish)
    known = sorted({home for home in homes if home is not None})
    locked = await connection.fetch(sql["lock"], business_id, known)
    if len(locked) < len(known) or await _homes(connection, wish) != homes:
        raise Busy  # they were merged or parted while we waited
    if not known:
        done = Done(Fulfilled.NOBODY)
    elif None in homes:
        done = await _led(connection, wish, known[0])
    elif len(known) == 1 or await _is_needless(connection, wish, known):
        done = Done(Fulfilled.NEEDLESS, known[0] if len(known) == 1 else None)
    else:
        done = await _merged(connection, writer, wish, locked, now)
    if done.fulfilled is Fulfilled.POSTPONED:
        return done
    if done.conversation_id is not None:
        await _rename(connection, writer, wish, done.conversation_id)
    await connection.execute(sql["fulfilled"], business_id, *wish.address, *wish.other)
    return done


async def _homes(connection: "Connection", wish: Wish) -> tuple[int | None, int | None]:
    one, other = [
        await connection.fetchval(statements("merging")["home"], wish.business_id, *address)
        for address in (wish.address, wish.other)
    ]
    return one, other


async def _is_needless(connection: "Connection", wish: Wish, ids: Sequence[int]) -> bool:
    """Tell whether a message links two whom a person has parted."""
    if wish.reason is not Reason.MESSAGE:
        return False
    before = statements("merging")["parted_before"]
    return bool(await connection.fetchval(before, wish.business_id, *ids))


async def _led(connection: "Connection", wish: Wish, home: int) -> Done:
    for address in (wish.address, wish.other):
        await connection.fetch(statements("merging")["lead"], wish.business_id, *address, home)
    if await _homes(connection, wish) != (home, home):
        raise Busy  # somebody was met under it meanwhile
    return Done(Fulfilled.LED, home)


async def _merged(
    connection: "Connection",
    writer: Writer,
    wish: Wish,
    locked: "Sequence[asyncpg.Record]",
    now: datetime,
) -> Done:
    sql, business_id = statements("merging"), wish.business_id
    one, other = await sides(connection, business_id, locked, (writer.incarnation, now))
    survivor, loser = merging.in_order(one, other)
    decided = merging.merged(survivor, loser, now)
    ids = [side.rows.conversation.key.conversation_id for side in (survivor, loser)]
    if isinstance(decided, Postponed):
        return Done(Fulfilled.POSTPONED, touched=tuple(ids), reason=decided.reason)
    before = {row["id"]: orjson.loads(row["before"]) for row in locked}
    pasts = [
        before[past.conversation.key.conversation_id] | columns(past) for past in decided.pasts
    ]
    ended = [turn for _, turn in decided.ended]
    await end_turns(connection, business_id, ended)
    merge_id = await connection.fetchval(
        sql["move"], business_id, *ids, wish.reason.value, *map(as_json, pasts), now
    )
    await connection.execute(sql["forget"], business_id, ids[1])
    await put(connection, decided.survivor)
    return Done(Fulfilled.MERGED, ids[0], merge_id, tuple(ids), decided.ended)


async def _rename(
    connection: "Connection", writer: Writer, wish: Wish, conversation_id: int
) -> None:
    """Have the key follow the best address."""
    key = await connection.fetchval(statements("merging")["key"], wish.business_id, conversation_id)
    found = await addresses_of(connection, wish.business_id, [conversation_id])
    changed = None
    if wish.reason is Reason.NUMBER_CHANGED:
        changed = (_address(wish.address), _address(wish.other))
    better = identity.better_key(
        wish.business_id, key, [_address(a) for a in found], writer.region, changed
    )
    if better != key:
        await rename(connection, wish.business_id, conversation_id, better)


async def rename(
    connection: "Connection", business_id: str, conversation_id: int, key: str
) -> None:
    """Give a conversation another key, unless somebody has that who has more than his key."""
    sql = statements("merging")
    await connection.execute(sql["free_key"], business_id, key, conversation_id)
    await connection.execute(sql["rename"], business_id, conversation_id, key)


async def sides(
    connection: "Connection",
    business_id: str,
    locked: "Iterable[asyncpg.Record]",
    fence: tuple[int, datetime],
) -> list[Side]:
    """Read conversations that are locked, in the order of their rows."""
    rows = {row["id"]: row for row in locked}
    found = await read_rows(connection, business_id, list(rows), fence)
    return [
        Side(
            each, rows[key.conversation_id]["canonical_key"], rows[key.conversation_id]["closed_at"]
        )
        for key, each in sorted(found.items())
    ]


async def addresses_of(
    connection: "Connection", business_id: str, ids: Sequence[int]
) -> list[Reached]:
    """Return how these conversations are reached."""
    rows = await connection.fetch(statements("merging")["addresses"], business_id, ids)
    return [(row["kind"], row["scope"], row["value"]) for row in rows]


async def end_turns(connection: "Connection", business_id: str, turns: Iterable[Turn]) -> None:
    """Store that turns have ended because their conversation is merged, or parted."""
    rows = [
        {"id": t.id, "outcome": t.outcome, "reason": t.reason, "ended_at": t.ended_at}
        for t in turns
    ]
    if rows:
        await connection.execute(statements("merging")["end_turns"], business_id, as_json(rows))


async def put(connection: "Connection", past: Past) -> None:
    """Store a conversation's row with its new version."""
    key = past.conversation.key
    await connection.execute(statements("merging")["put"], *key, as_json(columns(past)))


def columns(past: Past) -> dict[str, Any]:
    """Return what merging writes of a conversation's row."""
    row = conversation_row(past.conversation)
    del row["ai_conversation"]
    return row | {
        "openai_conversation_id": None,
        "new_contact": past.conversation.new_contact,
        "hold_until": past.conversation.hold_until,
        "hold_released_at": past.conversation.hold_released_at,
        "tags": past.tags,
        "closed_at": past.closed_at,
    }


def as_json(value: Any) -> str:
    """Write rows as the statements take them."""
    return orjson.dumps(value).decode()


def _address(reached: Reached) -> Address:
    return Address(reached[0], reached[2])
