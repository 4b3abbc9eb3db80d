"""What was said in a conversation, page by page, and what its turns made of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relevo.store.inspection import turns_told
from relevo.store.rows import Row
from relevo.store.sql import statements
from relevo.turns import Verdict

if TYPE_CHECKING:
    from relevo.store.pools import Connection

BEFORE_MAX = 50
AFTER_MAX = 200
"""Messages before and after a page under whose ids its turns are looked for."""

Place = tuple[datetime, int]
"""Time and id of a message."""

_END: Place = (datetime(9999, 12, 31, tzinfo=UTC), 2**63 - 1)


async def messages(
    connection: "Connection",
    business_id: str,
    conversation_id: int,
    between: tuple[Place | None, Place | None],
    limit: int,
) -> tuple[Sequence[Mapping[str, Any]], Place | None, Place | None] | None:
    """Return a page of a thread, oldest first, and where the older and the newer ones go on.

    `between` is the place after which it begins, if one is given, and the one before which it ends;
    without the first it is what stands nearest to the second, or to the end. None is returned if
    there is no such conversation. What is newest goes on where it ends, for what comes later.
    """
    sql, which = statements("threads"), (business_id, conversation_id)
    if await connection.fetchval(sql["is_known"], *which) is None:
        return None
    after, before = between[0], between[1] or _END
    if after is None:
        rows = list(await connection.fetch(sql["older"], *which, *before, limit + 1))
    else:
        rows = list(await connection.fetch(sql["newer"], *which, *after, limit + 1, *before))
    more = len(rows) > limit
    del rows[limit:]
    if after is None:
        rows.reverse()
    if not rows:
        return [], None, after
    first, last = _place(rows[0]), _place(rows[-1])
    looked_at = (*first, BEFORE_MAX, len(rows) + AFTER_MAX)
    turns = await connection.fetch(sql["turns_about"], *which, *looked_at)
    told = [_told(row, turns) for row in rows]
    return told, first if more or after is not None else None, last


async def turns(
    connection: "Connection", business_id: str, conversation_id: int, before_id: int, limit: int
) -> Sequence[Mapping[str, Any]] | None:
    """Return turns of lower ids, newest first; None: there is no such conversation."""
    sql, which = statements("threads"), (business_id, conversation_id)
    if await connection.fetchval(sql["is_known"], *which) is None:
        return None
    rows = await connection.fetch(sql["turns"], *which, before_id, limit)
    return await turns_told(connection, business_id, rows)


def _place(row: Row) -> Place:
    return (row["event_at"], row["id"])


def _told(row: Row, about: Sequence[Row]) -> dict[str, Any]:
    message_id = row["id"]
    own = [turn["id"] for turn in about if message_id in turn["message_ids"]]
    missed = [turn["id"] for turn in about if message_id in turn["missed_ids"]]
    opens = [turn for turn in about if turn["first_id"] == message_id]
    return {
        "id": message_id,
        "author": row["author"],
        "name": row["author_name"],
        "kind": row["kind"],
        "text": row["body"],
        "media": row["media"],
        "channel_id": row["channel_id"],
        "source": row["source"],
        "at": row["event_at"],
        "received_at": row["received_at"],
        "edits": row["edits"],
        "edited_at": row["edited_at"],
        "revoked_at": row["revoked_at"],
        "status": row["status"],
        "sending": row["part_state"],
        "reason": row["part_reason"] or "",
        "fate": row["fate"],
        "waits_as": row["waits_as"],
        "turn_id": row["sent_by_turn"] or (own[-1] if own else None),
        "missed_by_turn_id": missed[-1] if missed else None,
        "silence": _silence(opens[-1]) if opens else None,
    }


def _silence(turn: Row) -> dict[str, Any] | None:
    """Tell what the silence before a turn was judged to be, if it was more than a pause."""
    if turn["verdict"] == Verdict.NONE:
        return None
    return {
        "turn_id": turn["id"],
        "verdict": turn["verdict"],
        "silence_seconds": turn["silence_seconds"],
        "threshold_seconds": turn["threshold_seconds"],
        "recall": turn["recall"],
    }
