"""What each failure of the OpenAI API means: by the SDK's own exceptions, then on a real socket."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import openai
import orjson
import pytest

from relevo.actors.ports import Assistant
from relevo.events import AnswerFailure
from relevo.http.openai_failures import classify, classify_unfinished, without_conversation
from relevo.outcomes import NoAnswer
from tests.fakes import openai as fakes
from tests.fakes.openai import FakeOpenAI, Fault
from tests.openai_rig import (
    CANARY,
    EMPTY,
    HELLO,
    KEY,
    PHONE,
    ensured,
    message,
    opened,
    settings_for,
)

UNUSABLE = AnswerFailure.CONVERSATION_UNUSABLE
BUSY = AnswerFailure.BUSY
TRANSIENT = AnswerFailure.TRANSIENT
UNKNOWN = AnswerFailure.UNKNOWN
PERMANENT = AnswerFailure.PERMANENT

REQUEST = httpx2.Request("POST", f"http://127.0.0.1/v1/{PHONE}")


def answered(
    status: int,
    code: object = None,
    param: object = None,
    message: object = "no",
    kind: object = "x",
) -> openai.APIStatusError:
    response = httpx2.Response(status, request=REQUEST)
    body = {"code": code, "param": param, "message": message, "type": kind}
    return openai.APIStatusError(f"Error code: {status} - {message}", response=response, body=body)


@pytest.mark.parametrize(
    ("error", "failure", "reason"),
    [
        (answered(400, "invalid_value", "conversation"), UNUSABLE, "conversation_invalid"),
        (answered(400, None, "conversation"), UNUSABLE, "conversation_invalid"),
        (answered(400, "invalid_value", "input[0]"), PERMANENT, "http_400"),
        (answered(400, "unknown_parameter", "conversation"), PERMANENT, "unknown_parameter"),
        (answered(400, "conversation_locked", "conversation"), BUSY, "conversation_locked"),
        (answered(400, "context_length_exceeded", "input"), UNUSABLE, "context_length"),
        (answered(400, "invalid_prompt"), PERMANENT, "invalid_prompt"),
        (answered(404, message="Conversation not found."), UNUSABLE, "conversation_missing"),
        (answered(404, "conversation_not_found", message=""), UNUSABLE, "conversation_missing"),
        (answered(404, param="conversation"), UNUSABLE, "conversation_missing"),
        (answered(404, "model_not_found", message="conversation"), PERMANENT, "model_not_found"),
        (answered(404), PERMANENT, "http_404"),
        (answered(429, "rate_limit_exceeded"), TRANSIENT, "rate_limited"),
        (answered(429), TRANSIENT, "http_429"),
        (answered(429, "insufficient_quota"), PERMANENT, "insufficient_quota"),
        (answered(429, kind="insufficient_quota"), PERMANENT, "insufficient_quota"),
        (answered(401, "invalid_api_key"), PERMANENT, "invalid_api_key"),
        (answered(401), PERMANENT, "http_401"),
        (answered(403), PERMANENT, "http_403"),
        (answered(408), TRANSIENT, "http_408"),
        (answered(409), TRANSIENT, "http_409"),
        (answered(422), PERMANENT, "http_422"),
        (answered(307), PERMANENT, "http_307"),
        (answered(500), TRANSIENT, "http_500"),
        (answered(500, kind="server_error"), TRANSIENT, "server_error"),
        (answered(503, "overloaded"), TRANSIENT, "http_503"),
        (TimeoutError(), UNKNOWN, "timeout"),
        (openai.APITimeoutError(request=REQUEST), UNKNOWN, "timeout"),
        (openai.APIConnectionError(request=REQUEST), UNKNOWN, "connection"),
        (ValueError(f"Expecting value: {CANARY}"), UNKNOWN, "unreadable"),
        (RecursionError(), UNKNOWN, "unreadable"),
    ],
    ids=lambda value: str(value) if isinstance(value, AnswerFailure) else "",
)
def test_a_failure_is_known_by_code_and_param_before_its_status(
    error: openai.OpenAIError | TimeoutError | ValueError | RecursionError,
    failure: AnswerFailure,
    reason: str,
) -> None:
    assert classify(error) == NoAnswer(failure, reason)


@pytest.mark.parametrize("body", [None, "<html>", [], {"code": ["x"], "param": 7, "message": {}}])
@pytest.mark.parametrize(("status", "failure"), [(404, PERMANENT), (502, TRANSIENT)])
def test_an_error_body_of_any_shape_is_classified(
    body: object, status: int, failure: AnswerFailure
) -> None:
    response = httpx2.Response(status, request=REQUEST)
    error = openai.APIStatusError("no", response=response, body=body)

    assert classify(error) == NoAnswer(failure, f"http_{status}")


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_nothing_that_the_server_wrote_is_in_the_reason(status: int) -> None:
    error = answered(status, CANARY, CANARY, CANARY, CANARY)

    assert CANARY not in classify(error).reason


@pytest.mark.parametrize(
    ("reply", "failure", "reason"),
    [
        ({"status": "failed", "error": {"code": "server_error"}}, TRANSIENT, "server_error"),
        ({"status": "failed", "error": {"code": "rate_limit_exceeded"}}, TRANSIENT, "rate_limited"),
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
    assert without_conversation(NoAnswer(at_stake, "why")) == NoAnswer(harmless, "why")


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key=KEY) as running:
        yield running


@pytest.fixture
async def assistant(fake: FakeOpenAI) -> AsyncIterator[Assistant]:
    async with opened(settings_for(fake)) as running:
        yield running


@pytest.mark.parametrize(
    ("fault", "failure", "reason"),
    [
        (
            fakes.error(400, "invalid_value", CANARY, "conversation"),
            UNUSABLE,
            "conversation_invalid",
        ),
        (fakes.error(400, "conversation_locked", CANARY), BUSY, "conversation_locked"),
        (fakes.error(400, "context_length_exceeded", CANARY), UNUSABLE, "context_length"),
        (fakes.error(400, "unknown_parameter", CANARY), PERMANENT, "unknown_parameter"),
        (fakes.error(400, PHONE, CANARY, PHONE), PERMANENT, "http_400"),
        (fakes.error(401, None, KEY), PERMANENT, "http_401"),
        (fakes.error(403, None, CANARY), PERMANENT, "http_403"),
        (fakes.error(404, None, "No conversation " + PHONE), UNUSABLE, "conversation_missing"),
        (fakes.error(404, "model_not_found", CANARY), PERMANENT, "model_not_found"),
        (fakes.error(408), TRANSIENT, "http_408"),
        (fakes.error(409), TRANSIENT, "http_409"),
        (fakes.error(422, None, CANARY), PERMANENT, "http_422"),
        (fakes.error(429, "rate_limit_exceeded", CANARY), TRANSIENT, "rate_limited"),
        (fakes.error(429, "insufficient_quota", CANARY), PERMANENT, "insufficient_quota"),
        (fakes.error(500, None, CANARY), TRANSIENT, "http_500"),
        (fakes.html(502), TRANSIENT, "http_502"),
        (fakes.html(404), PERMANENT, "http_404"),
        (fakes.html(200), UNKNOWN, "unreadable"),
        (fakes.raw(b"null"), UNKNOWN, "unreadable"),
        (fakes.raw(b"[]"), UNKNOWN, "unreadable"),
        (fakes.raw(b'{"status": "comp'), UNKNOWN, "unreadable"),
        (fakes.raw(b'"\xff\xfe"'), UNKNOWN, "unreadable"),
        (fakes.raw(b"[" * 100_000), UNKNOWN, "unreadable"),
        (fakes.raw(b""), UNKNOWN, "unreadable"),
        (fakes.raw(b"{}"), UNKNOWN, "unreadable"),
        (fakes.status(CANARY), UNKNOWN, "unreadable"),
        (fakes.status("in_progress"), UNKNOWN, "not_completed"),
        (fakes.failed("server_error"), TRANSIENT, "server_error"),
        (fakes.failed("invalid_prompt"), PERMANENT, "invalid_prompt"),
        (fakes.failed(CANARY), PERMANENT, "failed"),
        (fakes.failed(None), PERMANENT, "failed"),
        (fakes.incomplete("content_filter"), PERMANENT, "content_filter"),
        (fakes.incomplete(CANARY), PERMANENT, "incomplete"),
        (fakes.output(None), UNKNOWN, "unreadable"),
        (fakes.output([None]), UNKNOWN, "unreadable"),
        (fakes.output([{"type": "message", "content": CANARY}]), UNKNOWN, "unreadable"),
        (fakes.output([message(CANARY)]), UNKNOWN, "unreadable"),
        (fakes.output([message({"type": "output_text"})]), UNKNOWN, "unreadable"),
        (fakes.output([message({"type": "refusal", "refusal": CANARY})]), PERMANENT, "refused"),
        (fakes.dropped(), UNKNOWN, "timeout"),
    ],
)
async def test_a_failure_is_a_kind_and_a_word_after_one_call(
    fake: FakeOpenAI,
    assistant: Assistant,
    caplog: pytest.LogCaptureFixture,
    *,
    fault: Fault,
    failure: AnswerFailure,
    reason: str,
) -> None:
    fake.faults.append(fault)

    with caplog.at_level(logging.DEBUG):
        seen = await assistant.answer(await ensured(assistant), HELLO)

    assert seen == NoAnswer(failure, reason)
    assert fake.responses == 1
    assert not [leak for leak in (KEY, PHONE) if leak in f"{caplog.text} {seen}"]


@pytest.mark.parametrize(
    "refused", [None, "", PHONE, "50370000246", "conv_", "conv_a b", "conv_a\n", "CONV_a", "conv_é"]
)
async def test_an_invalid_conversation_is_refused_without_a_call(
    fake: FakeOpenAI, assistant: Assistant, refused: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    failure = await assistant.answer(refused, HELLO)

    assert failure == NoAnswer(UNUSABLE, "conversation_invalid")
    assert fake.requests == []
    assert refusal(caplog) in {"missing", "wrong_prefix", "wrong_characters"}


async def test_a_conversation_that_is_gone_is_missing(assistant: Assistant) -> None:
    failure = await assistant.answer("conv_gone", HELLO)

    assert failure == NoAnswer(UNUSABLE, "conversation_missing")


@pytest.mark.parametrize("made", [None, 7, PHONE, "conv_", "resp_1", "conv_1\n"])
async def test_an_invalid_id_from_the_server_is_never_handed_on(
    fake: FakeOpenAI, assistant: Assistant, made: object, caplog: pytest.LogCaptureFixture
) -> None:
    fake.conversation_faults.append(fakes.raw(orjson.dumps({"id": made})))

    refused = await assistant.ensure(EMPTY)

    assert refused == NoAnswer(PERMANENT, "conversation_id_refused")
    assert refusal(caplog) in {"missing", "not_text", "wrong_prefix", "wrong_characters"}


def refusal(caplog: pytest.LogCaptureFixture) -> str:
    """Return the reason that was logged, once, with the business and nothing of the id."""
    lines = [record.getMessage() for record in caplog.records]
    [line] = [line for line in lines if line.startswith("conversation_id_refused")]
    event, reason, rest = line.split(" ", 2)
    assert (event, rest) == ("conversation_id_refused:", "(business hotel)")
    return reason


@pytest.mark.parametrize(
    ("fault", "failure", "reason"),
    [
        (fakes.error(503), TRANSIENT, "http_503"),
        (fakes.error(401), PERMANENT, "http_401"),
        (fakes.error(404, None, "no /v1/conversations here"), PERMANENT, "conversation_missing"),
        (fakes.html(200), TRANSIENT, "unreadable"),
        (fakes.raw(b"null"), TRANSIENT, "unreadable"),
        (fakes.dropped(), TRANSIENT, "timeout"),
    ],
)
async def test_making_a_conversation_can_be_tried_again_whatever_became_of_it(
    fake: FakeOpenAI,
    assistant: Assistant,
    fault: Fault,
    failure: AnswerFailure,
    reason: str,
) -> None:
    fake.conversation_faults.append(fault)

    assert await assistant.ensure(EMPTY) == NoAnswer(failure, reason)
    assert len(fake.bodies("/conversations")) == 1


async def test_making_a_conversation_is_bounded_as_a_whole(fake: FakeOpenAI) -> None:
    fake.conversation_faults.append(fakes.raw(b" " * 1_000, drip_seconds=0.02))
    async with opened(replace(settings_for(fake), timeout_seconds=0.3)) as hasty:
        assert await hasty.ensure(EMPTY) == NoAnswer(TRANSIENT, "timeout")
