"""What a failure of the OpenAI API means, as one of our few kinds and one word.

An answer's code and param decide before its status: a locked conversation is a 400 that goes away,
a spent quota is a 429 that does not. Where no usable answer came, the turn may have been stored,
and so it may where a 200 says that it failed: whether its input stays is written nowhere.

Reasons come from the closed set written here (and `http_` with a status): error bodies and messages
can quote the customer, so nothing of theirs is passed on.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import isnan
from typing import Final

import aiohttp
from openai import APIStatusError, APITimeoutError, OpenAIError

from relevo.events import AnswerFailure
from relevo.outcomes import NoAnswer

RETRY_AFTER_SECONDS_MAX: Final = 30.0

UNREADABLE: Final = NoAnswer(AnswerFailure.UNKNOWN, "unreadable")
UNREACHABLE: Final = NoAnswer(AnswerFailure.TRANSIENT, "unreachable")
CONVERSATION_INVALID: Final = NoAnswer(AnswerFailure.CONVERSATION_UNUSABLE, "conversation_invalid")
CONVERSATION_MISSING: Final = NoAnswer(AnswerFailure.CONVERSATION_UNUSABLE, "conversation_missing")
MISSING: Final = NoAnswer(AnswerFailure.PERMANENT, "missing")
GONE_REASONS: Final = frozenset({CONVERSATION_MISSING.reason, MISSING.reason})
REFUSED: Final = NoAnswer(AnswerFailure.POLICY, "refused")

BRAKED: Final = "braked"
RATE_LIMITED: Final = "rate_limited"
CIRCUIT_OPEN: Final = NoAnswer(AnswerFailure.PERMANENT, "circuit_open")

ACCOUNT_REASONS: Final = (
    *("insufficient_quota", "billing", "invalid_api_key"),
    *("http_401", "http_402", "http_403"),
)
"""Reasons that last until a person has paid or changed a key: they open the business's circuit."""
LINE_REASONS: Final = frozenset({"timeout", "connection", "unreachable"})
"""Reasons without an answer: many of them in a row may be the client's own fault."""

Raised = OpenAIError | TimeoutError | ValueError | RecursionError | aiohttp.ClientError
"""What a call may raise: the last three are what the SDK lets through for a body that is not JSON,
or an answer that is not HTTP."""

_BY_KIND: Final[Mapping[AnswerFailure, Mapping[str, str]]] = {
    AnswerFailure.BUSY: {"conversation_locked": "conversation_locked"},
    AnswerFailure.RATE_LIMITED: {"rate_limit_exceeded": RATE_LIMITED},
    AnswerFailure.TRANSIENT: {"server_error": "server_error"},
    AnswerFailure.CONVERSATION_UNUSABLE: {"context_length_exceeded": "context_length"},
    AnswerFailure.POLICY: {
        "invalid_prompt": "invalid_prompt",
        "content_filter": "content_filter",
        **dict.fromkeys(("bio_policy", "misalignment_policy_violation"), "policy"),
        **dict.fromkeys(("content_policy_violation", "cyber_policy_violation"), "policy"),
    },
    AnswerFailure.PERMANENT: {
        "insufficient_quota": "insufficient_quota",
        **dict.fromkeys(("billing_hard_limit_reached", "billing_not_active"), "billing"),
        "invalid_api_key": "invalid_api_key",
        "model_not_found": "model_not_found",
        "unknown_parameter": "unknown_parameter",
        "unsupported_parameter": "unsupported_parameter",
        "unsupported_value": "unsupported_parameter",
    },
}
_BY_CODE: Final[Mapping[str, NoAnswer]] = {
    code: NoAnswer(kind, reason)
    for kind, codes in _BY_KIND.items()
    for code, reason in codes.items()
}
_BY_SENTENCE: Final[Mapping[str, NoAnswer]] = {
    sentence: NoAnswer(AnswerFailure.CONVERSATION_UNUSABLE, reason)
    for sentence, reason in {
        "no tool output found": "tool_call_open",
        "duplicate item found": "item_duplicate",
        "required following item": "item_orphaned",
    }.items()
}
"""Histories that no call can go on from have no code of their own, only these words."""

_UNCONFIRMED: Final[Mapping[str, NoAnswer]] = {
    "server_error": NoAnswer(AnswerFailure.UNKNOWN, "server_error"),
    "vector_store_timeout": NoAnswer(AnswerFailure.UNKNOWN, "server_error"),
    "rate_limit_exceeded": NoAnswer(AnswerFailure.UNKNOWN, RATE_LIMITED),
}
"""Codes of a 200 that failed and would go well later: its input may be in the conversation."""

