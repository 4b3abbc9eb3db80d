"""The supervisor and failures: one customer's trouble is its own, and it does not last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from relevo.messages import ConversationKey
from tests.actors_outside import QUIET_SECONDS, closed
from tests.actors_rig import Hotel, Outside, phone
from tests.fakes.clock import until


@pytest_asyncio.fixture
async def hotel() -> AsyncIterator[Hotel]:
    async with Hotel() as hotel:
        yield hotel


@asynccontextmanager
async def sweeping(outside: Outside | None = None, **bounds: float) -> AsyncIterator[Hotel]:
    """A hotel whose sweeper is at work."""
    async with Hotel(outside, **{"sweep_seconds": 2, **bounds}) as hotel:
        hotel.tasks.spawn(hotel.supervisor.sweep_for_ever(), "sweep")
        yield hotel


def customers(hotel: Hotel, count: int) -> list[ConversationKey]:
    return [hotel.customer("Hola", phone(number)) for number in range(count)]


async def test_rows_that_cannot_be_read_harm_only_their_own_customer(hotel: Hotel) -> None:
    keys = customers(hotel, 10)
    hotel.journal.unreadable.add(keys[4])
    await hotel.advance(QUIET_SECONDS)
    assert len(hotel.line.sent) == 9
    assert hotel.probe.restarts >= 1
    hotel.journal.unreadable.clear()
    await hotel.advance(QUIET_SECONDS + 600)
    assert len(hotel.line.sent) == 10


async def test_a_bug_at_one_customer_keeps_nobody_of_its_batch_waiting(hotel: Hotel) -> None:
    hotel.probe.welcome_failure = bug = RuntimeError("a bug in the metrics")
    customers(hotel, 10)
    await hotel.advance(QUIET_SECONDS)
    assert hotel.failures == [bug]
    hotel.failures.clear()
    assert len(hotel.line.sent) == 10


async def test_a_read_that_is_given_up_loses_no_wake(hotel: Hotel) -> None:
    async with closed(hotel.journal.loading) as loading:
        customers(hotel, 3)
        await hotel.reaches(loading)
        loading.give_up()
    await hotel.advance(QUIET_SECONDS)
    assert len(hotel.line.sent) == 3


async def test_a_failing_customer_is_made_anew_after_pauses_that_grow(hotel: Hotel) -> None:
    hotel.journal.poisoned.add(hotel.outside.says("Hola"))
    hotel.supervisor.look(*hotel.journal.poisoned)
    started = hotel.clock.monotonic()
    failed_at: list[float] = []
    while hotel.probe.given_up == 0:
        failures = hotel.probe.restarts
        await hotel.quiet()
        if hotel.probe.restarts > failures:
            failed_at.append(hotel.clock.monotonic() - started)
        due = hotel.clock.next_alarm_at
        assert due is not None
        hotel.clock.advance_to(due)
    assert failed_at == [0, 0.5, 1.5, 3.5]
    assert hotel.supervisor.resident == 0


async def test_rows_that_were_on_their_way_do_not_cut_a_pause_short(hotel: Hotel) -> None:
    key = hotel.outside.says("Hola")
    hotel.journal.poisoned.add(key)
    loading = hotel.journal.loading
    loading.closed = True
    hotel.supervisor.look(key)
    await hotel.reaches(loading)
    hotel.supervisor.look(key)
    loading.release()
    await until(lambda: hotel.probe.restarts == 1)
    await hotel.reaches(loading)
    loading.open()
    await hotel.quiet()
    assert len(hotel.journal.loads) == 2
    assert hotel.probe.restarts == 1
    await hotel.advance(0.5)
    assert hotel.probe.restarts == 2


async def test_a_pause_is_kept_whoever_wakes_the_customer() -> None:
    async with sweeping() as hotel:
        hotel.journal.poisoned.add(hotel.outside.says("Hola"))
        for _ in range(1000):
            hotel.supervisor.look(*hotel.journal.poisoned)
            await hotel.advance(0.1)
        assert hotel.probe.given_up == 1
        assert hotel.probe.restarts == 4
        assert len(hotel.journal.loads) == 5


async def test_who_is_set_aside_comes_back_later_and_hurts_nobody_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with sweeping() as hotel:
        sick = hotel.customer("Hola", phone(0))
        hotel.journal.poisoned.add(sick)
        await hotel.advance(20)
        assert hotel.probe.given_up == 1
        assert f"set aside: conversation {sick.conversation_id} of hotel failed 5" in caplog.text
        customers(hotel, 4)
        await hotel.advance(QUIET_SECONDS)
        assert len(hotel.line.sent) == 3
        loads = len(hotel.journal.loads)
        await hotel.advance(500)
        assert len(hotel.journal.loads) == loads
        hotel.journal.poisoned.clear()
        hotel.customer("¿Y bien?", phone(0))
        await hotel.advance(600)
        assert hotel.state_of(sick) == "answered"
        assert len(hotel.line.sent) == 4
        assert hotel.ai.questions[-1].message_count == 3, "with all that was written meanwhile"


async def test_one_that_fails_at_the_end_of_each_burst_is_set_aside_too(hotel: Hotel) -> None:
    def before(_: object) -> None:
        raise RuntimeError("a bug in this very step")

    hotel.book.before_commit = before
    key = hotel.customer("Hola")
    await hotel.advance(QUIET_SECONDS + 60)
    assert hotel.probe.given_up == 1
    assert hotel.probe.restarts == 4
    hotel.book.before_commit = lambda _: None
    await hotel.advance(600)
    assert hotel.state_of(key) == "answered"


async def test_failures_are_forgotten_once_a_customer_came_to_rest(hotel: Hotel) -> None:
    for number in range(1, 10):
        key = hotel.customer("Hola")
        hotel.journal.poisoned.add(key)
        await hotel.quiet()
        hotel.journal.poisoned.clear()
        await hotel.advance(QUIET_SECONDS + 5)
        assert len(hotel.line.sent) == number
    assert hotel.probe.restarts == 9
    assert hotel.probe.given_up == 0


async def test_a_failure_gives_the_place_at_the_ai_back() -> None:
    async with Hotel(answering_max=1) as hotel:
        hotel.ai.answering.closed = True
        sick = hotel.customer("Hola", phone(1))
        await hotel.advance(QUIET_SECONDS)
        hotel.customer("Hola", phone(2))
        await hotel.advance(QUIET_SECONDS)
        assert (hotel.supervisor.gate.inside, hotel.supervisor.gate.waiting) == (1, 1)
        hotel.journal.poisoned.add(sick)
        hotel.customer("¿Hola?", phone(1))
        await hotel.quiet()
        assert len(hotel.ai.questions) == 2
        hotel.ai.answering.open()
        await hotel.quiet()
        assert len(hotel.line.sent) == 1
        assert hotel.supervisor.gate.inside == 0


async def test_an_effect_that_breaks_ends_in_a_dead_letter_and_not_in_silence(
    hotel: Hotel,
) -> None:
    hotel.ai.answering.failure = KeyError("a bug")
    key = hotel.customer("Hola")
    await hotel.advance(QUIET_SECONDS + 10)
    assert hotel.state_of(key) == "failed"
    assert len(hotel.failures) == len(hotel.ai.questions) == 3
    hotel.failures.clear()
    [letter] = hotel.book.thread(key).dead_letters.values()
    assert letter.reason == "broken"
    assert hotel.supervisor.settled
    assert hotel.supervisor.performer.in_flight == 0
