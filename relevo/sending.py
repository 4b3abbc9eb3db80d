"""From a stored answer to the end of its turn (design §8, rules 9 and 12).

Parts leave one after the other. A part whose outcome is unknown is looked for in the provider's
history before anything is repeated; a re-send happens at most once, and only after a look that came
later than the send's own deadline did not find it, or after `DOUBT_MAX` where nobody can be asked.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from relevo.answering import WINDOW_CLOSED, started, stored, with_recalled
from relevo.context import holding
from relevo.ending import Ending, end
from relevo.events import HistoryRecalled, Looked, SendAccepted, SendFailed, SendFailure
from relevo.gathering import read
from relevo.matching import find_send, match_history, without_duplicates
from relevo.messages import HistoryItem, Message, Source
from relevo.people import Burst, split
from relevo.states import Sending, State, current_part
from relevo.turns import PARTS_TERMINAL, Outcome, Part, PartState, Purpose, RecallStatus
from relevo.writes import Absorbed, Writes

Decision = tuple[State, Writes | None]

DOUBT_MAX = timedelta(seconds=120)
"""A send in doubt is resolved within this, before any one re-send."""

SEND_UNKNOWN = "send_unknown"
"""The reason of a part that nobody saw, and that may have arrived all the same."""

LOOK_AGAIN = timedelta(seconds=10)
RETRY_SECONDS = (1.0, 2.0, 4.0)
"""Waits between tries of a part that was not taken."""

RATE_LIMIT_SECONDS_MIN = 1.0
RATE_LIMIT_SECONDS_MAX = 60.0
PACED_MAX = timedelta(minutes=10)
"""A part that is not allowed to leave for so long is given up."""


def look(state: Sending, event: Looked, now: datetime) -> Decision:
    """Take in the rows; a colleague's message, or a hold, cancels the parts that have not left.

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
    if event.failure is SendFailure.NOT_SENT and state.turn.tries < len(RETRY_SECONDS):
        wait_seconds = RETRY_SECONDS[state.turn.tries]
        turn = replace(state.turn, tries=state.turn.tries + 1)
        return _postponed(replace(state, turn=turn), part, event.reason, wait_seconds, now)
    if event.failure is SendFailure.RATE_LIMITED and now < part.created_at + PACED_MAX:
        return _postponed(state, part, event.reason, _paced_seconds(part, event), now)
    dead = replace(part, state=PartState.DEAD, deadline_at=None, reason=event.reason)
    outcome = Outcome.REFUSED if event.failure is SendFailure.REFUSED else Outcome.FAILED
    return _give_up(_with(state, dead), outcome, event.reason, Writes(state.conversation), now)


def _postponed(
    state: Sending, part: Part, reason: str, wait_seconds: float, now: datetime
) -> Decision:
    """The part has not left: it leaves later, if nothing comes between."""
    part = replace(part, state=PartState.PENDING, deadline_at=None, reason=reason)
    wait_until = now + timedelta(seconds=wait_seconds)
    turn = replace(state.turn, wait_until=wait_until)
    writes = Writes(state.conversation, turn, parts=(part,))
    return replace(_with(state, part), turn=turn), writes


def _paced_seconds(part: Part, event: SendFailed) -> float:
    """Wait as long as the provider says; else 4^n s, as it asks for pairs (code 131056)."""
    told = event.retry_after_seconds
    seconds = told if told is not None else 4.0 ** min(part.attempt, 3)
    return min(max(seconds, RATE_LIMIT_SECONDS_MIN), RATE_LIMIT_SECONDS_MAX)


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
    if not seen_after_deadline and _taken_over(state):
        # Nobody could be asked: it may have left, so it is not called withdrawn.
        unseen = replace(part, state=PartState.DEAD, deadline_at=None, reason=SEND_UNKNOWN)
        return go_on(_with(state, unseen), writes, now)
    if part.resent:
        dead = replace(part, state=PartState.DEAD, deadline_at=None, reason=SEND_UNKNOWN)
        return _give_up(_with(state, dead), Outcome.FAILED, SEND_UNKNOWN, writes, now)
    unsent = replace(part, state=PartState.PENDING, deadline_at=None, resent=True)
    return go_on(_with(state, unsent), writes, now)


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
        return go_on(waited, Writes(state.conversation), now)
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


