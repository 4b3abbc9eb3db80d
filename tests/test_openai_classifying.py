"""What each failure of the OpenAI API means, by what the SDK raises and the API answers."""

import aiohttp
import httpx2
import openai
import pytest

from relevo.events import AnswerFailure
from relevo.http.openai_failures import (
    RETRY_AFTER_SECONDS_MAX,
    Raised,
    classify,
    classify_unfinished,
    retry_after_seconds,
    without_conversation,
)
from relevo.outcomes import NoAnswer
from tests.openai_rig import CANARY, NOON, REQUEST, answered

UNUSABLE = AnswerFailure.CONVERSATION_UNUSABLE
BUSY = AnswerFailure.BUSY
TRANSIENT = AnswerFailure.TRANSIENT
RATE_LIMITED = AnswerFailure.RATE_LIMITED
UNKNOWN = AnswerFailure.UNKNOWN
POLICY = AnswerFailure.POLICY
PERMANENT = AnswerFailure.PERMANENT


@pytest.mark.parametrize(
    ("error", "failure", "reason"),
    [
        (answered(400, "invalid_value", "conversation"), UNUSABLE, "conversation_invalid"),
        (answered(400, None, "conversation"), UNUSABLE, "conversation_invalid"),
        (answered(400, "invalid_value", "input[0]"), PERMANENT, "http_400"),
        (answered(400, "unknown_parameter", "conversation"), PERMANENT, "unknown_parameter"),
        (answered(400, "conversation_locked", "conversation"), BUSY, "conversation_locked"),
        (answered(400, "context_length_exceeded", "input"), UNUSABLE, "context_length"),
        (answered(400, message="No tool output found for call_1"), UNUSABLE, "tool_call_open"),
        (answered(400, message="Duplicate item found with id x"), UNUSABLE, "item_duplicate"),
        (
            answered(400, message="Item 'rs_1' was provided without its required following item."),
            *(UNUSABLE, "item_orphaned"),
        ),
        (answered(500, message="Duplicate item found with id x"), TRANSIENT, "http_500"),
        (answered(400, "invalid_prompt"), POLICY, "invalid_prompt"),
        (answered(400, "content_filter"), POLICY, "content_filter"),
        (answered(400, "content_policy_violation"), POLICY, "policy"),
        (answered(403, "bio_policy"), POLICY, "policy"),
        (answered(400, "invalid_image_url"), PERMANENT, "http_400"),
        (answered(404, message="Conversation not found."), UNUSABLE, "conversation_missing"),
        (answered(404, "conversation_not_found", message=""), UNUSABLE, "conversation_missing"),
        (answered(404, param="conversation"), UNUSABLE, "conversation_missing"),
        (answered(404, "model_not_found", message="conversation"), PERMANENT, "model_not_found"),
        (answered(404), PERMANENT, "http_404"),
        (answered(429, "rate_limit_exceeded"), RATE_LIMITED, "rate_limited"),
        (answered(429), RATE_LIMITED, "http_429"),
        (answered(429, "insufficient_quota"), PERMANENT, "insufficient_quota"),
        (answered(429, kind="insufficient_quota"), PERMANENT, "insufficient_quota"),
        (answered(400, "billing_hard_limit_reached"), PERMANENT, "billing"),
        (answered(402), PERMANENT, "http_402"),
        (answered(401, "invalid_api_key"), PERMANENT, "invalid_api_key"),
        (answered(401), PERMANENT, "http_401"),
        (answered(403), PERMANENT, "http_403"),
        (answered(408), TRANSIENT, "http_408"),
        (answered(409), TRANSIENT, "http_409"),
        (answered(422), PERMANENT, "http_422"),
        (answered(422, param="conversation"), UNUSABLE, "conversation_invalid"),
        (answered(307), PERMANENT, "http_307"),
        (answered(500), TRANSIENT, "http_500"),
        (answered(500, kind="server_error"), TRANSIENT, "server_error"),
        (answered(503, "overloaded"), TRANSIENT, "http_503"),
        (TimeoutError(), UNKNOWN, "timeout"),
        (openai.APITimeoutError(request=REQUEST), UNKNOWN, "timeout"),
        (openai.APIConnectionError(request=REQUEST), UNKNOWN, "connection"),
        (ValueError(f"Expecting value: {CANARY}"), UNKNOWN, "unreadable"),
        (RecursionError(), UNKNOWN, "unreadable"),
        (aiohttp.ClientPayloadError(), UNKNOWN, "unreadable"),
    ],
    ids=lambda value: str(value) if isinstance(value, AnswerFailure) else "",
)
def test_a_failure_is_known_by_code_and_param_before_its_status(
    error: Raised,
    failure: AnswerFailure,
    reason: str,
) -> None:
    assert classify(error, NOON) == NoAnswer(failure, reason)


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (aiohttp.ConnectionTimeoutError(), NoAnswer(TRANSIENT, "unreachable")),
        (aiohttp.ServerDisconnectedError(), NoAnswer(UNKNOWN, "timeout")),
        (aiohttp.SocketTimeoutError(), NoAnswer(UNKNOWN, "timeout")),
        (None, NoAnswer(UNKNOWN, "timeout")),
    ],
)
def test_only_a_connection_that_never_was_is_sure_to_have_stored_nothing(
    cause: Exception | None, told: NoAnswer
) -> None:
    between = httpx2.ConnectTimeout("")
    between.__cause__ = cause
    raised = openai.APITimeoutError(request=REQUEST)
    raised.__cause__ = between

    assert classify(raised, NOON) == told


