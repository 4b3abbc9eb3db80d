"""A business whose money or key is gone: nothing is asked for it, but once a minute."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from relevo.events import AnswerFailure
from relevo.http.circuit import PROBE_SECONDS
from relevo.http.openai_assistant import REJECTED_LOG_SECONDS
from relevo.outcomes import Answer, NoAnswer
from tests.fakes import openai_faults as fakes
from tests.fakes.openai import FakeOpenAI
from tests.fakes.openai_faults import Fault
from tests.openai_rig import HELLO, KEY, Office, ensured, office, settings_for

PERMANENT = AnswerFailure.PERMANENT
OPEN = NoAnswer(PERMANENT, "circuit_open")


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key=KEY) as running:
        yield running


@pytest.fixture
async def both(fake: FakeOpenAI) -> AsyncIterator[Office]:
    async with office(settings_for(fake)) as made:
        yield made


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (fakes.out_of_quota(), "insufficient_quota"),
        (fakes.failed("insufficient_quota"), "insufficient_quota"),
        (fakes.error(400, "billing_hard_limit_reached"), "billing"),
        (fakes.error(401, "invalid_api_key", KEY), "invalid_api_key"),
        (fakes.error(401), "http_401"),
        (fakes.error(402), "http_402"),
        (fakes.html(403), "http_403"),
    ],
)
async def test_what_only_a_person_can_mend_is_told_once_and_asked_once_a_minute(
    fake: FakeOpenAI, both: Office, caplog: pytest.LogCaptureFixture, *, fault: Fault, reason: str
) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.for_ever = fault
    first = await both.hotel.answer(conversation, HELLO)
    for _ in range(3):
        assert [await both.hotel.answer(conversation, HELLO) for _ in range(5)] == [OPEN] * 5
        both.later(PROBE_SECONDS)
        assert await both.hotel.answer(conversation, HELLO) == first

    assert first == NoAnswer(PERMANENT, reason)
    assert fake.responses == 4
    assert said(caplog) == [("ERROR", f"assistant_circuit_open: {reason} (business hotel)")]
    assert both.seen.circuits == [("", reason)]
    assert KEY not in caplog.text


async def test_the_probe_that_is_answered_lets_everybody_back(
    fake: FakeOpenAI, both: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "relevo")
    conversation = await ensured(both.hotel)
    fake.faults.append(fakes.out_of_quota())
    await both.hotel.answer(conversation, HELLO)
    both.later(PROBE_SECONDS)

    assert isinstance(await both.hotel.answer(conversation, HELLO), Answer)
    assert isinstance(await both.hotel.answer(conversation, HELLO), Answer)
    assert both.seen.circuits == [("", "insufficient_quota"), ("insufficient_quota", "")]
    assert said(caplog)[-1] == (
        "INFO",
        "assistant_circuit_closed: insufficient_quota (business hotel)",
    )


async def test_one_businesss_circuit_is_not_the_others(fake: FakeOpenAI, both: Office) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.append(fakes.out_of_quota())
    await both.hotel.answer(conversation, HELLO)

    assert await both.hotel.answer(conversation, HELLO) == OPEN
    assert isinstance(await both.clinic.answer(conversation, HELLO), Answer)


@pytest.mark.parametrize(
    "fault", [fakes.error(503), fakes.locked(), fakes.dropped(), fakes.failed("invalid_prompt")]
)
async def test_a_probe_that_is_not_answered_closes_nothing(
    fake: FakeOpenAI, both: Office, fault: Fault
) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.extend([fakes.out_of_quota(), fault])
    await both.hotel.answer(conversation, HELLO)
    both.later(PROBE_SECONDS)
    await both.hotel.answer(conversation, HELLO)

    assert await both.hotel.answer(conversation, HELLO) == OPEN


async def test_a_key_that_is_wrong_for_another_reason_now_is_counted_as_that(
    fake: FakeOpenAI, both: Office
) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.extend([fakes.out_of_quota(), fakes.error(401)])
    await both.hotel.answer(conversation, HELLO)
    both.later(PROBE_SECONDS)
    await both.hotel.answer(conversation, HELLO)

    assert both.seen.circuits == [("", "insufficient_quota"), ("insufficient_quota", "http_401")]


async def test_a_new_customers_conversation_is_made_by_the_probe_that_asks_for_him(
    fake: FakeOpenAI, both: Office
) -> None:
    fake.faults.append(fakes.out_of_quota())
    await both.hotel.answer(await ensured(both.hotel), HELLO)
    assert await both.hotel.ensure() == OPEN
    both.later(PROBE_SECONDS)

    # Making it costs nothing, so it shows nothing: the question after it does.
    conversation = await ensured(both.hotel)
    assert both.seen.circuits == [("", "insufficient_quota")]
    assert isinstance(await both.hotel.answer(conversation, HELLO), Answer)
    assert both.seen.circuits[1:] == [("insufficient_quota", "")]


async def test_a_wrong_key_is_seen_before_there_is_a_conversation(
    fake: FakeOpenAI, both: Office
) -> None:
    fake.conversation_faults.for_ever = fakes.error(401, "invalid_api_key")

    assert await both.hotel.ensure() == NoAnswer(PERMANENT, "invalid_api_key")
    assert await both.hotel.ensure() == OPEN
    both.later(PROBE_SECONDS)
    assert await both.hotel.ensure() == NoAnswer(PERMANENT, "invalid_api_key")
    assert await both.hotel.ensure() == OPEN
    assert len(fake.bodies("/conversations")) == 2


async def test_a_braked_probe_is_none(fake: FakeOpenAI, both: Office) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.extend([fakes.out_of_quota(), fakes.rate_limited(retry_after="5")])
    await both.hotel.answer(conversation, HELLO)
    both.later(PROBE_SECONDS)
    await both.clinic.answer(conversation, HELLO)

    assert await both.hotel.answer(conversation, HELLO) == NoAnswer(
        AnswerFailure.RATE_LIMITED, "braked", 5
    )
    both.later(5)
    assert isinstance(await both.hotel.answer(conversation, HELLO), Answer)


async def test_an_answer_that_has_been_paid_for_is_found_while_nothing_is_asked(
    fake: FakeOpenAI, both: Office
) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.extend([fakes.dropped(stored=True), fakes.out_of_quota()])
    await both.hotel.answer(conversation, HELLO)
    await both.hotel.answer(conversation, HELLO)

    assert await both.hotel.reconcile(conversation, HELLO) == Answer("ok")
    assert await both.hotel.answer(conversation, HELLO) == OPEN


async def test_without_conversations_at_the_ai_the_circuit_is_the_same(fake: FakeOpenAI) -> None:
    fake.faults.append(fakes.out_of_quota())
    async with office(replace(settings_for(fake), memory="local")) as both:
        await both.hotel.answer(None, HELLO)
        assert await both.hotel.answer(None, HELLO) == OPEN
        both.later(PROBE_SECONDS)
        assert isinstance(await both.hotel.answer(None, HELLO), Answer)


# --- what is our own fault ---


async def test_a_question_that_is_never_taken_is_an_error_once_a_minute(
    fake: FakeOpenAI, both: Office, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.extend([fakes.error(404, "model_not_found", KEY)] * 3 + [fakes.error(422)])
    fake.faults.append(fakes.error(404, "model_not_found", KEY))
    for _ in range(4):
        await both.hotel.answer(conversation, HELLO)
    both.later(REJECTED_LOG_SECONDS)
    await both.hotel.answer(conversation, HELLO)

    lines = [
        ("ERROR", f"assistant_rejected: {reason} (business hotel)")
        for reason in ("model_not_found", "http_422", "model_not_found")
    ]
    assert said(caplog) == lines
    assert both.seen.rejected == ["model_not_found"] * 3 + ["http_422", "model_not_found"]
    assert both.seen.circuits == []
