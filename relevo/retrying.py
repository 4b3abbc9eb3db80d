"""What a failure of the AI leads to: a wait, a look, a new conversation, or the end of the turn.

| failure | what is done |
| --- | --- |
| busy | waits 1, 2, 4, 8 s; then the conversation is replaced |
| transient | three tries, 1 and 2 s apart |
| rate limited | waits as long as it is told, however often |
| unusable conversation | replaced and seeded again from our rows, in the same turn |
| unknown | nothing is asked again: the conversation is looked at for the answer first |
| policy | given up; what two turns were refused for is not offered a third time |
| permanent | given up |

A conversation is replaced once a turn, and everything ends with the turn's total time. What may
have been stored is never asked again in the conversation that may hold it: found there it is the
answer; not found, it is asked in a new one. So no conversation ever holds one question twice.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from relevo.answering import Decision, again, give_up
from relevo.events import AnswerFailed, AnswerFailure, Finding, Reconciled
from relevo.messages import Untold
from relevo.recalling import is_late
from relevo.states import AtTheAI, Ensuring, Reconciling, own_messages
from relevo.turns import Stage, Turn
from relevo.writes import Writes

BUSY_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Waits for a call of ours that still runs at the AI; it was seen to last for seconds."""

TRANSIENT_SECONDS = (1.0, 2.0)
NOT_STORED_SECONDS = (1.0, 2.0)
"""Waits for a call that has left no trace so far: it may be stored a moment after it was lost."""

RATE_LIMIT_SECONDS_MIN = 1.0
RATE_LIMIT_SECONDS_MAX = 30.0

LOOK_TIMEOUT = timedelta(seconds=15)
"""A look at the AI's conversation generates nothing: slower than this it will not come."""

SPREAD = 0.25
"""Waits are up to this much longer, so that customers who failed together do not come together."""

SPREAD_STEPS = 1000

AWAY = timedelta(seconds=5)
"""A wait that is over for so long was not noticed: nobody was there."""

ATTEMPTS_MAX = 100

INTERRUPTED = "interrupted"
UNRESOLVED = "unresolved"
"""The reason of a turn whose answer may be anywhere, or nowhere."""


def failed(  # noqa: C901  (one case a failure)
    state: AtTheAI, event: AnswerFailed, now: datetime
) -> Decision:
    """Decide what an AI that gave no answer, no conversation or no look leads to."""
    state = _discarding(state, event.response_id)
    match event.failure:
        case AnswerFailure.CONVERSATION_UNUSABLE:
            return _replaced(state, event.reason, now)
        case AnswerFailure.RATE_LIMITED:
            seconds = event.retry_after_seconds or RATE_LIMIT_SECONDS_MIN
            seconds = min(max(seconds, RATE_LIMIT_SECONDS_MIN), RATE_LIMIT_SECONDS_MAX)
            waiting = _postponed(state, seconds, state.turn.tries, now)
            return waiting or _given_up(state, event.reason, now)
        case AnswerFailure.POLICY:
            return _given_up(state, event.reason, now, _offered_twice(state))
        case AnswerFailure.PERMANENT:
            return _given_up(state, event.reason, now)
        case _ if isinstance(state, Reconciling):
            return _tried(state, BUSY_SECONDS, now) or _replaced(state, UNRESOLVED, now)
        case AnswerFailure.BUSY:
            return _tried(state, BUSY_SECONDS, now) or _replaced(state, event.reason, now)
        case AnswerFailure.UNKNOWN if _may_be_stored(state):
            return reconcile(state, now)
        case AnswerFailure.TRANSIENT | AnswerFailure.UNKNOWN:
            return _tried(state, TRANSIENT_SECONDS, now) or _given_up(state, event.reason, now)
        case _:
            assert_never(event.failure)


def _discarding(state: AtTheAI, response_id: str) -> AtTheAI:
    """Remember what the AI has stored and what answers nobody: it may have to be erased one day."""
    if not response_id:
        return state
    discarded = (*state.turn.discarded_responses, response_id)
    return replace(state, turn=replace(state.turn, discarded_responses=discarded))


def reconcile(state: AtTheAI, now: datetime) -> Decision:
    """Look whether the AI has stored what was asked, before anything else is done.

    An answer of long ago was given without what has been said since: it is not looked for.
    """
    if is_late(state.rules, state.conversation, state.turn, now):
        return _replaced(state, UNRESOLVED, now)
    turn = replace(
        state.turn,
        stage=Stage.RECONCILING,
        attempt=state.turn.attempt + 1,
        tries=state.turn.tries if isinstance(state, Reconciling) else 0,
        wait_until=None,
        deadline_at=now + LOOK_TIMEOUT,
    )
    writes = Writes(state.conversation, turn)
    return Reconciling(state.rules, state.conversation, state.untold, turn), writes


