"""What an event was, in the oracle's words: read off what happened outside, not off a decision."""

from datetime import datetime

from relevo import events
from relevo.events import AnswerFailure, Event, HistoryRecalled, Looked, TimerFired
from relevo.states import AtTheAI, Gathering, Idle, Recalling, Sending, State, current_part
from relevo.turns import PartState, Stage
from relevo.writes import Writes
from tests import facts
from tests.facts import Fact
from tests.outside import Outside


def happened(
    before: State, event: Event, writes: Writes | None, now: datetime, outside: Outside
) -> list[Fact]:
    """Return what this event was, if it counted: its writes were committed."""
    found: list[Fact] = [facts.Seen(now)] if isinstance(event, Looked) else []
    if writes is None:
        return found
    proofs = _proofs(before, event, writes, now, outside)
    if proofs:
        found += proofs
    elif not isinstance(event, Looked):
        fact = _fact(before, event, now, outside)
        found += [fact] if fact is not None else []
    if isinstance(event, Looked) and not proofs:
        return found
    if writes.turn is not None and writes.turn.stage is Stage.RECALLING:
        found.append(facts.Looking(now))
    if writes.turn is not None and writes.turn.stage is Stage.ENDED:
        dead = any(p.state is PartState.DEAD for p in writes.parts)
        late = any(p.reason in {"window_closed", "too_late"} for p in writes.parts)
        found.append(facts.Ended(now, given_up=dead, late=late))
    return found


def _fact(  # noqa: C901  (one case an event)
    before: State, event: Event, now: datetime, outside: Outside
) -> Fact | None:
    match event:
        case TimerFired() if isinstance(before, Idle | Gathering | Recalling):
            return facts.Acted(now)
        case TimerFired() if isinstance(before, AtTheAI):
            return facts.Failing(now) if before.turn.wait_until is None else None
        case HistoryRecalled():
            return _seen(before, event, now, outside)
        case events.Answered(parts=parts):
            return facts.Answered(now, len(parts))
        case events.AnswerFailed(failure=failure):
            return facts.Failing(now, refused=failure is AnswerFailure.POLICY)
        case events.Reconciled():
            return facts.Failing(now)
        case events.SendAccepted(at=at):
            return facts.PartAccepted(now, at)
        case events.SendFailed(failure=failure):
            return facts.PartFailed(now, failure)
        case _:
            return None


def _seen(before: State, event: HistoryRecalled, now: datetime, outside: Outside) -> Fact:
    bodies = {item.body for item in event.items}
    shown = tuple(said for said in outside.chat if said.body in bodies)
    if isinstance(before, Sending):
        part = current_part(before.parts)
        assert part is not None
        return facts.LookedFor(now, shown, next(iter(outside.sent.get(part.message_id, ())), None))
    return facts.Recalled(now, event.known_to, event.status, shown)


def _proofs(
    before: State, event: Event, writes: Writes, now: datetime, outside: Outside
) -> list[Fact]:
    """Return the parts that an echo has shown to be with the provider, where they really are."""
    if not isinstance(before, Sending) or isinstance(event, events.SendAccepted | HistoryRecalled):
        return []
    known = {p.message_id for p in before.parts if p.state is PartState.ACCEPTED}
    new = [p for p in writes.parts if p.state is PartState.ACCEPTED and p.message_id not in known]
    assert all(p.message_id in outside.sent for p in new), "what nobody took counts as sent"
    return [facts.PartAccepted(now, p.started_at or now) for p in new]
