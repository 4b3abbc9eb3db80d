"""One API key, many businesses: what slows all of them down, and when its client is made anew."""

from collections.abc import AsyncIterator

import pytest

from relevo.events import AnswerFailure, Finding
from relevo.http.brake import GENTLY_PER_SECOND
from relevo.http.openai_account import LOST_IN_A_ROW_MAX, RENEW_AFTER_SECONDS
from relevo.outcomes import Answer, NoAnswer
from tests.fakes import openai_faults as fakes
from tests.fakes.openai import FakeOpenAI
from tests.openai_rig import EMPTY, HELLO, KEY, Office, ensured, office, settings_for

RATE_LIMITED = AnswerFailure.RATE_LIMITED


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key=KEY) as running:
        yield running


@pytest.fixture
async def both(fake: FakeOpenAI) -> AsyncIterator[Office]:
    async with office(settings_for(fake)) as made:
        yield made


def braked(seconds: float) -> NoAnswer:
    return NoAnswer(RATE_LIMITED, "braked", seconds)


# --- the brake ---


async def test_a_rate_limit_of_one_business_stops_the_other_without_a_call(
    fake: FakeOpenAI, both: Office, caplog: pytest.LogCaptureFixture
) -> None:
    hotels, clinics = await ensured(both.hotel), await ensured(both.clinic)
    fake.faults.append(fakes.rate_limited(retry_after="7"))
    limited = await both.hotel.answer(hotels, HELLO)
    both.later(2.5)

    assert limited == NoAnswer(RATE_LIMITED, "rate_limited", 7)
    assert await both.clinic.answer(clinics, HELLO) == braked(4.5)
    assert await both.clinic.ensure() == braked(4.5)
    assert await both.clinic.reconcile(clinics, HELLO) == braked(4.5)
    assert (fake.responses, fake.conversations_created, fake.lists) == (1, 2, 0)
    assert both.seen.braked == 1
    assert caplog.messages == ["assistant_braked: for 7.0 s"]


async def test_when_it_is_over_both_go_on(fake: FakeOpenAI, both: Office) -> None:
    hotels, clinics = await ensured(both.hotel), await ensured(both.clinic)
    fake.faults.append(fakes.rate_limited(retry_after_ms="150"))
    await both.hotel.answer(hotels, HELLO)
    both.later(0.15)

    assert isinstance(await both.clinic.answer(clinics, HELLO), Answer)
    assert isinstance(await both.hotel.answer(hotels, HELLO), Answer)


async def test_limits_that_do_not_say_how_long_wait_longer_each_time(
    fake: FakeOpenAI, both: Office
) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.for_ever = fakes.rate_limited()
    waits = []
    for _ in range(6):
        limited = await both.hotel.answer(conversation, HELLO)
        assert isinstance(limited, NoAnswer)
        assert limited.retry_after_seconds is not None
        waits.append(limited.retry_after_seconds)
        both.later(limited.retry_after_seconds)

    assert waits == [1, 2, 4, 8, 16, 30]
    assert fake.responses == 6


async def test_after_a_limit_a_few_calls_a_second_try_until_one_goes_well(
    fake: FakeOpenAI, both: Office
) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.extend([fakes.rate_limited(), *[fakes.error(503)] * GENTLY_PER_SECOND])
    await both.hotel.answer(conversation, HELLO)
    both.later(1)
    outcomes = [await both.hotel.answer(conversation, HELLO) for _ in range(10)]

    failures = [outcome.failure for outcome in outcomes if isinstance(outcome, NoAnswer)]
    assert failures.count(AnswerFailure.TRANSIENT) == GENTLY_PER_SECOND
    assert outcomes[-1] == braked(1)
    assert fake.responses == 1 + GENTLY_PER_SECOND

    both.later(1)
    outcomes = [await both.hotel.answer(conversation, HELLO) for _ in range(10)]
    assert all(isinstance(outcome, Answer) for outcome in outcomes)


async def test_a_limit_within_a_200_slows_down_too_and_stays_unknown(
    fake: FakeOpenAI, both: Office
) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.append(fakes.failed("rate_limit_exceeded"))
    unknown = await both.hotel.answer(conversation, HELLO)

    assert unknown == NoAnswer(AnswerFailure.UNKNOWN, "rate_limited")
    assert await both.clinic.ensure() == braked(1)


