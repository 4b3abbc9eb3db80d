"""From a judged burst to a stored answer (rules 5 to 9, 13).

What the AI will be told is fixed when the turn starts answering. Its answer, or its silence, is
stored in the commit that marks everything it was told as told.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from relevo.context import as_context
from relevo.ending import Ending, end, later, with_agents_seen
from relevo.events import (
    Answered,
    AnswerFailed,
    AnswerFailure,
    ConversationEnsured,
    HistoryRecalled,
    ReplyPart,
)
from relevo.matching import match_history
from relevo.messages import (
    CLOCK_SKEW_MAX,
    REACTION,
    Author,
    HistoryItem,
    Message,
    Source,
    Untold,
)
from relevo.prompt import budget
from relevo.recalling import ask_history_again, is_late, owed_after
from relevo.states import (
    Answering,
    Ensuring,
    Recalling,
    Sending,
    State,
    late,
    own_messages,
    split_by_colleague,
)
from relevo.turns import Conversation, Outcome, Part, PartState, RecallStatus, Rules, Stage, Turn
from relevo.writes import Writes

Decision = tuple[State, Writes | None]

SEND_TIMEOUT = timedelta(seconds=20)
"""A send that has not come back after this is in doubt; adapters give up a little earlier."""

TELLABLE = frozenset({Author.CUSTOMER, Author.AGENT, Author.AUTOMATION})

RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Waits between tries, as long as a locked conversation is usually locked."""

TRIES_MAX = {
    AnswerFailure.BUSY: 4,
    AnswerFailure.TRANSIENT: 2,
    AnswerFailure.UNKNOWN: 2,
}
"""How often a failure of each kind is waited out within one turn."""

DROPS_CONVERSATION = frozenset({AnswerFailure.CONVERSATION_UNUSABLE, AnswerFailure.UNKNOWN})
"""After an unknown outcome the AI may have stored the turn: only a new conversation is clean."""


def recalled(state: Recalling, event: HistoryRecalled, now: datetime) -> Decision:
    """Take in what the provider's history knows, then answer."""
    turn, rules = state.turn, state.rules
    matched = match_history(event.items, event.rows)
    found = tuple(stored(item, turn, now) for item in matched.new)
    new = tuple(replace(m, untold=Untold.UNREAD) if _joins(m, turn) else m for m in found)
    joins = tuple(m for m in new if m.untold is Untold.UNREAD)
    turn = replace(
        turn,
        recall=event.status,
        recalled=turn.recalled + len(new),
        matched_by_content=turn.matched_by_content + matched.by_content,
        message_ids=(*turn.message_ids, *(m.id for m in joins)),
    )
    complete = event.status is RecallStatus.COMPLETE
    marks = state.conversation.marks
    conversation = replace(
        owed_after(state.conversation, turn),
        marks=replace(marks, known_to=later(marks.known_to, event.known_to)) if complete else marks,
    )
    untold = with_recalled(state.untold, new)
    writes = Writes(conversation, turn, recalled=new, keys=matched.learned, matched=matched.known)
    return begin(rules, untold, writes, now)


def with_recalled(
    untold: tuple[Message, ...], recalled: tuple[Message, ...]
) -> tuple[Message, ...]:
    """Return what waits to be told with what a recall has brought."""
    known = {m.id for m in untold}
    # Without their ids: these are in the rows, and only a window's rows are read with them.
    waiting = (replace(m, keys=()) for m in recalled if m.untold and m.id not in known)
    return tuple(sorted([*untold, *waiting], key=lambda m: m.order))


def begin(rules: Rules, untold: tuple[Message, ...], writes: Writes, now: datetime) -> Decision:
    """Start answering the turn in `writes`, unless a colleague has answered it."""
    conversation, turn = writes.conversation, writes.turn
    assert turn is not None
    own = own_messages(untold, turn)
    split = split_by_colleague(conversation, own, untold)
    if not split.unanswered:
        ending = Ending(rules, conversation, untold, turn, own, Outcome.ANSWERED_BY_HUMAN, now)
        return end(ending, writes)
    untold, writes = as_context(untold, (m.id for m in split.followed), writes)
    own_ids = tuple(m.id for m in split.unanswered)
    missed, left_out = budget(tuple(m for m in untold if m.id not in own_ids and _is_missed(m)))
    missed_ids = tuple(m.id for m in missed)
    turn = replace(turn, message_ids=own_ids, missed_ids=missed_ids, missed_left_out=left_out)
    return _ask(rules, conversation, untold, turn, now, writes)


