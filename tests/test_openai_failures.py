"""What each failure of the OpenAI API means on a real socket, after one call."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest

from relevo.actors.ports import Assistant
from relevo.events import AnswerFailure
from relevo.outcomes import NoAnswer
from tests.fakes import openai_faults as fakes
from tests.fakes.openai import FakeOpenAI
from tests.fakes.openai_faults import Fault
from tests.openai_rig import (
    CANARY,
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
RATE_LIMITED = AnswerFailure.RATE_LIMITED
UNKNOWN = AnswerFailure.UNKNOWN
POLICY = AnswerFailure.POLICY
PERMANENT = AnswerFailure.PERMANENT


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
        (fakes.error(400, "invalid_prompt", CANARY), POLICY, "invalid_prompt"),
        (fakes.error(400, None, "No tool output found: " + PHONE), UNUSABLE, "tool_call_open"),
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
        (fakes.failed("server_error"), UNKNOWN, "server_error"),
        (fakes.failed("rate_limit_exceeded"), UNKNOWN, "rate_limited"),
        (fakes.failed("insufficient_quota"), PERMANENT, "insufficient_quota"),
        (fakes.failed("invalid_prompt"), POLICY, "invalid_prompt"),
        (fakes.failed(CANARY), PERMANENT, "failed"),
        (fakes.failed(None), PERMANENT, "failed"),
        (fakes.incomplete("content_filter"), POLICY, "content_filter"),
        (fakes.incomplete(CANARY), PERMANENT, "incomplete"),
        (fakes.output(None), UNKNOWN, "unreadable"),
        (fakes.output([None]), UNKNOWN, "unreadable"),
        (fakes.output([{"type": "message", "content": CANARY}]), UNKNOWN, "unreadable"),
        (fakes.output([message(CANARY)]), UNKNOWN, "unreadable"),
        (fakes.output([message({"type": "output_text"})]), UNKNOWN, "unreadable"),
        (fakes.output([message({"type": "refusal", "refusal": CANARY})]), POLICY, "refused"),
        (fakes.dropped(), UNKNOWN, "timeout"),
        (fakes.not_http(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), UNKNOWN, "connection"),
        (fakes.not_http(b"sorry\r\n\r\n"), UNKNOWN, "unreadable"),
        (
            fakes.not_http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"),
            *(UNKNOWN, "unreadable"),
        ),
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


async def test_a_rate_limit_hands_on_how_long_to_wait(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    fake.faults.append(fakes.rate_limited(retry_after="7"))

    limited = await assistant.answer(conversation, HELLO)

    assert limited == NoAnswer(RATE_LIMITED, "rate_limited", 7)


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

    refused = await assistant.ensure()

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

    assert await assistant.ensure() == NoAnswer(failure, reason)
    assert len(fake.bodies("/conversations")) == 1


async def test_making_a_conversation_is_bounded_as_a_whole(fake: FakeOpenAI) -> None:
    fake.conversation_faults.append(fakes.raw(b" " * 1_000, drip_seconds=0.02))
    async with opened(replace(settings_for(fake), timeout_seconds=0.3)) as hasty:
        assert await hasty.ensure() == NoAnswer(TRANSIENT, "timeout")