@pytest.mark.parametrize("body", [None, "<html>", [], {"code": ["x"], "param": 7, "message": {}}])
@pytest.mark.parametrize(("status", "failure"), [(404, PERMANENT), (502, TRANSIENT)])
def test_an_error_body_of_any_shape_is_classified(
    body: object, status: int, failure: AnswerFailure
) -> None:
    response = httpx2.Response(status, request=REQUEST)
    error = openai.APIStatusError("no", response=response, body=body)

    assert classify(error, NOON) == NoAnswer(failure, f"http_{status}")


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_nothing_that_the_server_wrote_is_in_the_reason(status: int) -> None:
    error = answered(status, CANARY, CANARY, CANARY, CANARY)

    assert CANARY not in classify(error, NOON).reason


@pytest.mark.parametrize(
    ("reply", "failure", "reason"),
    [
        ({"status": "failed", "error": {"code": "server_error"}}, UNKNOWN, "server_error"),
        ({"status": "failed", "error": {"code": "vector_store_timeout"}}, UNKNOWN, "server_error"),
        ({"status": "failed", "error": {"code": "rate_limit_exceeded"}}, UNKNOWN, "rate_limited"),
        ({"status": "failed", "error": {"code": "invalid_prompt"}}, POLICY, "invalid_prompt"),
        ({"status": "failed", "error": {"code": "bio_policy"}}, POLICY, "policy"),
        ({"status": "failed", "error": {"code": "invalid_image"}}, PERMANENT, "failed"),
        (
            {"status": "failed", "error": {"code": "insufficient_quota"}},
            PERMANENT,
            "insufficient_quota",
        ),
        ({"status": "failed", "error": {"code": CANARY}}, PERMANENT, "failed"),
        ({"status": "failed", "error": None}, PERMANENT, "failed"),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            PERMANENT,
            "max_output_tokens",
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            POLICY,
            "content_filter",
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": CANARY}},
            PERMANENT,
            "incomplete",
        ),
        ({"status": "incomplete"}, PERMANENT, "incomplete"),
        ({"status": "in_progress"}, UNKNOWN, "not_completed"),
        ({"status": "queued"}, UNKNOWN, "not_completed"),
        ({"status": "cancelled"}, UNKNOWN, "not_completed"),
        ({"status": CANARY}, UNKNOWN, "unreadable"),
        ({}, UNKNOWN, "unreadable"),
    ],
)
def test_a_200_that_is_not_completed_is_a_failure(
    reply: dict[str, object], failure: AnswerFailure, reason: str
) -> None:
    assert classify_unfinished(reply) == NoAnswer(failure, reason)


@pytest.mark.parametrize(
    ("at_stake", "harmless"),
    [
        (UNKNOWN, TRANSIENT),
        (BUSY, TRANSIENT),
        (UNUSABLE, PERMANENT),
        (TRANSIENT, TRANSIENT),
        (PERMANENT, PERMANENT),
    ],
)
def test_without_a_conversation_nothing_is_unknown_and_nothing_replaced(
    at_stake: AnswerFailure, harmless: AnswerFailure
) -> None:
    assert without_conversation(NoAnswer(at_stake, "why", 2)) == NoAnswer(harmless, "why", 2)


def test_without_a_conversation_a_limit_within_a_200_is_one_like_any_other() -> None:
    limited = classify_unfinished({"status": "failed", "error": {"code": "rate_limit_exceeded"}})

    assert without_conversation(limited) == NoAnswer(RATE_LIMITED, "rate_limited")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "121"}, RETRY_AFTER_SECONDS_MAX),
        ({"Retry-After": "inf"}, RETRY_AFTER_SECONDS_MAX),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "Wed, 08 Oct 2025 12:00:07 GMT"}, 7),
        ({"Retry-After": "Wed, 08 Oct 2025 12:00:07 -0000"}, 7),
        ({"Retry-After": "Wed, 08 Oct 2025 11:59:00 GMT"}, None),
        ({"Retry-After": "Wed, 08 Oct 2026 12:00:00 GMT"}, RETRY_AFTER_SECONDS_MAX),
        ({"Retry-After": "Wed, 99 Oct 2025 12:00:00 GMT"}, None),
        ({"retry-after-ms": "150", "Retry-After": "9"}, 0.15),
        ({"retry-after-ms": "0", "Retry-After": "9"}, None),
        ({"retry-after-ms": "x", "Retry-After": "9"}, 9),
    ],
)
def test_a_limit_says_how_long_to_wait_in_three_ways_and_never_long(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_seconds(httpx2.Headers(headers), NOON) == seconds
