"""Messages of our own that no turn wrote: stored as due, and sent by a turn of their own."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from relevo.messages import Author, ConversationKey, Source, Untold
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection, Pools


async def queue(
    pools: "Pools", key: ConversationKey, text: str, source: Source, now: datetime
) -> int | None:
    """Have a text sent where the customer wrote last; return its message's id.

    None: this conversation is not known, or its customer has never written. Moves no mark.

    Raises:
        StoreUnavailableError: nothing is certain to be queued.
    """
    sql = statements("outbound")
    async with pools.tenant(key.business_id) as connection:
        if not await connection.fetch(sql["raise_version"], *key):
            return None
        row = {
            "author": Author.AUTOMATION,
            "kind": "text",
            "body": text,
            "source": source,
            "state": Untold.DUE,
        }
        return await put_waiting(connection, key, row, now)


async def put_waiting(
    connection: "Connection", key: ConversationKey, row: dict[str, Any], now: datetime
) -> int | None:
    """Store a message of ours that waits, at the customer's newest address; None without one.

    `row` is {author, kind, body, source, state}. The conversation has been locked before.
    """
    sql = statements("outbound")
    reached_at = await connection.fetchrow(sql["reached_at"], *key)
    if reached_at is None:
        return None
    rows = [{**reached_at, **row, "conversation_id": key.conversation_id, "at": now}]
    stored = await connection.fetch(
        sql["put_waiting"], key.business_id, orjson.dumps(rows).decode()
    )
    return int(stored[0]["message_id"])
