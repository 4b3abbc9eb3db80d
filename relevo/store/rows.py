"""Rows to the core's values and back. The only place that knows both."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from relevo.messages import Address, Author, ConversationKey, Fate, Message, Source, Untold
from relevo.turns import (
    Conversation,
    Cost,
    Marks,
    Outcome,
    Part,
    PartState,
    Purpose,
    RecallReason,
    RecallStatus,
    Stage,
    Turn,
    Verdict,
)
from relevo.writes import Writes

if TYPE_CHECKING:
    import asyncpg

Row: TypeAlias = "Mapping[str, Any] | asyncpg.Record"
Columns = dict[str, Any]


def conversation_from(business_id: str, row: Row) -> Conversation:
    """Read a conversation's row."""
    return Conversation(
        key=ConversationKey(business_id, row["id"]),
        version=row["version"],
        marks=Marks(
            last_customer_at=row["last_customer_at"],
            last_assistant_at=row["last_assistant_at"],
            last_agent_at=row["last_agent_at"],
            known_to=row["known_to"],
            told_to=row["told_to"],
        ),
        owed_since=row["owed_since"],
        new_contact=row["new_contact"],
        ai_conversation=row["openai_conversation_id"],
        hold_until=row["hold_until"],
        hold_released_at=row["hold_released_at"],
    )


def message_from(row: Row, keys: Iterable[str] = ()) -> Message:
    """Read a message's row; `state` is why it is untold, if it is."""
    return Message(
        id=row["id"],
        author=Author(row["author"]),
        author_name=row["author_name"],
        kind=row["kind"],
        body=row["body"],
        event_at=row["event_at"],
        received_at=row["received_at"],
        source=Source(row["source"]),
        channel_id=row["channel_id"],
        address=Address(row["address_kind"], row["address_value"]),
        keys=tuple(keys),
        timed=row["timed"],
        untold=Untold(row["state"]) if row["state"] else None,
        revoked=row["revoked_at"] is not None,
    )


def turn_from(row: Row) -> Turn:
    """Read a turn's row."""
    return Turn(
        id=row["id"],
        stage=Stage(row["stage"]),
        channel_id=row["channel_id"],
        address=Address(row["address_kind"], row["address_value"]),
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        newest_at=row["newest_at"],
        previous_customer_at=row["previous_customer_at"],
        previous_assistant_at=row["previous_assistant_at"],
        verdict=Verdict(row["verdict"]),
        silence_seconds=row["silence_seconds"],
        threshold_seconds=row["threshold_seconds"],
        message_ids=tuple(row["message_ids"]),
        recall=RecallStatus(row["recall"]),
        recall_reasons=tuple(RecallReason(reason) for reason in row["recall_reasons"]),
        recall_since=row["recall_since"],
        recall_urgent=row["recall_urgent"],
        recall_known_to=row["recall_known_to"],
        recalled=row["recalled"],
        matched_by_content=row["matched_by_content"],
        missed_ids=tuple(row["missed_ids"]),
        missed_left_out=row["missed_left_out"],
        attempt=row["attempt"],
        tries=row["tries"],
        replaced=row["replaced"],
        wait_until=row["wait_until"],
        deadline_at=row["deadline_at"],
        answer_ends_at=row["answer_ends_at"],
        purpose=Purpose(row["purpose"] or Purpose.REPLY),
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        reason=row["reason"],
        response_id=row["response_id"],
        discarded_responses=tuple(row["discarded_responses"] or ()),
        model=row["model"],
        cost=Cost(
            input_tokens=row["input_tokens"],
            cached_tokens=row["cached_tokens"],
            output_tokens=row["output_tokens"],
            reasoning_tokens=row["reasoning_tokens"],
            seconds=row["answer_seconds"],
        ),
        ended_at=row["ended_at"],
    )


def part_from(row: Row) -> Part:
    """Read an outbox row joined with its message's text."""
    return Part(
        message_id=row["message_id"],
        turn_id=row["turn_id"],
        number=row["part"],
        text=row["body"],
        correlation_id=row["correlation_id"],
        created_at=row["created_at"],
        state=PartState(row["state"]),
        attempt=row["attempt"],
        started_at=row["started_at"],
        first_started_at=row["first_started_at"],
        deadline_at=row["deadline_at"],
        resent=row["resent"],
        window_ends_at=row["window_ends_at"],
        proven=row["proven"],
        reason=row["reason"],
    )


