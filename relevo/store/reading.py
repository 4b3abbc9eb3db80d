"""Reading whole conversations, many of one business at once, in one snapshot."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from relevo.messages import ConversationKey, Message
from relevo.store.rows import conversation_from, message_from, part_from, turn_from
from relevo.store.sql import statements
from relevo.turns import Part, Stage
from relevo.writes import Rows

if TYPE_CHECKING:
    import asyncpg

    from relevo.store.pools import Connection


async def read_rows(
    connection: "Connection",
    business_id: str,
    ids: Sequence[int],
    fence: tuple[int, datetime],
) -> dict[ConversationKey, Rows]:
    """Read conversations inside a snapshot transaction. `fence`: this incarnation, and now."""
    sql = statements("load")
    conversations = await connection.fetch(sql["conversations"], business_id, ids)
    untold = await connection.fetch(sql["untold"], business_id, ids)
    witnesses = (
        await connection.fetch(sql["witnesses"], business_id, ids)
        if any(row["source"] == "webhook" for row in untold)
        else []
    )
    turns = await connection.fetch(sql["open_turns"], business_id, ids, *fence)
    sending = [row for row in turns if row["stage"] == Stage.SENDING]
    parts, told = await _of_sending(connection, business_id, sending)
    turn_of = {row["conversation_id"]: row for row in turns}
    untold_of, witnesses_of = _by_conversation(untold), _by_conversation(witnesses)
    found = {}
    for row in conversations:
        turn = turn_of.get(row["id"])
        found[ConversationKey(business_id, row["id"])] = Rows(
            conversation=conversation_from(business_id, row),
            tags=tuple(row["tags"]),
            untold=untold_of[row["id"]],
            witnesses=witnesses_of[row["id"]],
            turn=turn_from(turn) if turn else None,
            parts=tuple(parts[turn["id"]]) if turn else (),
            told=tuple(told[m] for m in turn["message_ids"] if m in told) if turn else (),
            fenced=bool(turn and turn["fenced"]),
        )
    return found


async def _of_sending(
    connection: "Connection", business_id: str, turns: "Sequence[asyncpg.Record]"
) -> tuple[dict[int, list[Part]], dict[int, Message]]:
    """Read the outbox and the own messages of turns whose answer is stored."""
    parts: dict[int, list[Part]] = defaultdict(list)
    if not turns:
        return parts, {}
    sql = statements("load")
    for row in await connection.fetch(sql["parts"], business_id, [t["id"] for t in turns]):
        parts[row["turn_id"]].append(part_from(row))
    own = [message_id for turn in turns for message_id in turn["message_ids"]]
    rows = await connection.fetch(sql["told_by_turns"], business_id, own)
    return parts, {row["id"]: message_from(row) for row in rows}


def _by_conversation(rows: "Iterable[asyncpg.Record]") -> dict[int, tuple[Message, ...]]:
    grouped: dict[int, list[Message]] = defaultdict(list)
    for row in rows:
        grouped[row["conversation_id"]].append(message_from(row))
    return defaultdict(tuple, {key: tuple(messages) for key, messages in grouped.items()})