def ensured(state: Ensuring, event: ConversationEnsured, now: datetime) -> Decision:
    """The AI has a conversation: ask it."""
    conversation = replace(state.conversation, ai_conversation=event.ai_conversation)
    return _ask(state.rules, conversation, state.untold, state.turn, now, Writes(conversation))


def answered(state: Answering, event: Answered, now: datetime) -> Decision:
    """Store the answer and mark what the AI was told; send its first part, or end in silence."""
    own = own_messages(state.untold, state.turn)
    told = (*own, *_told_of_missed(state))
    told_ids = tuple(m.id for m in told)
    conversation = with_agents_seen(state.conversation, state.untold)
    told_to = later(conversation.marks.told_to, max(m.event_at for m in told))
    conversation = replace(conversation, marks=replace(conversation.marks, told_to=told_to))
    untold = tuple(m for m in state.untold if m.id not in told_ids)
    parts = _parts(conversation, state.turn, event.parts, now)
    turn = replace(
        state.turn,
        stage=Stage.SENDING,
        response_id=event.response_id,
        model=event.model,
        cost=event.cost,
        tries=0,
        deadline_at=None,
    )
    # What waited after a failed turn is in this one, as its own or as context: all of it is told.
    writes = Writes(
        conversation, turn, parts=parts, answers=bool(parts), told=told_ids, supersedes=True
    )
    untold, writes = as_context(untold, late(untold, conversation, state.rules), writes)
    told_own = tuple(replace(m, untold=None) for m in own)
    if not parts:
        ending = Ending(state.rules, conversation, untold, turn, told_own, Outcome.NO_REPLY, now)
        return end(ending, writes)
    return Sending(state.rules, conversation, untold, turn, parts, told_own), writes


def failed(state: Ensuring | Answering, event: AnswerFailed, now: datetime) -> Decision:
    """Wait, replace the AI's conversation, or give the turn up, by what the failure allows."""
    turn = state.turn
    failure = event.failure
    replaceable = state.rules.ai_conversations and not turn.replaced
    if failure is AnswerFailure.CONVERSATION_UNUSABLE and replaceable:
        return _replaced(state, now)
    if turn.tries < TRIES_MAX.get(failure, 0):
        return _postponed(state, failure, now)
    if failure is AnswerFailure.BUSY and replaceable:
        return _replaced(state, now)
    return given_up(state, event.reason, now)


def given_up(state: Ensuring | Answering, reason: str, now: datetime) -> Decision:
    """End the turn as failed: its messages join the next one, a dead letter says why."""
    own = own_messages(state.untold, state.turn)
    ending = Ending(
        state.rules,
        state.conversation,
        state.untold,
        state.turn,
        own,
        Outcome.FAILED,
        now,
        reason=reason,
    )
    return end(ending, Writes(state.conversation))


def again(state: Ensuring | Answering, now: datetime) -> Decision:
    """Try the stage's effect once more; who would answer too late looks again first."""
    rules, conversation, untold, turn = state.rules, state.conversation, state.untold, state.turn
    if is_late(rules, conversation, turn, now):
        return ask_history_again(rules, conversation, untold, turn, now)
    return _ask(rules, conversation, untold, turn, now, Writes(conversation))


def _ask(
    rules: Rules,
    conversation: Conversation,
    untold: tuple[Message, ...],
    turn: Turn,
    now: datetime,
    writes: Writes,
) -> Decision:
    ensures = rules.ai_conversations and conversation.ai_conversation is None
    turn = replace(
        turn,
        stage=Stage.ENSURING if ensures else Stage.ANSWERING,
        attempt=turn.attempt + 1,
        wait_until=None,
        deadline_at=now + timedelta(seconds=rules.answer_timeout_seconds),
    )
    kind = Ensuring if ensures else Answering
    return (
        kind(rules, conversation, untold, turn),
        replace(writes, conversation=conversation, turn=turn),
    )


