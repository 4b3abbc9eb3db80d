"""Dead letters: turns that were given up, looked at, asked for again, or dropped by a person."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey
from relevo.store.following import lock
from relevo.store.holding import ask
from relevo.store.inspection import turns_told
from relevo.store.sql import statements
from relevo.turns import Purpose

if TYPE_CHECKING:
    from relevo.store.pools import Connection, Pools

ID_MAX = 2**63 - 1
IDS_MAX = 100_000
"""Letters dealt with by one call that names none."""

LOOKS_MAX = 4
"""At a letter whose conversation is merged or parted at this moment."""


class Refusal(StrEnum):
    """Why a letter is left as it is."""

    UNKNOWN = "unknown"
    CLOSED = "closed"
    OF_A_SEND = "of_a_send"
    WAITS_FOR_NOTHING = "waits_for_nothing"
    UNDER_WAY = "under_way"


@dataclass(frozen=True, slots=True)
class Letter:
    """A turn that was given up. Its id is the turn's."""

    business_id: str
    turn_id: int
    conversation_id: int
    canonical_key: str
    stage: str
    reason: str
    created_at: datetime
    closed_at: datetime | None
    closed_as: str | None
    purpose: str
    waiting: int
    """Messages of it that nobody has answered or been told."""
    under_way: bool
    """Some of them are in an open turn."""


@dataclass(frozen=True, slots=True)
class Dealt:
    """A letter that was retried or dropped: whose it was, and how many messages waited with it."""

    conversation_id: int
    messages: int


async def letters(pools: "Pools", business_id: str, limit: int, *, closed: bool) -> list[Letter]:
    """Return a business's letters, newest first; closed ones only if asked for."""
    async with pools.tenant(business_id) as connection:
        return await page(connection, business_id, ID_MAX, limit, closed=closed)


async def page(
    connection: "Connection", business_id: str, before_id: int, limit: int, *, closed: bool
) -> list[Letter]:
    """Return a business's letters of lower ids, newest first; closed ones only if asked for."""
    which = (business_id, 1, before_id - 1, closed, limit)
    rows = await connection.fetch(statements("letters")["letters"], *which)
    return [Letter(**row) for row in rows]


async def told(connection: "Connection", business_id: str, turn_id: int) -> dict[str, Any] | None:
    """Return a letter's fields, and its `turn` as `inspection.turns_told` tells it."""
    found = await _letter(connection, business_id, turn_id)
    if found is None:
        return None
    turn = await connection.fetchrow(statements("letters")["turn_of"], business_id, turn_id)
    assert turn is not None, "a letter belongs to a turn"
    [told_turn] = await turns_told(connection, business_id, [turn])
    return {**asdict(found), "turn": told_turn}


async def letter(pools: "Pools", business_id: str, turn_id: int) -> Letter | None:
    """Return one letter, open or closed."""
    async with pools.tenant(business_id) as connection:
        return await _letter(connection, business_id, turn_id)


async def open_ids(pools: "Pools", business_id: str, limit: int = IDS_MAX) -> list[int]:
    """Return which letters are open, oldest first."""
    async with pools.tenant(business_id) as connection:
        rows = await connection.fetch(statements("letters")["open_ids"], business_id, limit)
    return [row["turn_id"] for row in rows]


async def turn_of(pools: "Pools", found: Letter) -> dict[str, Any]:
    """Tell everything about the turn that was given up, as `inspection.why` does."""
    async with pools.tenant(found.business_id, snapshot=True) as connection:
        rows = await connection.fetch(
            statements("letters")["turn_of"], found.business_id, found.turn_id
        )
        [turn] = await turns_told(connection, found.business_id, rows)
    return turn


async def retry(
    connection: "Connection", business_id: str, turn_id: int, now: datetime
) -> Dealt | Refusal:
    """Close a letter and ask for an answer to all that waits; what that is, or why not."""
    found = await _open(connection, business_id, turn_id)
    if isinstance(found, Refusal):
        return found
    if found.purpose == Purpose.SEND:
        return Refusal.OF_A_SEND
    if not found.waiting:
        return Refusal.WAITS_FOR_NOTHING
    await _close(connection, found, now, "retried")
    key = ConversationKey(business_id, found.conversation_id)
    return Dealt(key.conversation_id, await ask(connection, key, "retry", now))


async def drop(
    connection: "Connection", business_id: str, turn_id: int, now: datetime
) -> Dealt | Refusal:
    """Close a letter and have its messages wait no longer; what they are, or why not."""
    found = await _open(connection, business_id, turn_id)
    if isinstance(found, Refusal):
        return found
    await _close(connection, found, now, "dropped")
    await connection.execute(statements("letters")["forget_failed"], business_id, turn_id)
    key = ConversationKey(business_id, found.conversation_id)
    await connection.fetch(statements("outbound")["raise_version"], *key)
    return Dealt(key.conversation_id, found.waiting)


async def _open(connection: "Connection", business_id: str, turn_id: int) -> Letter | Refusal:
    """Return a letter that may be closed, its conversation locked, or why it may not."""
    for _ in range(LOOKS_MAX):
        found = await _letter(connection, business_id, turn_id)
        if found is None:
            return Refusal.UNKNOWN
        look = connection.transaction()  # what is locked in vain is let go with it
        await look.start()
        here = await lock(connection, ConversationKey(business_id, found.conversation_id))
        now_is = await _letter(connection, business_id, turn_id)  # as it stands now, and where
        if here and now_is is not None and now_is.conversation_id == here.conversation_id:
            await look.commit()
            if now_is.closed_at is not None:
                return Refusal.CLOSED
            return Refusal.UNDER_WAY if now_is.under_way else now_is
        await look.rollback()
    raise StoreUnavailableError("this conversation is merged again and again")


async def _letter(connection: "Connection", business_id: str, turn_id: int) -> Letter | None:
    which = (turn_id, turn_id, True, 1)
    row = await connection.fetchrow(statements("letters")["letters"], business_id, *which)
    return None if row is None else Letter(**row)


async def _close(connection: "Connection", found: Letter, now: datetime, how: str) -> None:
    await connection.execute(
        statements("letters")["close"], found.business_id, found.turn_id, now, how
    )
