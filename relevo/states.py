"""The states of a conversation, and what each of them wants from the world.

Effects are not events of the past: they are a function of the state. What a state wants and its
predecessor did not is started; what it no longer wants is stopped. So memory and a resumed process
cannot want different things.

| state | means |
| --- | --- |
| `Idle` | nothing wants an answer; perhaps something of ours is due to be sent |
| `Gathering` | a burst is growing; nothing of it is committed, it is a function of the rows |
| `Recalling` | the burst is closed, the provider's history is being asked |
| `Ensuring` | the AI gets a conversation for this customer |
| `Answering` | the AI is being asked, or waits to be asked again |
| `Reconciling` | a call to the AI never came back; its conversation is looked at for the answer |
| `Sending` | the answer is stored and told; its parts are on their way |
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from relevo.effects import Ask, Effect, EnsureConversation, Recall, Reconcile, Send, WakeAt
from relevo.messages import Message, Untold
from relevo.people import burst, due, unread
from relevo.turns import PARTS_TERMINAL, Conversation, Part, PartState, Rules, Turn
from relevo.writes import Writes

PROOF_OVERLAP = timedelta(seconds=120)
"""How far before a mark or a send the history is read again: clocks differ, deliveries lag."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing wants an answer. `untold` may hold context for the next turn."""

    rules: Rules
    conversation: Conversation
    untold: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Gathering:
    """At least one unread customer message."""

    rules: Rules
    conversation: Conversation
    untold: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Recalling:
    """The turn waits for what the provider's history knows."""

    rules: Rules
    conversation: Conversation
    untold: tuple[Message, ...]
    turn: Turn


@dataclass(frozen=True, slots=True)
class Ensuring:
    """The turn waits for a conversation at the AI."""

    rules: Rules
    conversation: Conversation
    untold: tuple[Message, ...]
    turn: Turn


@dataclass(frozen=True, slots=True)
class Answering:
    """The turn waits for the AI's answer."""

    rules: Rules
    conversation: Conversation
    untold: tuple[Message, ...]
    turn: Turn


@dataclass(frozen=True, slots=True)
class Reconciling:
    """The turn's answer may be in the AI's conversation; nothing is asked before that is known."""

    rules: Rules
    conversation: Conversation
    untold: tuple[Message, ...]
    turn: Turn


@dataclass(frozen=True, slots=True)
class Sending:
    """The answer is committed. `told` are the turn's own messages, `parts` its outbox rows."""

    rules: Rules
    conversation: Conversation
    untold: tuple[Message, ...]
    turn: Turn
    parts: tuple[Part, ...]
    told: tuple[Message, ...]


AtTheAI = Ensuring | Answering | Reconciling
State = Idle | Gathering | Recalling | AtTheAI | Sending


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one event.

    `writes` must be committed before anything else; then `state` is what memory holds, and
    `effects` is everything that should be under way: what is missing is started, the rest stopped.
    """

    state: State
    writes: Writes | None = None
    effects: tuple[Effect, ...] = ()


def wanted(state: State) -> tuple[Effect, ...]:  # noqa: C901, PLR0911  (one case a state)
    """Return every effect that should be under way in this state."""
    match state:
        case Idle() | Gathering() if sends := due(state.untold):
            return (WakeAt(min(m.received_at for m in sends)),)
        case Idle():
            return ()
        case Gathering():
            answers = bool(burst(state.rules, state.conversation, state.untold).unanswered)
            return (WakeAt(gather_ends_at(state), gated=answers),)
        case Recalling(turn=turn):
            assert turn.recall_since is not None
            return (
                Recall(
                    turn_id=turn.id,
                    attempt=turn.attempt,
                    channel_id=turn.channel_id,
                    address=turn.address,
                    since=turn.recall_since,
                    urgent=turn.recall_urgent,
                ),
                *_wake(turn.deadline_at),
            )
        case Ensuring(turn=turn):
            if turn.wait_until is not None:
                return _wake(turn.wait_until)
            return (EnsureConversation(turn.id, turn.attempt), *_wake(turn.deadline_at))
        case Answering(turn=turn):
            if turn.wait_until is not None:
                return _wake(turn.wait_until)
            return (_ask(state), *_wake(turn.deadline_at))
        case Reconciling(turn=turn):
            if turn.wait_until is not None:
                return _wake(turn.wait_until)
            return (Reconcile(_ask(state)), *_wake(turn.deadline_at))
        case Sending():
            return _wanted_by_sending(state)
        case _:
            assert_never(state)


def late(
    untold: tuple[Message, ...],
    conversation: Conversation,
    rules: Rules,
    taken: frozenset[int] = frozenset(),
) -> frozenset[int]:
    """Rule 11: which unread ones came long after they were written, and are older than told ones.

    They are context only. Those of an open turn (`taken`) stay in it.
    """
    told_to = conversation.marks.told_to
    return frozenset(
        m.id
        for m in untold
        if m.untold is Untold.UNREAD
        and m.id not in taken
        and told_to is not None
        and m.event_at < told_to
        and (m.received_at - m.event_at).total_seconds() > rules.late_answer_seconds
    )


def own_messages(untold: tuple[Message, ...], turn: Turn) -> tuple[Message, ...]:
    """Return the messages that an open turn answers."""
    ids = set(turn.message_ids)
    return tuple(m for m in untold if m.id in ids)


def gather_ends_at(state: Gathering) -> datetime:
    """Return when the burst is complete: after silence, or after its longest time.

    A burst that a colleague has answered whole is complete at once, and so is one that a person
    wants to be answered now.
    """
    waiting = unread(state.untold)
    unanswered = burst(state.rules, state.conversation, state.untold).unanswered
    arrivals = [m.received_at for m in unanswered]
    if not arrivals or any(m.untold is Untold.ASKED for m in waiting):
        return min(m.received_at for m in waiting)
    return min(
        max(arrivals) + timedelta(seconds=state.rules.quiet_seconds),
        min(arrivals) + timedelta(seconds=state.rules.gather_max_seconds),
    )


def current_part(parts: tuple[Part, ...]) -> Part | None:
    """Return the part that is on its way, or next."""
    return next((p for p in parts if p.state not in PARTS_TERMINAL), None)


def raised(state: State) -> State:
    """Return the state after its writes were committed: the row's version is one higher."""
    conversation = replace(state.conversation, version=state.conversation.version + 1)
    return replace(state, conversation=conversation)


def _wake(at: datetime | None) -> tuple[WakeAt, ...]:
    assert at is not None
    return (WakeAt(at),)


def _ask(state: Answering | Reconciling) -> Ask:
    missed_ids = set(state.turn.missed_ids)
    return Ask(
        turn=state.turn,
        ai_conversation=state.conversation.ai_conversation,
        messages=own_messages(state.untold, state.turn),
        missed=tuple(m for m in state.untold if m.id in missed_ids),
        timezone=state.rules.timezone,
    )


def _wanted_by_sending(state: Sending) -> tuple[Effect, ...]:
    turn = state.turn
    part = current_part(state.parts)
    assert part is not None
    if turn.wait_until is not None:
        return _wake(turn.wait_until)
    if part.state is PartState.SENDING:
        return (Send(part, turn.channel_id, turn.address), *_wake(part.deadline_at))
    assert part.state is PartState.UNKNOWN
    assert part.first_started_at is not None
    look = Recall(
        turn_id=turn.id,
        attempt=turn.attempt,
        channel_id=turn.channel_id,
        address=turn.address,
        since=part.first_started_at - PROOF_OVERLAP,
        urgent=True,
    )
    return (look, *_wake(turn.deadline_at))
