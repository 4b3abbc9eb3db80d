"""Answers for people: why a customer was (not) replied to, and whether anything is missing."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from relevo import identity
from relevo.messages import Address
from relevo.store.owner import as_owner
from relevo.store.rows import Row
from relevo.store.sql import statements

if TYPE_CHECKING:
    import asyncpg

    from relevo.store.pools import Connection, Pools

TURNS_MAX = 50

_NOTHING: tuple[int, datetime | None] = (0, None)


@dataclass(frozen=True, slots=True)
class Balance:
    """One business's books: what was accepted, and what became of it."""

    business_id: str
    accepted: int
    fates: Mapping[str, int]
    stranded: int
    """In flight, and nothing will look at them again."""
    unexplained: int
    """With a fate that no turn gave them."""
    stranded_since: datetime | None = None
    unexplained_since: datetime | None = None

    @property
    def remainder(self) -> int:
        """Return how many accepted messages have no fate; negative for more fates than messages."""
        return self.accepted - sum(self.fates.values())

    @property
    def sound(self) -> bool:
        """Tell whether the books are right."""
        return not (self.remainder or self.stranded or self.unexplained)


@dataclass(frozen=True, slots=True)
class OpenGaps:
    """Gaps that were found and are not closed: a recall of the customer's is owed."""

    customers: int = 0
    oldest_at: datetime | None = None
    """When the first turn of them asked in vain."""


async def audit(owner_url: str) -> list[Balance]:
    """Check the conservation law of every business.

    Raises:
        StoreSetupError: if the owner may not log in or read, or there are no tables.
        StoreUnavailableError: if the database cannot be reached.
    """
    sql = statements("audit")
    async with _looking(owner_url) as connection:
        balances = await connection.fetch(sql["balance"])
        stranded = _by_business(await connection.fetch(sql["stranded"]))
        unexplained = _by_business(await connection.fetch(sql["unexplained"]))
    return [
        Balance(
            business_id=row["business_id"],
            accepted=row["accepted"],
            fates=orjson.loads(row["fates"]),
            stranded=stranded.get(row["business_id"], _NOTHING)[0],
            unexplained=unexplained.get(row["business_id"], _NOTHING)[0],
            stranded_since=stranded.get(row["business_id"], _NOTHING)[1],
            unexplained_since=unexplained.get(row["business_id"], _NOTHING)[1],
        )
        for row in balances
    ]


async def contents(owner_url: str) -> tuple[int, int]:
    """Return how many conversations and messages there are; raises what `audit` raises."""
    async with _looking(owner_url) as connection:
        row = await connection.fetchrow(statements("audit")["contents"])
    assert row is not None
    return row["conversations"], row["messages"]


async def open_gaps(owner_url: str) -> OpenGaps:
    """Count what is owed to the customers of all businesses; raises what `audit` raises."""
    async with _looking(owner_url) as connection:
        row = await connection.fetchrow(statements("audit")["open_gaps"])
    assert row is not None
    return OpenGaps(row["customers"], row["oldest_at"])


async def why(
    pools: "Pools", business_id: str, address: str, region: str, turns_max: int = TURNS_MAX
) -> list[dict[str, Any]]:
    """Tell everything about the conversations that an address leads to, newest turns first.

    A conversation is {conversation, marks…, waiting: messages, turns}; a turn {id, messages,
    verdict, silence_seconds, …, missed: messages, outcome, reply: texts, timings}; a message
    {author, name, kind, text, at, source, fate, edited_at, revoked_at}.
    """
    async with pools.tenant(business_id, snapshot=True) as connection:
        found = await conversations_of(connection, business_id, address, region)
        return [await _told(connection, business_id, row, turns_max) for row in found]


async def conversations_of(
    connection: "Connection", business_id: str, address: str, region: str
) -> list[Row]:
    """Read the rows of the conversations that an address leads to, in any spelling."""
    spelled = identity.normalised(Address(identity.PHONE, address), region).value
    named = statements("inspect")["conversations_of"]
    return list(await connection.fetch(named, business_id, list({address, spelled})))