def reconciled(state: Reconciling, event: Reconciled, now: datetime) -> Decision:
    """No answer is there: look again while one may come, then ask in a new conversation."""
    waits = {
        Finding.RUNNING: BUSY_SECONDS,
        Finding.NOT_STORED: NOT_STORED_SECONDS,
        Finding.UNCLEAR: (),
    }[event.finding]
    return _tried(state, waits, now) or _replaced(state, UNRESOLVED, now)


def interrupted(state: AtTheAI, now: datetime) -> Decision:
    """Take up what a former life has left. What it lived through is not held against the turn.

    A turn that was tried for very long is given up all the same: it may be what kills us.
    """
    if state.turn.attempt >= ATTEMPTS_MAX:
        return _given_up(state, INTERRUPTED, now)
    asked = state.turn.wait_until is None or isinstance(state, Reconciling)
    ends_at = now + timedelta(seconds=state.rules.answer_total_seconds)
    turn = replace(state.turn, tries=0, replaced=False, answer_ends_at=ends_at)
    state = replace(state, turn=turn)
    return reconcile(state, now) if asked and _may_be_stored(state) else again(state, now)


def woken(state: AtTheAI, now: datetime) -> Decision | None:
    """A wait or a deadline has passed."""
    turn = state.turn
    if turn.wait_until is not None:
        if now < turn.wait_until:
            return None
        if now > turn.wait_until + AWAY:
            return interrupted(state, now)
        return reconcile(state, now) if isinstance(state, Reconciling) else again(state, now)
    assert turn.deadline_at is not None
    if now < turn.deadline_at:
        return None
    lost = AnswerFailed(turn.id, turn.attempt, AnswerFailure.UNKNOWN, "timeout")
    return failed(state, lost, now)


def _may_be_stored(state: AtTheAI) -> bool:
    """Tell whether the AI may hold what this turn has asked."""
    keeps = state.rules.ai_conversations and state.conversation.ai_conversation is not None
    return keeps and not isinstance(state, Ensuring)


def _tried(state: AtTheAI, waits: Sequence[float], now: datetime) -> Decision | None:
    """Wait for the next try, if there is one."""
    tries = state.turn.tries
    return _postponed(state, waits[tries], tries + 1, now) if tries < len(waits) else None


def _postponed(state: AtTheAI, seconds: float, tries: int, now: datetime) -> Decision | None:
    """Wait, if the turn has the time."""
    turn = state.turn
    wait_until = now + timedelta(seconds=seconds * (1 + SPREAD * _share(turn)))
    if turn.answer_ends_at is not None and wait_until >= turn.answer_ends_at:
        return None
    turn = replace(turn, tries=tries, wait_until=wait_until, deadline_at=None)
    return replace(state, turn=turn), Writes(state.conversation, turn)


def _share(turn: Turn) -> float:
    """Return a number from 0 up to 1 that differs from turn to turn and from try to try."""
    return (turn.id * 37 + turn.attempt * 101) % SPREAD_STEPS / SPREAD_STEPS


def _replaced(state: AtTheAI, reason: str, now: datetime) -> Decision:
    """Drop the AI's conversation; a new one is made and seeded from our rows. Once a turn."""
    turn = state.turn
    has_time = turn.answer_ends_at is None or now < turn.answer_ends_at
    if turn.replaced or not state.rules.ai_conversations or not has_time:
        return _given_up(state, reason, now)
    conversation = replace(state.conversation, ai_conversation=None)
    turn = replace(turn, replaced=True, tries=0)
    return again(replace(state, conversation=conversation, turn=turn), now)


def _offered_twice(state: AtTheAI) -> frozenset[int]:
    """Return what is given up when the AI refuses: what was in a failed turn before.

    Which of its messages is meant nobody says, so what was missed goes with them.
    """
    own = own_messages(state.untold, state.turn)
    again = frozenset(m.id for m in own if m.untold is Untold.FAILED)
    told = set(state.turn.missed_ids) if again else set()
    missed = (m.id for m in state.untold if m.id in told and m.untold is not Untold.UNREAD)
    return again.union(missed)


def _given_up(
    state: AtTheAI, reason: str, now: datetime, gives_up: frozenset[int] = frozenset()
) -> Decision:
    writes = Writes(state.conversation, state.turn)
    return give_up(state.rules, state.untold, writes, reason, now, gives_up)
