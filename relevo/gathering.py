"""Reading the rows, and closing a burst (rules 1 to 4, 9 and 11).

Gathering commits nothing: buffer, deadline and snapshot are functions of the unread rows and the
marks. The first commit of a turn is the one that closes its burst, and it carries the verdict.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relevo.answering import begin
from relevo.ending import Ending, end, later, settle, with_agents_seen
from relevo.events import Looked
from relevo.matching import absorb
from relevo.messages import Fate, Message, Source, Untold
from relevo.states import PROOF_OVERLAP, Gathering, Recalling, State, burst, split_by_colleague
from relevo.turns import Conversation, Outcome, RecallReason, Rules, Stage, Turn, Verdict
from relevo.writes import Writes

Decision = tuple[State, Writes | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows as they are to be understood, and what has to be stored for that."""

    conversation: Conversation
    untold: tuple[Message, ...]
    writes: Writes | None


def read(rules: Rules, conversation: Conversation, event: Looked, taken: frozenset[int]) -> Reading:
    """Understand rows that were read: rows that are one message become one, late ones context."""
    conversation = replace(conversation, new_contact=event.new_contact)
    absorbed = absorb(event.untold, event.witnesses, taken)
    gone = {pair.duplicate for pair in absorbed}
    kept = tuple(m for m in event.untold if m.id not in gone)
    late = {m.id for m in kept if m.id not in taken and _is_late(m, conversation, rules)}
    untold = tuple(replace(m, untold=Untold.CONTEXT) if m.id in late else m for m in kept)
    if not absorbed and not late:
        return Reading(conversation, untold, None)
    writes = Writes(
        conversation,
        absorbed=absorbed,
        fates=tuple((message_id, Fate.CONTEXT) for message_id in sorted(late)),
        untold=tuple((message_id, Untold.CONTEXT) for message_id in sorted(late)),
    )
    return Reading(conversation, untold, writes)


def look(rules: Rules, conversation: Conversation, event: Looked) -> Decision:
    """Take in the rows between turns."""
    reading = read(rules, conversation, event, frozenset())
    return settle(rules, reading.conversation, reading.untold), reading.writes


def close(state: Gathering, now: datetime) -> Decision:
    """Close the burst: judge it, and recall or answer it, or leave it to the colleague."""
    rules, conversation, untold = state.rules, state.conversation, state.untold
    waiting = tuple(m for m in untold if m.untold in {Untold.UNREAD, Untold.FAILED})
    split = split_by_colleague(conversation, waiting, untold)
    answered_whole = not burst(conversation, untold).unanswered
    own = waiting if answered_whole else split.unanswered
    turn = _judged(rules, conversation, own, now)
    conversation = with_agents_seen(_customer_seen(conversation, own), untold)
    writes = Writes(conversation, turn, opens=True)
    if answered_whole:
        return end(
            Ending(rules, conversation, untold, turn, own, Outcome.ANSWERED_BY_HUMAN, now), writes
        )
    untold, writes = as_context(untold, split.followed, writes)
    if not turn.recall_reasons:
        return begin(rules, untold, replace(writes, conversation=conversation), now)
    deadline_at = now + timedelta(seconds=rules.recall_timeout_seconds)
    turn = replace(turn, stage=Stage.RECALLING, attempt=1, deadline_at=deadline_at)
    return Recalling(rules, conversation, untold, turn), replace(writes, turn=turn)


def as_context(
    untold: tuple[Message, ...], followed: tuple[Message, ...], writes: Writes
) -> tuple[tuple[Message, ...], Writes]:
    """Make messages that a colleague's message followed context of the turn that goes on."""
    ids = {m.id for m in followed}
    return (
        tuple(replace(m, untold=Untold.CONTEXT) if m.id in ids else m for m in untold),
        replace(
            writes,
            fates=(*writes.fates, *((m.id, Fate.CONTEXT) for m in followed)),
            untold=(*writes.untold, *((m.id, Untold.CONTEXT) for m in followed)),
        ),
    )


def _judged(
    rules: Rules, conversation: Conversation, own: tuple[Message, ...], now: datetime
) -> Turn:
    """Judge a burst by its event times and the marks as they stood before it (rules 3 and 4)."""
    marks = conversation.marks
    opened_at = min(m.event_at for m in own)
    silence_seconds = None
    verdict = Verdict.FIRST_CONTACT
    if marks.last_customer_at is not None:
        silence_seconds = max(0.0, (opened_at - marks.last_customer_at).total_seconds())
        verdict = Verdict.GAP if silence_seconds > rules.gap_seconds else Verdict.NONE
    newest = max(own, key=lambda m: m.order)
    reasons = _recall_reasons(rules, conversation, verdict, now - opened_at)
    return Turn(
        id=max(m.id for m in own if m.untold is Untold.UNREAD),
        stage=Stage.ANSWERING,
        channel_id=newest.channel_id,
        address=newest.address,
        opened_at=opened_at,
        closed_at=now,
        previous_customer_at=marks.last_customer_at,
        previous_assistant_at=marks.last_assistant_at,
        verdict=verdict,
        silence_seconds=silence_seconds,
        threshold_seconds=rules.gap_seconds,
        message_ids=tuple(m.id for m in own),
        newest_at=max(m.received_at for m in own),
        recall_reasons=reasons,
        recall_since=_recall_since(rules, conversation, now) if reasons else None,
        recall_urgent=_is_urgent(conversation, reasons),
        recall_known_to=marks.known_to,
    )


def _recall_reasons(
    rules: Rules, conversation: Conversation, verdict: Verdict, age: timedelta
) -> tuple[RecallReason, ...]:
    looks_back = rules.first_contact_lookback_seconds > 0 and not conversation.new_contact
    due = {
        RecallReason.GAP: verdict is Verdict.GAP,
        RecallReason.FIRST_CONTACT: verdict is Verdict.FIRST_CONTACT and looks_back,
        RecallReason.LATE: age.total_seconds() > rules.gap_seconds,
        RecallReason.OWED: conversation.recall_owed,
    }
    return tuple(reason for reason, applies in due.items() if applies)


def _recall_since(rules: Rules, conversation: Conversation, now: datetime) -> datetime:
    known = conversation.marks.known_to or conversation.marks.last_assistant_at
    if known is not None:
        return known - PROOF_OVERLAP
    return now - timedelta(seconds=rules.first_contact_lookback_seconds)


def _is_urgent(conversation: Conversation, reasons: tuple[RecallReason, ...]) -> bool:
    """Tell a gap's recall from a look-back, also a postponed one, which takes spare tokens only."""
    looking_back = conversation.marks.known_to is None and (
        conversation.marks.last_assistant_at is None
    )
    return RecallReason.GAP in reasons or RecallReason.LATE in reasons or not looking_back


def _customer_seen(conversation: Conversation, own: tuple[Message, ...]) -> Conversation:
    """Move the customer's mark: webhook messages of this turn, never recalled ones."""
    delivered = [m.event_at for m in own if m.source is Source.WEBHOOK]
    seen = later(conversation.marks.last_customer_at, max(delivered, default=None))
    return replace(conversation, marks=replace(conversation.marks, last_customer_at=seen))


def _is_late(message: Message, conversation: Conversation, rules: Rules) -> bool:
    """Rule 11: delivered long after it was written, and older than what the AI was told since."""
    told_to = conversation.marks.told_to
    return (
        message.untold is Untold.UNREAD
        and told_to is not None
        and message.event_at < told_to
        and (message.received_at - message.event_at).total_seconds() > rules.late_answer_seconds
    )