@pytest.mark.parametrize(
    "fault", [fakes.out_of_quota(), fakes.error(503), fakes.locked(), fakes.dropped()]
)
async def test_other_failures_slow_nobody_down(
    fake: FakeOpenAI, both: Office, fault: fakes.Fault
) -> None:
    conversation = await ensured(both.hotel)
    fake.faults.append(fault)
    await both.hotel.answer(conversation, HELLO)

    assert isinstance(await both.clinic.answer(conversation, HELLO), Answer)
    assert both.seen.braked == 0


async def test_a_look_that_is_limited_stops_calls_as_well(fake: FakeOpenAI, both: Office) -> None:
    conversation = await ensured(both.hotel)
    fake.list_faults.append(fakes.rate_limited(retry_after="3"))
    await both.hotel.reconcile(conversation, HELLO)

    assert await both.hotel.answer(conversation, HELLO) == braked(3)


# --- a fresh client ---


async def lose(fake: FakeOpenAI, both: Office, conversation: str, calls: int) -> None:
    fake.faults.extend([fakes.dropped()] * calls)
    for _ in range(calls):
        await both.clinic.answer(conversation, HELLO)


async def test_a_client_that_loses_many_calls_in_a_row_is_made_anew(
    fake: FakeOpenAI, both: Office, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = await ensured(both.hotel)
    await lose(fake, both, conversation, LOST_IN_A_ROW_MAX - 1)
    assert both.seen.renewed == 0

    await lose(fake, both, conversation, 1)
    assert both.seen.renewed == 1
    assert caplog.messages == [f"assistant_client_renewed: after {LOST_IN_A_ROW_MAX} lost calls"]
    assert isinstance(await both.hotel.answer(conversation, HELLO), Answer)


async def test_any_answer_begins_the_count_anew(fake: FakeOpenAI, both: Office) -> None:
    conversation = await ensured(both.hotel)
    await lose(fake, both, conversation, LOST_IN_A_ROW_MAX - 1)
    fake.faults.append(fakes.error(503))
    await both.hotel.answer(conversation, HELLO)
    await lose(fake, both, conversation, LOST_IN_A_ROW_MAX - 1)

    assert both.seen.renewed == 0


async def test_a_server_that_is_away_costs_a_new_client_a_minute_and_no_more(
    fake: FakeOpenAI, both: Office
) -> None:
    await fake.stop()
    for _ in range(3 * LOST_IN_A_ROW_MAX):
        await both.hotel.answer("conv_1", HELLO)
    assert both.seen.renewed == 1

    both.later(RENEW_AFTER_SECONDS)
    await both.hotel.answer("conv_1", HELLO)
    assert both.seen.renewed == 2


async def test_a_call_that_is_under_way_when_the_client_is_renewed_still_ends(
    fake: FakeOpenAI, both: Office
) -> None:
    conversation = await ensured(both.hotel)
    others = await ensured(both.clinic)
    await both.clinic.answer(others, HELLO)

    async def lose_the_others(_body: dict[str, object]) -> None:
        await lose(fake, both, others, LOST_IN_A_ROW_MAX)

    fake.before_answer = lose_the_others

    assert isinstance(await both.hotel.answer(conversation, HELLO), Answer)
    assert both.seen.renewed == 1
    assert await both.clinic.reconcile(others, EMPTY) is Finding.UNCLEAR


async def test_a_late_loss_of_the_old_client_does_not_count_for_the_new_one(
    fake: FakeOpenAI, both: Office
) -> None:
    conversation = await ensured(both.hotel)
    others = await ensured(both.clinic)

    async def lose_the_others(_body: dict[str, object]) -> None:
        await lose(fake, both, others, LOST_IN_A_ROW_MAX)
        both.later(RENEW_AFTER_SECONDS)

    fake.before_answer = lose_the_others
    fake.faults.append(fakes.after("turn", fakes.dropped()))
    await both.hotel.answer(conversation, HELLO)
    assert both.seen.renewed == 1

    await lose(fake, both, others, LOST_IN_A_ROW_MAX - 1)
    assert both.seen.renewed == 1
