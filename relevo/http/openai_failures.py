"""What a failure of the OpenAI API means, as one of our few kinds and one word.

An answer's code and param decide before its status: a locked conversation is a 400 that goes away,
a spent quota is a 429 that does not. Where no usable answer came, the turn may have been stored.

Reasons come from the closed set written here (and `http_` with a status): error bodies and messages
can quote the customer, so nothing of theirs is passed on.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from openai import APIStatusError, APITimeoutError, OpenAIError

from relevo.events import AnswerFailure
from relevo.outcomes import NoAnswer

UNREADABLE: Final = NoAnswer(AnswerFailure.UNKNOWN, "unreadable")
CONVERSATION_INVALID: Final = NoAnswer(AnswerFailure.CONVERSATION_UNUSABLE, "conversation_invalid")
CONVERSATION_MISSING: Final = NoAnswer(AnswerFailure.CONVERSATION_UNUSABLE, "conversation_missing")
REFUSED: Final = NoAnswer(AnswerFailure.PERMANENT, "refused")

_BY_CODE: Final[Mapping[object, NoAnswer]] = {
    "conversation_locked": NoAnswer(AnswerFailure.BUSY, "conversation_locked"),
    "context_length_exceeded": NoAnswer(AnswerFailure.CONVERSATION_UNUSABLE, "context_length"),
    "rate_limit_exceeded": NoAnswer(AnswerFailure.TRANSIENT, "rate_limited"),
    "server_error": NoAnswer(AnswerFailure.TRANSIENT, "server_error"),
    "insufficient_quota": NoAnswer(AnswerFailure.PERMANENT, "insufficient_quota"),
    "invalid_api_key": NoAnswer(AnswerFailure.PERMANENT, "invalid_api_key"),
    "invalid_prompt": NoAnswer(AnswerFailure.PERMANENT, "invalid_prompt"),
    "model_not_found": NoAnswer(AnswerFailure.PERMANENT, "model_not_found"),
    "unknown_parameter": NoAnswer(AnswerFailure.PERMANENT, "unknown_parameter"),
    "unsupported_parameter": NoAnswer(AnswerFailure.PERMANENT, "unsupported_parameter"),
}

_WITHOUT_CONVERSATION: Final[Mapping[AnswerFailure, AnswerFailure]] = {
    AnswerFailure.UNKNOWN: AnswerFailure.TRANSIENT,
    AnswerFailure.BUSY: AnswerFailure.TRANSIENT,
    AnswerFailure.CONVERSATION_UNUSABLE: AnswerFailure.PERMANENT,
}

_INCOMPLETE_REASONS: Final = frozenset(
    {"content_filter", "max_messages", "max_output_tokens", "steered"}
)
_LATER_STATUSES: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
)


def classify(error: OpenAIError | TimeoutError | ValueError | RecursionError) -> NoAnswer:
    """Say what an exception of the SDK, or of our own time bound, means.

    `ValueError` and `RecursionError` are what the SDK lets through for a body that is not JSON.
    """
    if isinstance(error, APIStatusError):
        return _classify_answer(error)
    if isinstance(error, (TimeoutError, APITimeoutError)):
        # The aiohttp transport calls refused and dropped connections time-outs too.
        return NoAnswer(AnswerFailure.UNKNOWN, "timeout")
    if isinstance(error, OpenAIError):
        return NoAnswer(AnswerFailure.UNKNOWN, "connection")
    return UNREADABLE


def classify_unfinished(reply: Mapping[str, object]) -> NoAnswer:
    """Say what a 200 means whose `status` is not `completed`."""
    match reply.get("status"):
        case "failed":
            code = _text(reply.get("error"), "code")
            return _BY_CODE.get(code, NoAnswer(AnswerFailure.PERMANENT, "failed"))
        case "incomplete":
            reason = _text(reply.get("incomplete_details"), "reason")
            known = reason if reason in _INCOMPLETE_REASONS else "incomplete"
            return NoAnswer(AnswerFailure.PERMANENT, known)
        case "in_progress" | "queued" | "cancelled":
            return NoAnswer(AnswerFailure.UNKNOWN, "not_completed")
        case _:
            return UNREADABLE


def without_conversation(failure: NoAnswer) -> NoAnswer:
    """Say what a failure means where no conversation was at stake.

    Nothing can have been stored in one, so an unknown outcome may be tried again as it is; and
    there is none to replace, so what would ask for that is final.
    """
    kind = _WITHOUT_CONVERSATION.get(failure.failure, failure.failure)
    return NoAnswer(kind, failure.reason)


def _classify_answer(error: APIStatusError) -> NoAnswer:
    by_code = _BY_CODE.get(_text(error.body, "code")) or _BY_CODE.get(_text(error.body, "type"))
    if by_code is not None:
        return by_code
    # The server's own sentence is in the body; the exception's message has a prefix.
    missing = error.status_code == HTTPStatus.NOT_FOUND
    if missing and "conversation" in _mentions(error.body):
        return CONVERSATION_MISSING
    if _text(error.body, "param") == "conversation":
        return CONVERSATION_INVALID
    broken = error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    later = broken or error.status_code in _LATER_STATUSES
    failure = AnswerFailure.TRANSIENT if later else AnswerFailure.PERMANENT
    return NoAnswer(failure, f"http_{error.status_code}")


def _mentions(body: object) -> str:
    words = (_text(body, field) for field in ("code", "param", "message"))
    return " ".join(words).lower()


def _text(container: object, field: str) -> str:
    value = container.get(field) if isinstance(container, Mapping) else None
    return value if isinstance(value, str) else ""