async def turns_told(
    connection: "Connection", business_id: str, turns: Sequence[Row]
) -> list[dict[str, Any]]:
    """Tell everything about these turns, given by their rows."""
    sql = statements("inspect")
    ids = {m for turn in turns for m in (*turn["message_ids"], *turn["missed_ids"])}
    messages = await connection.fetch(sql["messages_by_id"], business_id, list(ids))
    replies = await connection.fetch(sql["replies_of"], business_id, [turn["id"] for turn in turns])
    known = {message["id"]: _message(message) for message in messages}
    return [
        _turn(turn, known, [r for r in replies if r["turn_id"] == turn["id"]]) for turn in turns
    ]


@asynccontextmanager
async def _looking(owner_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Read one snapshot of everything, as whoever may see every business."""
    async with (
        as_owner(owner_url) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield connection


async def _told(
    connection: "Connection", business_id: str, row: Row, turns_max: int
) -> dict[str, Any]:
    sql = statements("inspect")
    waiting = await connection.fetch(sql["waiting_of"], business_id, row["id"])
    turns = await connection.fetch(sql["turns_of"], business_id, row["id"], turns_max)
    return {
        "business": business_id,
        "conversation": row["id"],
        "canonical_key": row["canonical_key"],
        "last_customer_at": row["last_customer_at"],
        "last_assistant_at": row["last_assistant_at"],
        "last_agent_at": row["last_agent_at"],
        "known_to": row["known_to"],
        "recall_owed_since": row["owed_since"],
        "hold_until": row["hold_until"],
        "ai_conversation": row["openai_conversation_id"],
        "waiting": [_message(message) | {"state": message["state"]} for message in waiting],
        "turns": await turns_told(connection, business_id, turns),
    }


def _turn(turn: Row, known: Mapping[int, Any], replies: Sequence[Row]) -> dict[str, Any]:
    accepted = [reply for reply in replies if reply["state"] == "accepted"]
    return {
        "id": turn["id"],
        "purpose": turn["purpose"] or "reply",
        "stage": turn["stage"],
        "outcome": turn["outcome"],
        "reason": turn["reason"],
        "messages": [known[m] for m in turn["message_ids"] if m in known],
        "verdict": turn["verdict"],
        "silence_seconds": turn["silence_seconds"],
        "threshold_seconds": turn["threshold_seconds"],
        "previous_customer_at": turn["previous_customer_at"],
        "previous_assistant_at": turn["previous_assistant_at"],
        "recall": turn["recall"],
        "recall_reasons": list(turn["recall_reasons"]),
        "recall_since": turn["recall_since"],
        "known_to": turn["recall_known_to"],
        "recalled": turn["recalled"],
        "matched_by_content": turn["matched_by_content"],
        "missed": [known[m] for m in turn["missed_ids"] if m in known],
        "missed_left_out": turn["missed_left_out"],
        "reply": [reply["body"] for reply in accepted],
        "replies": len(accepted),
        "outbox": [
            {
                "part": reply["part"],
                "state": reply["state"],
                "reason": reply["reason"],
                "resent": reply["resent"],
                "status": reply["status"],
            }
            for reply in replies
        ],
        "model": turn["model"],
        "input_tokens": turn["input_tokens"],
        "cached_tokens": turn["cached_tokens"],
        "output_tokens": turn["output_tokens"],
        "reasoning_tokens": turn["reasoning_tokens"],
        "answer_seconds": turn["answer_seconds"],
        "opened_at": turn["opened_at"],
        "closed_at": turn["closed_at"],
        "ended_at": turn["ended_at"],
    }


def _by_business(rows: Sequence[Row]) -> dict[str, tuple[int, datetime | None]]:
    return {row["business_id"]: (row["messages"], row["since"]) for row in rows}


def _message(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "author": row["author"],
        "name": row["author_name"],
        "kind": row["kind"],
        "text": row["body"],
        "at": row["event_at"],
        "source": row["source"],
        "fate": row["fate"],
        "edited_at": row["edited_at"],
        "revoked_at": row["revoked_at"],
    }
