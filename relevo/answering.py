"""From a judged burst to a stored answer (rules 5 to 9, 13).

What the AI will be told is fixed when the turn starts answering. Its answer, or its silence, is
stored in the commit that marks everything it was told as told.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from relevo.context import as_context, as_held, holding
from relevo.ending import Ending, end, later, with_agents_seen
from relevo.events import Answered, ConversationEnsured, HistoryRecalled, ReplyPart
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
from relevo.people import Burst, split
from relevo.prompt import budget
from relevo.recalling import ask_history_again, is_late, owed_after
from relevo.states import (
    Answering,
    AtTheAI,
    Ensuring,
    Recalling,
    Reconciling,
    Sending,
    State,
    late,
    own_messages,
)
from relevo.turns import Conversation, Outcome, Part, PartState, RecallStatus, Rules, Stage, Turn
from relevo.writes import Writes

Decision = tuple[State, Writes | None]

SEND_TIMEOUT = timedelta(seconds=20)
"""A send that has not come back after this is in doubt; adapters give up a little earlier."""

TELLABLE = frozenset({Author.CUSTOMER, Author.AGENT, Author.AUTOMATION})

WINDOW = timedelta(hours=24)
"""How long after a customer's own message a provider takes free text for him (providers.md §1.11,
code 131047; every kind of channel built so far is WhatsApp)."""

WINDOW_CLOSED = "window_closed"
OUT_OF_TIME = "out_of_time"

OWN_MESSAGES_MAX = 100
OWN_BYTES_MAX = 48_000
"""What one turn answers. More is a flood, or many failed turns: the rest is told as missed."""


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
    untold, writes = holding(rules, untold, turn.message_ids, writes)
    own = own_messages(untold, turn)
    parted = split(rules, conversation, own, untold)
    if not parted.unanswered:
        return without_us(rules, untold, parted, writes, now)
    untold, writes = as_context(untold, (m.id for m in parted.followed), writes)
    untold, writes = as_held(untold, (m.id for m in parted.held), writes)
    untold, writes = as_context(untold, _beyond_bounds(parted.unanswered), writes)
    own_ids = tuple(m.id for m in parted.unanswered if m.id not in dict(writes.untold))
    missed, left_out = budget(tuple(m for m in untold if m.id not in own_ids and _is_missed(m)))
    missed_ids = tuple(m.id for m in missed)
    turn = replace(turn, message_ids=own_ids, missed_ids=missed_ids, missed_left_out=left_out)
    return ask(rules, conversation, untold, turn, now, writes)


def without_us(
    rules: Rules, untold: tuple[Message, ...], parted: Burst, writes: Writes, now: datetime
) -> Decision:
    """End the turn in `writes`: people have taken care of all its messages (rule 9).

    Where some are held, those that a colleague has answered are context only.
    """
    turn = writes.turn
    assert turn is not None
    if not parted.held:
        by_human = Outcome.ANSWERED_BY_HUMAN
        ending = Ending(rules, writes.conversation, untold, turn, parted.followed, by_human, now)
        return end(ending, writes)
    customers = (m.id for m in parted.followed if m.inbound)
    untold, writes = as_context(untold, customers, writes)
    requests = tuple(m for m in parted.followed if not m.inbound)
    own = (*parted.held, *requests)
    return end(Ending(rules, writes.conversation, untold, turn, own, Outcome.HELD, now), writes)


def _beyond_bounds(own: tuple[Message, ...]) -> tuple[int, ...]:
    """Return what is too much to be answered at once: the oldest, which are told as missed."""
    said = tuple(m for m in own if m.inbound)
    kept, _ = budget(said, OWN_MESSAGES_MAX, OWN_BYTES_MAX)
    return tuple(m.id for m in said if m not in kept)


def ensured(state: Ensuring, event: ConversationEnsured, now: datetime) -> Decision:
    """The AI has a conversation: ask it."""
    conversation = replace(state.conversation, ai_conversation=event.ai_conversation)
    turn = replace(state.turn, tries=0)
    return ask(state.rules, conversation, state.untold, turn, now, Writes(conversation))


def answered(state: Answering | Reconciling, event: Answered, now: datetime) -> Decision:
    """Store the answer and mark what the AI was told; send its first part, or end in silence."""
    own = own_messages(state.untold, state.turn)
    told = (*own, *_told_of_missed(state))
    told_ids = tuple(m.id for m in told)
    conversation = with_agents_seen(state.conversation, state.untold)
    told_to = later(conversation.marks.told_to, max(m.event_at for m in told if not _asks(m)))
    conversation = replace(conversation, marks=replace(conversation.marks, told_to=told_to))
    untold = tuple(m for m in state.untold if m.id not in told_ids)
    said = (m for m in (*own, *state.untold) if m.inbound and not m.is_edit)
    window_ends_at = max(m.event_at for m in said) + WINDOW
    parts = _parts(conversation, state.turn, event.parts, now, window_ends_at)
    turn = replace(
        state.turn,
        stage=Stage.SENDING,
        response_id=event.response_id,
        model=event.model,
        cost=event.cost,
        tries=0,
        deadline_at=None,
    )
    writes = Writes(conversation, turn, parts=parts, answers=bool(parts), told=told_ids)
    untold, writes = as_context(untold, late(untold, conversation, state.rules), writes)
    told_own = tuple(replace(m, untold=None) for m in own)
    if not parts or now >= window_ends_at:
        outcome, reason = (Outcome.REFUSED, WINDOW_CLOSED) if parts else (Outcome.NO_REPLY, "")
        ending = Ending(
            state.rules, conversation, untold, turn, told_own, outcome, now, reason=reason
        )
        return end(ending, writes)
    return Sending(state.rules, conversation, untold, turn, parts, told_own), writes


def again(state: AtTheAI, now: datetime) -> Decision:
    """Ask once more; who would answer too late looks at the history again first."""
    rules, conversation, untold, turn = state.rules, state.conversation, state.untold, state.turn
    if is_late(rules, conversation, turn, now):
        return ask_history_again(rules, conversation, untold, turn, now)
    return ask(rules, conversation, untold, turn, now, Writes(conversation))


def ask(
    rules: Rules,
    conversation: Conversation,
    untold: tuple[Message, ...],
    turn: Turn,
    now: datetime,
    writes: Writes,
) -> Decision:
    """Ask the AI, or for a conversation to ask it in; all of a turn's questions have one time."""
    ends_at = turn.answer_ends_at or now + timedelta(seconds=rules.answer_total_seconds)
    if now >= ends_at:
        return give_up(rules, untold, replace(writes, turn=turn), turn.reason or OUT_OF_TIME, now)
    ensures = rules.ai_conversations and conversation.ai_conversation is None
    turn = replace(
        turn,
        stage=Stage.ENSURING if ensures else Stage.ANSWERING,
        attempt=turn.attempt + 1,
        wait_until=None,
        deadline_at=min(ends_at, now + timedelta(seconds=rules.answer_timeout_seconds)),
        answer_ends_at=ends_at,
    )
    kind = Ensuring if ensures else Answering
    return (
        kind(rules, conversation, untold, turn),
        replace(writes, conversation=conversation, turn=turn),
    )