_INCOMPLETE: Final[Mapping[str, NoAnswer]] = {
    "content_filter": _BY_CODE["content_filter"],
    **{
        reason: NoAnswer(AnswerFailure.PERMANENT, reason)
        for reason in ("max_messages", "max_output_tokens", "steered")
    },
}
_WITHOUT_CONVERSATION: Final[Mapping[AnswerFailure, AnswerFailure]] = {
    AnswerFailure.UNKNOWN: AnswerFailure.TRANSIENT,
    AnswerFailure.BUSY: AnswerFailure.TRANSIENT,
    AnswerFailure.CONVERSATION_UNUSABLE: AnswerFailure.PERMANENT,
}
_LATER_STATUSES: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT})
_REFUSED_STATUSES: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
_CAUSES_MAX: Final = 4


def classify(error: Raised, now: datetime) -> NoAnswer:
    """Say what an exception of a call means; `now` is for a date to retry after."""
    if isinstance(error, APIStatusError):
        return _classify_answer(error, now)
    if _never_left(error):
        return UNREACHABLE
    if isinstance(error, (TimeoutError, APITimeoutError)):
        # The aiohttp transport calls dropped connections time-outs too.
        return NoAnswer(AnswerFailure.UNKNOWN, "timeout")
    if isinstance(error, OpenAIError):
        return NoAnswer(AnswerFailure.UNKNOWN, "connection")
    return UNREADABLE


def classify_unfinished(reply: Mapping[str, object]) -> NoAnswer:
    """Say what a 200 means whose `status` is not `completed`."""
    match reply.get("status"):
        case "failed":
            code = _text(reply.get("error"), "code")
            known = _UNCONFIRMED.get(code) or _BY_CODE.get(code)
            return known or NoAnswer(AnswerFailure.PERMANENT, "failed")
        case "incomplete":
            reason = _text(reply.get("incomplete_details"), "reason")
            return _INCOMPLETE.get(reason, NoAnswer(AnswerFailure.PERMANENT, "incomplete"))
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
    if failure.reason == RATE_LIMITED:
        kind = AnswerFailure.RATE_LIMITED
    return NoAnswer(kind, failure.reason, failure.retry_after_seconds)


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how long an answer asks to wait, at most 30 s; None: it does not say, or says 0."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    stated = headers.get("retry-after", "")
    seconds = _number(stated) if milliseconds is None else milliseconds / 1000
    if seconds is None:
        seconds = _seconds_until(stated, now)
    return None if seconds is None or seconds <= 0 else min(seconds, RETRY_AFTER_SECONDS_MAX)


def _classify_answer(error: APIStatusError, now: datetime) -> NoAnswer:
    known = _BY_CODE.get(_text(error.body, "code")) or _BY_CODE.get(_text(error.body, "type"))
    found = known or _by_words(error) or _by_status(error.status_code)
    if found.failure is not AnswerFailure.RATE_LIMITED:
        return found
    wait_seconds = retry_after_seconds(error.response.headers, now)
    return NoAnswer(found.failure, found.reason, wait_seconds)


def _by_words(error: APIStatusError) -> NoAnswer | None:
    # The server's own sentence is in the body; the exception's message has a prefix.
    words = " ".join(_text(error.body, field) for field in ("code", "param", "message")).lower()
    if error.status_code == HTTPStatus.NOT_FOUND and "conversation" in words:
        return CONVERSATION_MISSING
    if error.status_code == HTTPStatus.NOT_FOUND and "not found" in words:
        return MISSING
    if error.status_code not in _REFUSED_STATUSES:
        return None
    if _text(error.body, "param") == "conversation":
        return CONVERSATION_INVALID
    return next((found for sentence, found in _BY_SENTENCE.items() if sentence in words), None)


def _by_status(status: int) -> NoAnswer:
    reason = f"http_{status}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return NoAnswer(AnswerFailure.RATE_LIMITED, reason)
    later = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER_STATUSES
    return NoAnswer(AnswerFailure.TRANSIENT if later else AnswerFailure.PERMANENT, reason)


def _never_left(error: BaseException) -> bool:
    """Tell whether there was no connection yet: not a byte of the question has left.

    The aiohttp transport reports these as time-outs and keeps the true error as the cause. What it
    tells of a refused, unresolved or untrusted host, and of the wait for a connection, comes from
    its connector, which hands a connection out before the request is written.
    """
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return True
        cause = cause.__cause__ if cause is not None else None
    return False


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if isnan(number) else number


def _seconds_until(http_date: str, now: datetime) -> float | None:
    try:
        at = parsedate_to_datetime(http_date)
    except (ValueError, OverflowError):
        return None
    return (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()


def _text(container: object, field: str) -> str:
    value = container.get(field) if isinstance(container, Mapping) else None
    return value if isinstance(value, str) else ""
