"""Messages of our own that no turn wrote: stored as due, and sent by a turn of their own."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from relevo.messages import ConversationKey
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection


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
