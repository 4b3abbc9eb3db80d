"""Messages out that somebody asks for: now, or at a time; cancelled as long as it has not come.

What is to be said now becomes a message that is due in the transaction that asks, so it waits for
nobody's sweep. What has a time waits as `scheduled` until `scheduled.py` makes a message of it.
Everything leaves through the customer's actor, in order. What became of it is never stored a second
time: it is read off the message and its place in the outbox.

Every function works in the caller's transaction, so that whatever else belongs to a request is done
with it or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from relevo.messages import Author, ConversationKey, Source, Untold
from relevo.outgoing import WAITING_MAX, Draft, Outgoing, Refusal, Status
from relevo.store.following import lock
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection

TOO_LATE = "too_late"
NOWHERE = "nowhere"
"""Why something is not said when its time has come: it came too long ago, or its customer's own
messages, which said where he is reached, have been erased."""


@dataclass(frozen=True, slots=True)
class Queued:
    """What became of sends whose time has come."""

    conversation_ids: Sequence[int] = ()
    """Who has to be woken, whoever is due first."""
    outcomes: Sequence[str] = ()
    """Of each send: `queued`, or why it is refused."""


async def line_of(connection: "Connection", key: ConversationKey) -> str | None:
    """Return the channel a customer is reached by now: where he wrote last; None: he never did."""
    reached_at = await connection.fetchrow(statements("outbound")["reached_at"], *key)
    return None if reached_at is None else reached_at["channel_id"]


async def ask(
    connection: "Connection", key: ConversationKey, draft: Draft, now: datetime
) -> int | Refusal:
    """Have a text sent where the customer writes; return the send's id. Moves no mark.

    What has no time is a message that is due with this very transaction: its customer's actor has
    to be woken once it is committed.
    """
    sql = statements("outgoing")
    here = await lock(connection, key)
    if here is None:
        return Refusal.UNKNOWN
    key = here
    if await line_of(connection, key) is None:
        return Refusal.NEVER_WROTE
    if await connection.fetchval(sql["waiting"], *key) >= WAITING_MAX:
        return Refusal.TOO_MUCH
    asked = (draft.author, draft.name, draft.text, draft.due_at or now, draft.created_by)
    outgoing_id: int = await connection.fetchval(sql["ask"], *key, *asked, now)
    if draft.due_at is None:
        await queue(connection, key.business_id, [outgoing_id], now)
    return outgoing_id


async def cancel(
    connection: "Connection", business_id: str, outgoing_id: int, now: datetime
) -> Refusal | None:
    """Have a scheduled send never be sent; why not, if so."""
    sql = statements("outgoing")
    if await connection.fetch(sql["cancel"], business_id, outgoing_id, now):
        return None
    known = await find(connection, business_id, outgoing_id)
    return Refusal.UNKNOWN if known is None else Refusal.NOT_SCHEDULED


async def find(connection: "Connection", business_id: str, outgoing_id: int) -> Outgoing | None:
    """Return one send as it stands."""
    return next(iter(await _read(connection, business_id, [outgoing_id])), None)


async def page(
    connection: "Connection", key: ConversationKey, before_id: int, limit: int
) -> list[Outgoing] | None:
    """Return a conversation's sends with lower ids, newest first; None: it is not known."""
    sql = statements("outgoing")
    if await connection.fetchval(sql["known"], *key) is None:
        return None
    rows = await connection.fetch(sql["ids_of"], *key, before_id, limit)
    return await _read(connection, key.business_id, [row["id"] for row in rows])


async def queue(
    connection: "Connection",
    business_id: str,
    outgoing_ids: Sequence[int],
    now: datetime,
    late_after: timedelta | None = None,
) -> Queued:
    """Make messages that are due of what still waits for its time, in the order of their times.

    Their conversations have been locked before. What should have been said longer than `late_after`
    ago is not said.
    """
    sql = statements("outgoing")
    rows = await connection.fetch(sql["take"], business_id, list(outgoing_ids))
    why_not = {row["id"]: _why_not(row, now, late_after) for row in rows}
    refused = [id_ for id_, reason in why_not.items() if reason]
    reasons = [why_not[id_] for id_ in refused]
    await connection.execute(sql["refused"], business_id, refused, reasons, now)
    due = [row for row in rows if not why_not[row["id"]]]
    reserved = await connection.fetch(statements("load")["reserve"], len(due))
    message_ids = [row[0] for row in reserved]
    said = [_message(row, id_, now) for row, id_ in zip(due, message_ids, strict=True)]
    told = orjson.dumps(said).decode()
    await connection.execute(statements("outbound")["put_waiting"], business_id, told)
    await connection.execute(sql["queued"], business_id, [row["id"] for row in due], message_ids)
    woken = list(dict.fromkeys(row["conversation_id"] for row in due))
    await connection.execute(sql["raise_versions"], business_id, woken)
    return Queued(woken, [reason or "queued" for reason in why_not.values()])


def _why_not(row: Any, now: datetime, late_after: timedelta | None) -> str:
    if late_after is not None and now > row["due_at"] + late_after:
        return TOO_LATE
    return "" if row["channel_id"] is not None else NOWHERE


def _message(row: Any, message_id: int, now: datetime) -> dict[str, Any]:
    """Return the message that a send becomes. What had a time was written before it."""
    return {
        "id": message_id,
        "conversation_id": row["conversation_id"],
        "channel_id": row["channel_id"],
        "address_kind": row["address_kind"],
        "address_value": row["address_value"],
        "author": row["author"],
        "author_name": row["author_name"],
        "kind": "text",
        "body": row["body"],
        "source": Source.SCHEDULE if row["due_at"] > row["created_at"] else Source.API,
        "state": Untold.DUE,
        "at": now,
    }


async def _read(connection: "Connection", business_id: str, ids: Sequence[int]) -> list[Outgoing]:
    rows = await connection.fetch(statements("outgoing")["outgoing"], business_id, list(ids))
    return [
        Outgoing(**{**row, "author": Author(row["author"]), "status": Status(row["status"])})
        for row in rows
    ]
