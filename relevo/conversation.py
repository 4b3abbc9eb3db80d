"""The core: `step(state, event, now) -> Step`. All decisions about a customer are made behind it.

Two rules for this file and everything it calls:

1. It is pure. No clock, no I/O, no chance, no logging: time is an argument, ids come with events.
2. It is total. Any event in any state gives a step; a late, repeated or unexpected one changes
   nothing. A result counts only if it names the open turn and its current attempt.

How it is used: one actor a customer feeds it one event at a time. What the step wants written is
committed in one transaction, conditional on the conversation's version; only then does the state in
memory change, and only then are its effects performed. A commit that was lost is a restart: the
rows are read again (`resume`), all of them are stepped, and only then the event in hand.

The states are in `states.py`, with what each wants; `gathering`, `answering`, `sending` hold the
decisions of each stage in the order of a turn's life; `ending` ends it; `transitions.py` lists
every move and draws `docs/conversation.mmd`.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from relevo import answering, errands, gathering, retrying, sending
from relevo.effects import WakeAt
from relevo.ending import Ending, end, settle
from relevo.events import (
    Answered,
    AnswerFailed,
    ConversationEnsured,
    Event,
    HistoryRecalled,
    Interrupted,
    Looked,
    Reconciled,
    SendAccepted,
    SendFailed,
    TimerFired,
)
from relevo.people import due, split
from relevo.recalling import ask_history
from relevo.states import (
    Answering,
    AtTheAI,
    Ensuring,
    Gathering,
    Idle,
    Recalling,
    Reconciling,
    Sending,
    State,
    Step,
    current_part,
    gather_ends_at,
    own_messages,
    raised,
    wanted,
)
from relevo.turns import Outcome, PartState, RecallStatus, Rules, Stage, Turn
from relevo.writes import Absorbed, Rows, Writes

Decision = tuple[State, Writes | None]

REVOKED = "revoked"
"""The reason of a turn all of whose messages were taken back."""


def step(state: State, event: Event, now: datetime) -> Step:
    """Decide what one event means. Total: what does not apply gives the same state."""
    decision = _decide(state, event, now)
    if decision is None:
        return Step(state, effects=wanted(state))
    after, writes = decision
    if writes is not None:
        writes = replace(writes, conversation=after.conversation)
        after = raised(after)
    return Step(after, writes, wanted(after))


def resume(rows: Rows, rules: Rules) -> Step:
    """Rebuild the state from what the store holds; the same as memory, once memory read every row.

    Its `untold` rows still have to be stepped as `Looked`, for they may carry a decision.
    """
    state = _rebuilt(rows, rules)
    return Step(state, effects=wanted(state))


def _rebuilt(rows: Rows, rules: Rules) -> State:
    conversation, turn = rows.conversation, rows.turn
    if turn is None:
        return settle(rules, conversation, rows.untold)
    match turn.stage:
        case Stage.RECALLING:
            return Recalling(rules, conversation, rows.untold, turn)
        case Stage.ENSURING:
            return Ensuring(rules, conversation, rows.untold, turn)
        case Stage.ANSWERING:
            return Answering(rules, conversation, rows.untold, turn)
        case Stage.RECONCILING:
            return Reconciling(rules, conversation, rows.untold, turn)
        case _:
            return Sending(rules, conversation, rows.untold, turn, rows.parts, rows.told)


def _decide(  # noqa: C901, PLR0911, PLR0912  (one case an event: the dispatch reads best whole)
    state: State, event: Event, now: datetime
) -> Decision | None:
    match event:
        case Looked():
            return _looked(state, event, now)
        case TimerFired():
            return _woken(state, now)
        case Interrupted():
            return _interrupted(state, event, now)
        case HistoryRecalled():
            return _recalled(state, event, now)
        case ConversationEnsured():
            if isinstance(state, Ensuring) and _is_current(state, event):
                return answering.ensured(state, event, now)
        case Answered():
            if isinstance(state, Answering | Reconciling) and _is_current(state, event):
                return answering.answered(state, event, now)
        case AnswerFailed():
            if isinstance(state, AtTheAI) and _is_current(state, event):
                return retrying.failed(state, event, now)
        case Reconciled():
            if isinstance(state, Reconciling) and _is_current(state, event):
                return retrying.reconciled(state, event, now)
        case SendAccepted():
            if isinstance(state, Sending) and _is_on_its_way(state, event):
                return sending.accepted(state, event, now)
        case SendFailed():
            if isinstance(state, Sending) and _is_on_its_way(state, event):
                return sending.refused(state, event, now)
        case _:
            assert_never(event)
    return None


def _looked(state: State, event: Looked, now: datetime) -> Decision:
    match state:
        case Idle() | Gathering():
            return gathering.look(state.rules, state.conversation, event)
        case Sending():
            return sending.look(state, event, now)
        case Recalling() | Ensuring() | Answering() | Reconciling():
            return _looked_within_turn(state, event, now)
        case _:
            assert_never(state)


def _looked_within_turn(state: Recalling | AtTheAI, event: Looked, now: datetime) -> Decision:
    """Rule 9: a colleague's message, or a hold, later than the turn's newest ends it without us.

    Rule 11: what was revoked leaves the turn, and nobody is left to be answered if that was all.
    """
    taken = frozenset(state.turn.message_ids)
    reading = gathering.read(state.rules, state.conversation, event, taken)
    conversation, untold, writes = reading.conversation, reading.untold, reading.writes
    turn = state.turn
    if writes is not None:
        turn = _without_revoked(_with_absorbed(turn, writes.absorbed), event)
        writes = writes if turn == state.turn else replace(writes, turn=turn)
    own = own_messages(untold, turn)
    if not any(m.inbound for m in own):
        ending = Ending(
            state.rules, conversation, untold, turn, own, Outcome.NO_REPLY, now, reason=REVOKED
        )
        return end(ending, writes or Writes(conversation))
    parted = split(state.rules, conversation, own, untold)
    if parted.unanswered:
        return replace(state, conversation=conversation, untold=untold, turn=turn), writes
    writes = replace(writes or Writes(conversation), turn=turn)
    return answering.without_us(state.rules, untold, parted, writes, now)


def _with_absorbed(turn: Turn, absorbed: tuple[Absorbed, ...]) -> Turn:
    """What a turn is telling stays told, also under the row that took its place."""
    kept = {pair.duplicate: pair.kept for pair in absorbed}
    missed_ids = tuple(kept.get(message_id, message_id) for message_id in turn.missed_ids)
    return replace(turn, missed_ids=missed_ids)


def _without_revoked(turn: Turn, event: Looked) -> Turn:
    revoked = {m.id for m in event.untold if m.revoked}
    return replace(
        turn,
        message_ids=tuple(i for i in turn.message_ids if i not in revoked),
        missed_ids=tuple(i for i in turn.missed_ids if i not in revoked),
    )


def _woken(state: State, now: datetime) -> Decision | None:
    match state:
        case Idle() | Gathering() if due(state.untold):
            return errands.begin(state, now)
        case Idle():
            return None
        case Gathering():
            return gathering.close(state, now) if now >= gather_ends_at(state) else None
        case Sending():
            return sending.woken(state, now)
        case Recalling(turn=turn):
            assert turn.deadline_at is not None
            nothing = HistoryRecalled(turn.id, turn.attempt, RecallStatus.FAILED, known_to=now)
            return answering.recalled(state, nothing, now) if now >= turn.deadline_at else None
        case Ensuring() | Answering() | Reconciling():
            return retrying.woken(state, now)
        case _:
            assert_never(state)


def _recalled(state: State, event: HistoryRecalled, now: datetime) -> Decision | None:
    if not isinstance(state, Recalling | Sending) or not _is_current(state, event):
        return None
    if isinstance(state, Recalling):
        return answering.recalled(state, event, now)
    part = current_part(state.parts)
    in_doubt = part is not None and part.state is PartState.UNKNOWN
    return sending.looked_for(state, event, now) if in_doubt else None


def _interrupted(state: State, event: Interrupted, now: datetime) -> Decision | None:
    """An effect of a former life: questions are simply asked again, the others are in doubt."""
    mine = {effect.key for effect in wanted(state) if not isinstance(effect, WakeAt)}
    if mine.isdisjoint(event.effect_keys):
        return None
    assert not isinstance(state, Idle | Gathering), "these want nothing but to be woken"
    match state:
        case Recalling():
            writes, turn = Writes(state.conversation), replace(state.turn, answer_ends_at=None)
            return ask_history(state.rules, state.untold, turn, now, writes)
        case Ensuring() | Answering() | Reconciling():
            return retrying.interrupted(state, now)
        case Sending():
            part = current_part(state.parts)
            assert part is not None
            if part.state is PartState.UNKNOWN:
                return sending.look_again(state, now)
            return sending.in_doubt(state, part, "interrupted", now)
        case _:
            assert_never(state)


def _is_current(
    state: Recalling | AtTheAI | Sending,
    event: HistoryRecalled | ConversationEnsured | Answered | AnswerFailed | Reconciled,
) -> bool:
    turn = state.turn
    return turn.id == event.turn_id and turn.attempt == event.attempt and turn.wait_until is None


def _is_on_its_way(state: Sending, event: SendAccepted | SendFailed) -> bool:
    part = current_part(state.parts)
    return (
        part is not None
        and part.state is PartState.SENDING
        and part.message_id == event.message_id
        and part.attempt == event.attempt
    )
