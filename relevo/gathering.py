"""Reading the rows, and closing a burst (rules 1 to 4, 9 to 11).

Gathering commits nothing: buffer, deadline and snapshot are functions of the unread rows and the
marks. The first commit of a turn is the one that closes its burst, and it carries the verdict.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from relevo.answering import begin
from relevo.context import as_context, as_held, holding, without_revoked
from relevo.ending import Ending, end, later, settle, with_agents_seen
from relevo.events import Looked
from relevo.matching import absorb, without_duplicates
from relevo.messages import Author, Message, Source, Untold
from relevo.people import Burst, burst, split, unread, wanting_answer
from relevo.recalling import ask_history, first_reasons, with_reasons
from relevo.states import Gathering, State, late
from relevo.turns import Conversation, Outcome, Rules, Stage, Turn, Verdict
from relevo.writes import Writes

Decision = tuple[State, Writes | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows as they are to be understood, and what has to be stored for that."""

    conversation: Conversation
    untold: tuple[Message, ...]
    writes: Writes | None


def read(rules: Rules, conversation: Conversation, event: Looked, taken: frozenset[int]) -> Reading:
    """Understand rows that were read: rows that are one message become one, late ones context.

    What was revoked is gone (rule 11), what came while a human has the chat is held (rule 10).
    """
    conversation = replace(conversation, new_contact=event.new_contact)
    absorbed = absorb(event.untold, event.witnesses, taken)
    untold = without_duplicates(event.untold, absorbed)
    # An echo of our own that is no reply we know is nothing to tell: it has been said.
    echoes = tuple(m.id for m in untold if m.author is Author.ASSISTANT)
    untold = tuple(m for m in untold if m.id not in echoes)
    untold, writes = without_revoked(untold, Writes(conversation, absorbed=absorbed, told=echoes))
    untold, writes = as_context(untold, late(untold, conversation, rules, taken), writes)
    untold, writes = holding(rules, untold, taken, writes)
    return Reading(conversation, untold, writes if writes != Writes(conversation) else None)


def look(rules: Rules, conversation: Conversation, event: Looked) -> Decision:
    """Take in the rows between turns."""
    reading = read(rules, conversation, event, frozenset())
    return settle(rules, reading.conversation, reading.untold), reading.writes


def close(state: Gathering, now: datetime) -> Decision:
    """Close the burst: judge it, and recall or answer it, or leave it to the colleague."""
    rules, conversation, untold = state.rules, state.conversation, state.untold
    wanting = wanting_answer(untold)
    waiting = tuple(m for m in untold if m in wanting or m.untold is Untold.FAILED)
    parted = split(rules, conversation, waiting, untold)
    answered_whole = not burst(rules, conversation, untold).unanswered
    own = parted.followed if answered_whole else parted.unanswered
    if not own:
        return _nothing_to_answer(state, parted)
    turn = _judged(rules, conversation, own, now)
    conversation = with_agents_seen(_customer_seen(conversation, own), untold)
    writes = Writes(conversation, turn, opens=True)
    if answered_whole:
        return end(
            Ending(rules, conversation, untold, turn, own, Outcome.ANSWERED_BY_HUMAN, now), writes
        )
    untold, writes = as_context(untold, (m.id for m in parted.followed), writes)
    if not turn.recall_reasons:
        return begin(rules, untold, writes, now)
    return ask_history(rules, untold, turn, now, writes)


def _nothing_to_answer(state: Gathering, parted: Burst) -> Decision:
    """Somebody wants an answer to what has been answered meanwhile, or is held again."""
    asked = tuple(m.id for m in state.untold if m.untold is Untold.ASKED)
    untold = tuple(m for m in state.untold if m.id not in asked)
    writes = Writes(state.conversation, told=asked)
    untold, writes = as_held(untold, (m.id for m in parted.held if m.inbound), writes)
    return settle(state.rules, state.conversation, untold), writes


def _judged(
    rules: Rules, conversation: Conversation, own: tuple[Message, ...], now: datetime
) -> Turn:
    """Judge a burst by its event times and the marks as they stood before it (rules 3 and 4)."""
    marks = conversation.marks
    said = tuple(m for m in own if m.inbound)
    opened_at = min(m.event_at for m in said)
    silence_seconds = None
    verdict = Verdict.FIRST_CONTACT
    if marks.last_customer_at is not None:
        silence_seconds = max(0.0, (opened_at - marks.last_customer_at).total_seconds())
        verdict = Verdict.GAP if silence_seconds > rules.gap_seconds else Verdict.NONE
    newest = max(said, key=lambda m: m.order)
    turn = Turn(
        id=max(m.id for m in unread(own)),
        stage=Stage.RECALLING,
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
    )
    reasons = first_reasons(rules, conversation, turn, now)
    return with_reasons(rules, conversation, turn, reasons)


def _customer_seen(conversation: Conversation, own: tuple[Message, ...]) -> Conversation:
    """Move the customer's mark: webhook messages of this turn, never recalled ones."""
    delivered = [m.event_at for m in own if m.source is Source.WEBHOOK]
    seen = later(conversation.marks.last_customer_at, max(delivered, default=None))
    return replace(conversation, marks=replace(conversation.marks, last_customer_at=seen))
