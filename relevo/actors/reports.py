"""What an effect that failed, or never left, is reported as; and how each ended, in one word."""

from datetime import datetime

from relevo.effects import Ask, Effect, EnsureConversation, Recall, Reconcile, Send
from relevo.events import (
    Answered,
    AnswerFailed,
    AnswerFailure,
    Event,
    HistoryRecalled,
    Reconciled,
    SendAccepted,
    SendFailed,
    SendFailure,
)
from relevo.outcomes import NoAnswer
from relevo.turns import RecallStatus


def failed(turn_id: int, attempt: int, answer: NoAnswer) -> AnswerFailed:
    """Report what the assistant said instead of an answer."""
    seconds, response_id = answer.retry_after_seconds, answer.response_id
    return AnswerFailed(turn_id, attempt, answer.failure, answer.reason, seconds, response_id)


def too_late(effect: Effect) -> Event:
    """The answer to an effect that waited too long: it never left, so it may be tried again."""
    match effect:
        case Ask(turn=turn):
            failure = AnswerFailure.TRANSIENT
            return AnswerFailed(turn.id, turn.attempt, failure, "start_too_late")
        case EnsureConversation():
            failure = AnswerFailure.TRANSIENT
            return AnswerFailed(effect.turn_id, effect.attempt, failure, "start_too_late")
        case Send(part=part):
            return SendFailed(part.message_id, part.attempt, SendFailure.NOT_SENT, "start_too_late")
        case _:
            raise AssertionError("only what leaves the house can be too late")


def broken(effect: Effect, now: datetime) -> Event:
    """The answer to an effect that failed as nobody foresaw: it may have left."""
    match effect:
        case Recall():
            nothing = RecallStatus.FAILED
            return HistoryRecalled(effect.turn_id, effect.attempt, nothing, now, reason="broken")
        case EnsureConversation():
            failure = AnswerFailure.UNKNOWN
            return AnswerFailed(effect.turn_id, effect.attempt, failure, "broken")
        case Ask(turn=turn):
            return AnswerFailed(turn.id, turn.attempt, AnswerFailure.UNKNOWN, "broken")
        case Reconcile(asked=Ask(turn=turn)):
            return AnswerFailed(turn.id, turn.attempt, AnswerFailure.UNKNOWN, "broken")
        case Send(part=part):
            return SendFailed(part.message_id, part.attempt, SendFailure.UNKNOWN, "broken")
        case _:
            raise AssertionError("alarms are set, not run")


def word(event: Event) -> str:  # noqa: C901  (one case an event)
    """Return how an effect ended, in one word for the probe."""
    match event:
        case HistoryRecalled(status=RecallStatus.COMPLETE, items=items):
            return "ok" if items else "empty"
        case HistoryRecalled(status=status, reason=reason):
            return reason or status.value
        case Answered(parts=parts):
            return "ok" if parts else "silent"
        case AnswerFailed(failure=AnswerFailure.CONVERSATION_UNUSABLE, reason=reason):
            return reason
        case AnswerFailed(failure=failure):
            return failure.value
        case Reconciled(finding=finding):
            return finding.value
        case SendAccepted():
            return "accepted"
        case SendFailed(failure=refusal):
            return refusal.value
        case _:
            return "ok"
