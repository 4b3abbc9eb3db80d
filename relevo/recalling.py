"""When the provider's history is asked, from where, and how urgently (rule 4).

A turn is judged when its burst closes, and again whenever it has waited: one that would answer more
than the threshold after its first message, and after the last complete recall, looks again first.
A recall that was needed and did not complete is owed: the next turn asks from where that one did.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from relevo.messages import Message
from relevo.states import PROOF_OVERLAP, Recalling
from relevo.turns import Conversation, RecallReason, RecallStatus, Rules, Stage, Turn, Verdict
from relevo.writes import Writes

Decision = tuple[Recalling, Writes]


def first_reasons(
    rules: Rules, conversation: Conversation, turn: Turn, now: datetime
) -> tuple[RecallReason, ...]:
    """Say why a turn whose burst has just closed has to ask the history; empty: it need not."""
    looks_back = rules.first_contact_lookback_seconds > 0 and not conversation.new_contact
    due = {
        RecallReason.GAP: turn.verdict is Verdict.GAP,
        RecallReason.FIRST_CONTACT: turn.verdict is Verdict.FIRST_CONTACT and looks_back,
        RecallReason.LATE: _exceeds_gap(rules, now - turn.opened_at),
        RecallReason.OWED: conversation.owed_since is not None,
    }
    return tuple(reason for reason, applies in due.items() if applies)


def is_late(rules: Rules, conversation: Conversation, turn: Turn, now: datetime) -> bool:
    """Tell whether a turn that has waited knows too little of what happened meanwhile."""
    known_to = conversation.marks.known_to
    looked_to = turn.opened_at if known_to is None else max(turn.opened_at, known_to)
    return _exceeds_gap(rules, now - looked_to)


def with_reasons(
    rules: Rules, conversation: Conversation, turn: Turn, reasons: tuple[RecallReason, ...]
) -> Turn:
    """Return the turn with why and from where it asks; without reasons it asks nothing."""
    return replace(
        turn,
        recall=RecallStatus.NOT_NEEDED,
        recall_reasons=reasons,
        recall_since=_since(rules, conversation, turn) if reasons else None,
        recall_urgent=_is_urgent(conversation, reasons),
        recall_known_to=conversation.marks.known_to,
    )


def ask_history(
    rules: Rules, untold: tuple[Message, ...], turn: Turn, now: datetime, writes: Writes
) -> Decision:
    """Start the turn's recall, or start it once more; `writes` are extended by it."""
    turn = replace(
        turn,
        stage=Stage.RECALLING,
        attempt=turn.attempt + 1,
        wait_until=None,
        deadline_at=now + timedelta(seconds=rules.recall_timeout_seconds),
    )
    return Recalling(rules, writes.conversation, untold, turn), replace(writes, turn=turn)


def ask_history_again(
    rules: Rules, conversation: Conversation, untold: tuple[Message, ...], turn: Turn, now: datetime
) -> Decision:
    """Look again before answering late."""
    reasons = tuple(dict.fromkeys((*turn.recall_reasons, RecallReason.LATE)))
    turn = with_reasons(rules, conversation, turn, reasons)
    return ask_history(rules, untold, turn, now, Writes(conversation))


def owed_after(conversation: Conversation, turn: Turn) -> Conversation:
    """Settle what is owed by how a recall ended; who cannot be asked settles nothing."""
    if turn.recall is RecallStatus.UNAVAILABLE:
        return conversation
    complete = turn.recall is RecallStatus.COMPLETE
    return replace(conversation, owed_since=None if complete else turn.recall_since)


def _since(rules: Rules, conversation: Conversation, turn: Turn) -> datetime:
    known_to = conversation.marks.known_to or conversation.marks.last_assistant_at
    look_back = timedelta(seconds=rules.first_contact_lookback_seconds)
    since = known_to - PROOF_OVERLAP if known_to else turn.opened_at - max(look_back, PROOF_OVERLAP)
    owed_since = conversation.owed_since
    return since if owed_since is None else min(since, owed_since)


def _is_urgent(conversation: Conversation, reasons: tuple[RecallReason, ...]) -> bool:
    """Tell a gap's recall from a look-back, also a postponed one, which takes spare tokens only."""
    looking_back = conversation.marks.known_to is None
    return RecallReason.GAP in reasons or RecallReason.LATE in reasons or not looking_back


def _exceeds_gap(rules: Rules, age: timedelta) -> bool:
    return age.total_seconds() > rules.gap_seconds
