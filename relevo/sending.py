"""From a stored answer to the end of its turn (design §8, rules 9 and 12).

Parts leave one after the other. A part whose outcome is unknown is looked for in the provider's
history before anything is repeated; a re-send happens at most once, and only after a look that came
later than the send's own deadline did not find it, or after `DOUBT_MAX` where nobody can be asked.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from relevo.answering import started, stored, with_recalled
from relevo.ending import Ending, end
from relevo.events import HistoryRecalled, Looked, SendAccepted, SendFailed, SendFailure
from relevo.gathering import read
from relevo.matching import find_send, match_history, without_duplicates
from relevo.messages import HistoryItem
from relevo.states import Sending, State, colleague, current_part
from relevo.turns import PARTS_TERMINAL, Outcome, Part, PartState, RecallStatus
from relevo.writes import Absorbed, Writes

Decision = tuple[State, Writes | None]

DOUBT_MAX = timedelta(seconds=120)
"""A send in doubt is resolved within this, before any one re-send."""

LOOK_AGAIN = timedelta(seconds=10)
NOT_SENT_TRIES_MAX = 3
RETRY_SECONDS = (1.0, 2.0, 4.0)


def look(state: Sending, event: Looked, now: datetime) -> Decision:
    """Take in the rows; a colleague's message cancels the parts that have not left.

    An echo or a status among them resolves a doubt.
    """
    taken = frozenset(state.turn.message_ids)
    reading = read(state.rules, state.conversation, event, taken)
    absorbed = reading.writes.absorbed if reading.writes is not None else ()
    state = replace(
        state,
        conversation=reading.conversation,
        untold=reading.untold,
        told=without_duplicates(state.told, absorbed),
        parts=_with_proofs(state.parts, absorbed),
    )
    doubted = current_part(state.parts)
    assert doubted is not None
    if doubted.state is PartState.UNKNOWN and doubted.proven:
        return _proven(state, doubted, reading.writes or Writes(reading.conversation), now)
    state, cancelled = _without_unsent(state)
    if not cancelled:
        return state, reading.writes
    return state, replace(reading.writes or Writes(reading.conversation), parts=cancelled)


def accepted(state: Sending, event: SendAccepted, now: datetime) -> Decision:
    """The provider has this part: go on with the next, or end the turn."""
    return _accepted(state, event, Writes(state.conversation), now)


def refused(state: Sending, event: SendFailed, now: datetime) -> Decision:
    """The provider did not take it, or we cannot know; an echo or a status knows better."""
    part = _named(state, event.message_id)
    if part.proven:
        return _proven(state, part, Writes(state.conversation), now)
    if event.failure is SendFailure.UNKNOWN:
        return in_doubt(state, part, event.reason, now)
    if event.failure is SendFailure.NOT_SENT and state.turn.tries < NOT_SENT_TRIES_MAX:
        wait = timedelta(seconds=RETRY_SECONDS[state.turn.tries])
        part = replace(part, state=PartState.PENDING, deadline_at=None, reason=event.reason)
        turn = replace(state.turn, tries=state.turn.tries + 1, wait_until=now + wait)
        writes = Writes(state.conversation, turn, parts=(part,))
        return replace(_with(state, part), turn=turn), writes
    dead = replace(part, state=PartState.DEAD, deadline_at=None, reason=event.reason)
    outcome = Outcome.REFUSED if event.failure is SendFailure.REFUSED else Outcome.FAILED
    return _give_up(_with(state, dead), outcome, event.reason, Writes(state.conversation), now)


def in_doubt(state: Sending, part: Part, reason: str, now: datetime) -> Decision:
    """The part may have been sent: look for it at once."""
    if part.proven:  # the time-out of one whose echo came
        return _proven(state, part, Writes(state.conversation), now)
    part = replace(part, state=PartState.UNKNOWN, reason=reason)
    assert part.deadline_at is not None
    turn = replace(
        state.turn,
        attempt=state.turn.attempt + 1,
        wait_until=None,
        deadline_at=_look_ends_at(state, max(part.deadline_at, now)),
    )
    writes = Writes(state.conversation, turn, parts=(part,))
    return replace(_with(state, part), turn=turn), writes


def looked_for(state: Sending, event: HistoryRecalled, now: datetime) -> Decision:
    """The history was asked for a part in doubt; what else it tells is taken in too.

    A colleague's message in it stands before a re-send as one that a webhook brought would.
    """
    part = current_part(state.parts)
    assert part is not None
    item = find_send(part, event.items, event.rows)
    state, writes = _with_history(state, event, item, now)
    if item is not None:
        at = item.event_at or now
        proof = SendAccepted(part.message_id, part.attempt, at, item.keys)
        return _accepted(state, proof, writes, now)
    assert part.started_at is not None
    assert part.deadline_at is not None
    seen_after_deadline = event.status is RecallStatus.COMPLETE and (
        event.known_to >= part.deadline_at
    )
    if not seen_after_deadline and now < part.started_at + DOUBT_MAX:
        turn = replace(state.turn, wait_until=max(part.deadline_at, now + LOOK_AGAIN))
        state, cancelled = _without_unsent(replace(state, turn=turn))
        return state, replace(writes, turn=turn, parts=cancelled)
    if part.resent:
        dead = replace(part, state=PartState.DEAD, deadline_at=None)
        return _give_up(_with(state, dead), Outcome.FAILED, "send_unknown", writes, now)
    unsent = replace(part, state=PartState.PENDING, deadline_at=None, resent=True)
    return _go_on(_with(state, unsent), writes, now)


def woken(state: Sending, now: datetime) -> Decision | None:
    """A wait or a deadline of this stage has passed."""
    turn, part = state.turn, current_part(state.parts)
    assert part is not None
    if turn.wait_until is not None:
        if now < turn.wait_until:
            return None
        waited = replace(state, turn=replace(turn, wait_until=None))
        if part.state is PartState.UNKNOWN:
            return look_again(waited, now)
        return _go_on(waited, Writes(state.conversation), now)
    if part.state is PartState.SENDING:
        assert part.deadline_at is not None
        return in_doubt(state, part, "timeout", now) if now >= part.deadline_at else None
    assert turn.deadline_at is not None
    if now < turn.deadline_at:
        return None
    nothing = HistoryRecalled(turn.id, turn.attempt, RecallStatus.FAILED, known_to=now)
    return looked_for(state, nothing, now)


def look_again(state: Sending, now: datetime) -> Decision:
    """Ask the history for the part in doubt once more."""
    turn = replace(
        state.turn, attempt=state.turn.attempt + 1, deadline_at=_look_ends_at(state, now)
    )
    return replace(state, turn=turn), Writes(state.conversation, turn)


def _look_ends_at(state: Sending, begun_at: datetime) -> datetime:
    """A look is a recall: it may take as long, and its adapter gives up a little earlier."""
    return begun_at + timedelta(seconds=state.rules.recall_timeout_seconds)


def _go_on(state: Sending, writes: Writes, now: datetime) -> Decision:
    """Start the next part, unless a colleague came first or nothing is left."""
    part = current_part(state.parts)
    if part is None:
        return _ended(state, writes, now)
    if _colleague_followed(state):
        cancelled = tuple(
            replace(p, state=PartState.CANCELLED) if p.state is PartState.PENDING else p
            for p in state.parts
        )
        return _ended(replace(state, parts=cancelled), writes, now)
    state = _with(state, started(part, now))
    turn = replace(state.turn, wait_until=None, deadline_at=None)
    state = replace(state, turn=turn)
    return state, replace(writes, turn=turn, parts=state.parts)


def _ended(state: Sending, writes: Writes, now: datetime) -> Decision:
    """Every part is terminal: answered if any of them reached the customer."""
    sent = [p.started_at for p in state.parts if p.state is PartState.ACCEPTED and p.started_at]
    outcome = Outcome.ANSWERED if sent else Outcome.ANSWERED_BY_HUMAN
    return _end(state, writes, outcome, now, answered_at=max(sent, default=None))


def _give_up(
    state: Sending, outcome: Outcome, reason: str, writes: Writes, now: datetime
) -> Decision:
    """A part will never be sent. What was sent before it still answers the turn."""
    parts = tuple(
        replace(p, state=PartState.CANCELLED) if p.state is PartState.PENDING else p
        for p in state.parts
    )
    state = replace(state, parts=parts, turn=replace(state.turn, reason=reason))
    sent = [p.started_at for p in parts if p.state is PartState.ACCEPTED and p.started_at]
    outcome = Outcome.ANSWERED if sent else outcome
    return _end(state, writes, outcome, now, max(sent, default=None))


def _end(
    state: Sending,
    writes: Writes,
    outcome: Outcome,
    now: datetime,
    answered_at: datetime | None,
) -> Decision:
    ending = Ending(
        rules=state.rules,
        conversation=state.conversation,
        untold=state.untold,
        turn=state.turn,
        own=state.told,
        outcome=outcome,
        now=now,
        reason=state.turn.reason,
        parts=state.parts,
        answered_at=answered_at,
    )
    return end(ending, writes)


def _without_unsent(state: Sending) -> tuple[Sending, tuple[Part, ...]]:
    """Cancel the parts that have not left if a colleague came first; return those too."""
    first = current_part(state.parts)
    unsent = [p for p in state.parts if p.state is PartState.PENDING and p is not first]
    if not unsent or not _colleague_followed(state):
        return state, ()
    parts = tuple(replace(p, state=PartState.CANCELLED) if p in unsent else p for p in state.parts)
    return replace(state, parts=parts), tuple(p for p in parts if p not in state.parts)


def _accepted(state: Sending, event: SendAccepted, writes: Writes, now: datetime) -> Decision:
    part = _named(state, event.message_id)
    done = replace(
        part, state=PartState.ACCEPTED, started_at=event.at, deadline_at=None, proven=False
    )
    keys = tuple((part.message_id, key) for key in event.keys)
    state = replace(_with(state, done), turn=replace(state.turn, tries=0))
    return _go_on(state, replace(writes, keys=(*writes.keys, *keys)), now)


def _proven(state: Sending, part: Part, writes: Writes, now: datetime) -> Decision:
    """A status or an echo has shown that the provider took it, when we know only roughly."""
    proof = SendAccepted(part.message_id, part.attempt, part.started_at or now)
    return _accepted(state, proof, writes, now)


def _with_proofs(parts: tuple[Part, ...], absorbed: tuple[Absorbed, ...]) -> tuple[Part, ...]:
    """Note the parts whose echo has just been recognised as theirs."""
    echoed = {pair.kept for pair in absorbed if pair.by_webhook}
    return tuple(
        replace(p, proven=True) if p.message_id in echoed and p.state not in PARTS_TERMINAL else p
        for p in parts
    )


def _with_history(
    state: Sending, event: HistoryRecalled, proof: HistoryItem | None, now: datetime
) -> tuple[Sending, Writes]:
    """Store what the history tells besides the proof; it is told with the next turn."""
    part = current_part(state.parts)
    assert part is not None
    others = tuple(item for item in event.items if item is not proof)
    rows = tuple(row for row in event.rows if row.id != part.message_id)
    matched = match_history(others, rows)
    new = tuple(stored(item, state.turn, now) for item in matched.new)
    state = replace(state, untold=with_recalled(state.untold, new))
    return state, Writes(state.conversation, recalled=new, keys=matched.learned)


def _colleague_followed(state: Sending) -> bool:
    """Rule 9: a colleague's message is later than the turn's newest."""
    seen = colleague(state.untold)
    return seen is not None and all(seen.order > m.order for m in state.told)


def _named(state: Sending, message_id: int) -> Part:
    return next(p for p in state.parts if p.message_id == message_id)


def _with(state: Sending, part: Part) -> Sending:
    parts = tuple(part if p.message_id == part.message_id else p for p in state.parts)
    return replace(state, parts=parts)