def conversation_row(conversation: Conversation) -> Columns:
    """Write a conversation's marks, with the version that the row is expected to have."""
    marks = conversation.marks
    return {
        "id": conversation.key.conversation_id,
        "version": conversation.version,
        "last_customer_at": marks.last_customer_at,
        "last_assistant_at": marks.last_assistant_at,
        "last_agent_at": marks.last_agent_at,
        "known_to": marks.known_to,
        "told_to": marks.told_to,
        "owed_since": conversation.owed_since,
        "ai_conversation": conversation.ai_conversation,
    }


def turn_row(writes: Writes, incarnation: int) -> Columns:
    """Write a turn, fenced by this process's incarnation until its effect's deadline."""
    turn = writes.turn
    assert turn is not None
    deadlines = [turn.deadline_at, *(part.deadline_at for part in writes.parts)]
    cost = turn.cost
    row = {name: getattr(turn, name) for name in Turn.__slots__ if name not in {"address", "cost"}}
    return row | {
        "business_id": writes.conversation.key.business_id,
        "conversation_id": writes.conversation.key.conversation_id,
        "address_kind": turn.address.kind,
        "address_value": turn.address.value,
        "input_tokens": cost.input_tokens,
        "cached_tokens": cost.cached_tokens,
        "output_tokens": cost.output_tokens,
        "reasoning_tokens": cost.reasoning_tokens,
        "answer_seconds": cost.seconds,
        "incarnation": incarnation,
        "effect_deadline_at": max((at for at in deadlines if at is not None), default=None),
    }


def part_row(business_id: str, part: Part) -> Columns:
    """Write an outbox row."""
    return {
        "business_id": business_id,
        "message_id": part.message_id,
        "turn_id": part.turn_id,
        "part": part.number,
        "state": part.state,
        "correlation_id": part.correlation_id,
        "created_at": part.created_at,
        "attempt": part.attempt,
        "started_at": part.started_at,
        "first_started_at": part.first_started_at,
        "deadline_at": part.deadline_at,
        "resent": part.resent,
        "window_ends_at": part.window_ends_at,
        "reason": part.reason,
    }


def recalled_row(key: ConversationKey, message: Message) -> Columns:
    """Write a message that the history brought. What came by no webhook has no open fate."""
    return _message_row(key, message) | {
        "fate": Fate.CONTEXT if message.author is Author.CUSTOMER else None
    }


def reply_row(key: ConversationKey, part: Part, turn: Turn) -> Columns:
    """Write the message that a part of a reply is."""
    at: datetime = part.created_at
    return {
        "id": part.message_id,
        "conversation_id": key.conversation_id,
        "channel_id": turn.channel_id,
        "address_kind": turn.address.kind,
        "address_value": turn.address.value,
        "author": Author.ASSISTANT,
        "author_name": "",
        "kind": "text",
        "body": part.text,
        "source": Source.TURN,
        "event_at": at,
        "timed": True,
        "received_at": at,
        "fate": None,
    }


def fallback_row(writes: Writes, now: datetime) -> Columns:
    """Write what the customer of a failed turn is told: a message of ours that is due."""
    turn = writes.turn
    assert turn is not None
    return {
        "conversation_id": writes.conversation.key.conversation_id,
        "channel_id": turn.channel_id,
        "address_kind": turn.address.kind,
        "address_value": turn.address.value,
        "author": Author.AUTOMATION,
        "kind": "text",
        "body": writes.fallback_text,
        "source": Source.TURN,
        "state": Untold.DUE,
        "at": now,
    }


def _message_row(key: ConversationKey, message: Message) -> Columns:
    return {
        "id": message.id,
        "conversation_id": key.conversation_id,
        "channel_id": message.channel_id,
        "address_kind": message.address.kind,
        "address_value": message.address.value,
        "author": message.author,
        "author_name": message.author_name,
        "kind": message.kind,
        "body": message.body,
        "source": message.source,
        "event_at": message.event_at,
        "timed": message.timed,
        "received_at": message.received_at,
    }