def _replaced(state: Ensuring | Answering, now: datetime) -> Decision:
    """Drop the AI's conversation; a new one is made and seeded from our rows."""
    conversation = replace(state.conversation, ai_conversation=None)
    turn = replace(state.turn, replaced=True, tries=0)
    writes = Writes(conversation)
    return _ask(state.rules, conversation, state.untold, turn, now, writes)


def _postponed(state: Ensuring | Answering, failure: AnswerFailure, now: datetime) -> Decision:
    drops = failure in DROPS_CONVERSATION
    conversation = (
        replace(state.conversation, ai_conversation=None) if drops else state.conversation
    )
    ensures = state.rules.ai_conversations and conversation.ai_conversation is None
    wait_seconds = RETRY_SECONDS[min(state.turn.tries, len(RETRY_SECONDS) - 1)]
    turn = replace(
        state.turn,
        stage=Stage.ENSURING if ensures else Stage.ANSWERING,
        tries=state.turn.tries + 1,
        wait_until=now + timedelta(seconds=wait_seconds),
        deadline_at=None,
    )
    kind = Ensuring if ensures else Answering
    return kind(state.rules, conversation, state.untold, turn), Writes(conversation, turn)


def _joins(message: Message, turn: Turn) -> bool:
    """Rule 5: a recalled customer message not older than the turn's first belongs to the turn."""
    reaction = message.kind == REACTION
    newer = message.timed and message.event_at >= turn.opened_at
    return message.inbound and newer and not reaction


def _is_missed(message: Message) -> bool:
    """Rule 6: untold, of a person or an automation, with a time, and not waiting for an answer."""
    return message.author in TELLABLE and message.timed and message.untold is not Untold.UNREAD


def _told_of_missed(state: Answering) -> tuple[Message, ...]:
    """Return what the AI was told besides the turn's own, and what was left out for length.

    A webhook may have made one of them unread meanwhile: that one still wants its own answer. Left
    out was what is older than the oldest told and was there before; what came later is told later.
    """
    turn = state.turn
    told = tuple(m for m in state.untold if m.id in turn.missed_ids and _is_missed(m))
    if not turn.missed_left_out or not told:
        return told
    oldest = min(m.order for m in told)
    newest_id = max((*turn.missed_ids, *turn.message_ids))
    left_out = (m for m in state.untold if m.order < oldest and m.id < newest_id and _is_missed(m))
    return (*left_out, *told)


def stored(item: HistoryItem, turn: Turn, now: datetime) -> Message:
    """Make a row of a history item; one without a readable time is kept, and never missed."""
    tellable = item.author in TELLABLE and item.event_at is not None and item.kind != REACTION
    return Message(
        id=item.id,
        author=item.author,
        author_name=item.author_name,
        kind=item.kind,
        body=item.body,
        event_at=min(item.event_at or now, now + CLOCK_SKEW_MAX),
        received_at=now,
        source=Source.HISTORY,
        channel_id=turn.channel_id,
        address=turn.address,
        keys=item.keys,
        timed=item.event_at is not None,
        untold=Untold.CONTEXT if tellable else None,
    )


def _parts(
    conversation: Conversation, turn: Turn, parts: tuple[ReplyPart, ...], now: datetime
) -> tuple[Part, ...]:
    """Make the outbox rows of an answer; the first is on its way with this very commit."""
    rows = tuple(
        Part(
            message_id=part.message_id,
            turn_id=turn.id,
            number=number,
            text=part.text,
            correlation_id=f"relevo-{conversation.key.business_id}-{turn.id}-{number}",
            created_at=now,
        )
        for number, part in enumerate(parts, start=1)
    )
    return tuple(started(row, now) if row.number == 1 else row for row in rows)


def started(part: Part, now: datetime) -> Part:
    """Return a part as it leaves: committed like this before anything is sent."""
    return replace(
        part,
        state=PartState.SENDING,
        attempt=part.attempt + 1,
        started_at=now,
        first_started_at=part.first_started_at or now,
        deadline_at=now + SEND_TIMEOUT,
    )