def give_up(
    rules: Rules,
    untold: tuple[Message, ...],
    writes: Writes,
    reason: str,
    now: datetime,
    gives_up: frozenset[int] = frozenset(),
) -> Decision:
    """End the turn in `writes` as failed: its messages join the next one, a dead letter says why.

    What is in `gives_up` does not.
    """
    turn = writes.turn
    assert turn is not None
    own = own_messages(untold, turn)
    ending = Ending(
        rules,
        writes.conversation,
        untold,
        turn,
        own,
        Outcome.FAILED,
        now,
        reason=reason,
        gives_up=gives_up,
    )
    return end(ending, replace(writes, fallback_text=rules.fallback_text))


def _joins(message: Message, turn: Turn) -> bool:
    """Rule 5: a recalled customer message not older than the turn's first belongs to the turn."""
    reaction = message.kind == REACTION
    newer = message.timed and message.event_at >= turn.opened_at
    return message.inbound and newer and not reaction


def _is_missed(message: Message) -> bool:
    """Rule 6: untold, of a person or an automation, with a time, and not waiting for an answer."""
    waits = {Untold.FAILED, Untold.CONTEXT, Untold.HELD}
    return message.author in TELLABLE and message.timed and message.untold in waits


def _asks(message: Message) -> bool:
    """Tell a person's request from what a customer or a colleague said."""
    return message.author is Author.SYSTEM


def _told_of_missed(state: Answering | Reconciling) -> tuple[Message, ...]:
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
    conversation: Conversation,
    turn: Turn,
    parts: tuple[ReplyPart, ...],
    now: datetime,
    window_ends_at: datetime,
) -> tuple[Part, ...]:
    """Make the outbox rows of an answer; the first is on its way with this very commit.

    After the provider's window for free text none of them ever is.
    """
    rows = tuple(
        Part(
            message_id=part.message_id,
            turn_id=turn.id,
            number=number,
            text=part.text,
            correlation_id=correlation_id(conversation, turn, number),
            created_at=now,
            window_ends_at=window_ends_at,
        )
        for number, part in enumerate(parts, start=1)
    )
    if now >= window_ends_at:
        return tuple(replace(p, state=PartState.DEAD, reason=WINDOW_CLOSED) for p in rows)
    return tuple(started(row, now) if row.number == 1 else row for row in rows)


def correlation_id(conversation: Conversation, turn: Turn, number: int) -> str:
    """Name a part for the provider, the same name for each of its attempts."""
    return f"relevo-{conversation.key.business_id}-{turn.id}-{number}"


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