def go_on(state: Sending, writes: Writes, now: datetime) -> Decision:
    """Start the next part, unless people came first, the window closed, or nothing is left."""
    part = current_part(state.parts)
    if part is None:
        return _ended(state, writes, now)
    if _taken_over(state):
        return _ended(replace(state, parts=_withdrawn(state.parts)), writes, now)
    if part.window_ends_at is not None and now >= part.window_ends_at:
        dead = replace(part, state=PartState.DEAD, deadline_at=None, reason=WINDOW_CLOSED)
        return _give_up(_with(state, dead), Outcome.REFUSED, WINDOW_CLOSED, writes, now)
    state = _with(state, started(part, now))
    turn = replace(state.turn, wait_until=None, deadline_at=None)
    state = replace(state, turn=turn)
    return state, replace(writes, turn=turn, parts=state.parts)


def _ended(state: Sending, writes: Writes, now: datetime) -> Decision:
    """Every part is terminal: answered if any of them reached the customer."""
    unsent = Outcome.HELD if _parted(state).held else Outcome.ANSWERED_BY_HUMAN
    return _end(state, writes, unsent, now)


def _give_up(
    state: Sending, outcome: Outcome, reason: str, writes: Writes, now: datetime
) -> Decision:
    """A part will never be sent. What was sent before it still answers the turn."""
    turn = replace(state.turn, reason=reason)
    return _end(replace(state, parts=_withdrawn(state.parts), turn=turn), writes, outcome, now)


def _withdrawn(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(
        replace(p, state=PartState.CANCELLED) if p.state is PartState.PENDING else p for p in parts
    )


def _end(state: Sending, writes: Writes, unsent: Outcome, now: datetime) -> Decision:
    """End the turn; `unsent` is how if nothing of it has left. A send moves no mark (rule 0)."""
    sent = [p.started_at for p in state.parts if p.state is PartState.ACCEPTED and p.started_at]
    outcome, answered_at = unsent, None
    if state.turn.purpose is Purpose.SEND:
        outcome = Outcome.SENT if sent else unsent
        if not sent:
            state, writes = _never_said(state, writes)
    elif sent:
        outcome, answered_at = Outcome.ANSWERED, max(sent)
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
    if not unsent or not _taken_over(state):
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
    return go_on(state, replace(writes, keys=(*writes.keys, *keys)), now)


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
    writes = Writes(state.conversation, recalled=new, keys=matched.learned)
    untold = with_recalled(state.untold, new)
    untold, writes = holding(state.rules, untold, (), writes)
    return replace(state, untold=untold), writes


def _never_said(state: Sending, writes: Writes) -> tuple[Sending, Writes]:
    """What never left is nothing that the AI should be told of, and has answered nobody."""
    ids = tuple(p.message_id for p in state.parts)
    untold = tuple(m for m in state.untold if m.id not in ids)
    untold, writes = holding(state.rules, untold, (), writes)
    return replace(state, untold=untold), replace(writes, told=(*writes.told, *ids))


def _taken_over(state: Sending) -> bool:
    """Rule 9: a colleague's message, or a hold, is later than the turn's newest message.

    What is sent to nobody's question is held up by nobody's answer. But what is said because a turn
    has failed is needless once somebody has the chat.
    """
    if state.turn.purpose is Purpose.SEND and not any(
        m.source is Source.TURN for m in _said(state)
    ):
        return False
    return not _parted(state).unanswered


def _parted(state: Sending) -> Burst:
    about = state.told if state.turn.purpose is Purpose.REPLY else _said(state)
    return split(state.rules, state.conversation, about, state.untold)


def _said(state: Sending) -> tuple[Message, ...]:
    """Return the message of ours that this turn sends."""
    return tuple(m for m in state.untold if m.id == state.turn.id)


def _named(state: Sending, message_id: int) -> Part:
    return next(p for p in state.parts if p.message_id == message_id)


def _with(state: Sending, part: Part) -> Sending:
    parts = tuple(part if p.message_id == part.message_id else p for p in state.parts)
    state = replace(state, parts=parts)
    return _dated(state, part) if state.turn.purpose is Purpose.SEND else state


def _dated(state: Sending, part: Part) -> Sending:
    """What the AI will be told of a send is dated when it left, as its row is."""
    at = part.started_at
    if at is None:
        return state
    dated = (replace(m, event_at=at) if m.id == part.message_id else m for m in state.untold)
    return replace(state, untold=tuple(sorted(dated, key=lambda m: m.order)))
