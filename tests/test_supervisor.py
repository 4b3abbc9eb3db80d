"""The supervisor: wakes are bits, reads are batches, and one customer's trouble is its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest_asyncio

from relevo.messages import ConversationKey
from tests.actors_outside import QUIET_SECONDS, closed
from tests.actors_rig import Hotel, Outside, passes, phone
from tests.fakes.clock import until

IDLE_SECONDS = 300


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


# Wakes.


async def test_looks_that_come_while_rows_are_read_are_one_more_read(hotel: Hotel) -> None:
    async with closed(hotel.journal.loading) as loading:
        hotel.customer("Hola")
        await hotel.reaches(loading)
        for _ in range(1000):
            hotel.customer("¿Hola?")
    await hotel.quiet()
    assert len(hotel.journal.loads) == 2
    await hotel.advance(QUIET_SECONDS)
    [question] = hotel.ai.questions
    assert question.message_count == 1001


async def test_a_look_is_never_lost_however_it_meets_the_end_of_a_read(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    await hotel.advance(QUIET_SECONDS)  # answered: a burst that grows is looked at when it ends
    look = hotel.supervisor.look
    for count in range(12):
        look(key)
        await passes(count)
        reads = len(hotel.journal.loads)
        look(key)
        await hotel.quiet()
        assert len(hotel.journal.loads) > reads, f"not read after {count} passes"
        assert hotel.supervisor.settled


async def test_everybody_who_was_woken_is_read_at_once(hotel: Hotel) -> None:
    keys = customers(hotel, 300)
    await hotel.quiet()
    assert hotel.journal.loads == [tuple(keys)]
    assert hotel.supervisor.resident == hotel.probe.resident == 300


async def test_a_read_is_bounded_and_takes_who_has_waited_longest(hotel: Hotel) -> None:
    async with Hotel(read_batch_max=10) as small:
        first = customers(small, 25)
        async with closed(small.journal.loading) as loading:
            await small.reaches(loading)
            small.supervisor.look(first[0])
        await small.quiet()
        assert small.journal.loads == [
            *(tuple(first[:10]), tuple(first[10:20])),
            (*first[20:], first[0]),
        ]
    del hotel


async def test_looks_at_a_busy_customer_do_not_fill_its_mailbox(hotel: Hotel) -> None:
    hotel.customer("Hola")
    async with closed(hotel.ai.answering) as answering, closed(hotel.journal.committing) as storing:
        storing.open()
        await hotel.advance(QUIET_SECONDS)
        await hotel.reaches(answering)
        storing.closed = True
        answering.open()
        await hotel.reaches(storing)
        for number in range(1000):
            hotel.customer("¿Hola?")
            if number % 20 == 0:
                await hotel.quiet()
        await hotel.quiet()
        assert len(hotel.journal.loads) > 40
        assert hotel.supervisor.mailbox_messages() <= 1
    await hotel.advance(QUIET_SECONDS)
    assert [question.message_count for question in hotel.ai.questions] == [1, 1000]


async def test_looks_without_rows_do_not_fill_a_mailbox_either(hotel: Hotel) -> None:
    hotel.customer("Hola")
    async with closed(hotel.journal.committing) as storing:
        await hotel.advance(QUIET_SECONDS)
        storing.release()
        await hotel.reaches(storing)  # with the answer
        hotel.journal.loading.failure = ValueError("rows that cannot be read")
        for _ in range(20):
            hotel.customer("¿Hola?")
            await hotel.quiet()
        assert hotel.supervisor.mailbox_messages() <= 1
        hotel.journal.loading.failure = None
    await hotel.advance(QUIET_SECONDS)
    assert [question.message_count for question in hotel.ai.questions] == [1, 20]


async def test_an_unknown_customer_is_nobody(hotel: Hotel) -> None:
    hotel.supervisor.look(ConversationKey("hotel", 77))
    await hotel.quiet()
    assert hotel.supervisor.resident == 0
    assert hotel.supervisor.settled


async def test_a_wake_outlives_a_store_that_is_away(hotel: Hotel) -> None:
    hotel.outside.store_goes()
    customers(hotel, 3)
    await hotel.advance(30)
    assert hotel.supervisor.resident == 0
    assert not hotel.supervisor.settled
    assert len(hotel.journal.loads) <= 31, "about once a second"
    hotel.outside.store_comes_back()
    await hotel.advance(QUIET_SECONDS)
    assert len(hotel.line.sent) == 3


async def test_rows_that_cannot_be_read_harm_only_their_own_customer(hotel: Hotel) -> None:
    keys = customers(hotel, 10)
    hotel.journal.unreadable.add(keys[4])
    await hotel.advance(QUIET_SECONDS)
    assert len(hotel.line.sent) == 9
    assert hotel.probe.restarts >= 1
    hotel.journal.unreadable.clear()
    await hotel.advance(QUIET_SECONDS + 600)
    assert len(hotel.line.sent) == 10


# Memory.


async def test_an_idle_customer_leaves_memory_and_comes_back_when_it_writes(
    hotel: Hotel,
) -> None:
    hotel.customer("Hola")
    await hotel.advance(QUIET_SECONDS)
    await hotel.advance(IDLE_SECONDS - 1)
    hotel.supervisor.passivate()
    assert hotel.supervisor.resident == 1
    await hotel.advance(1)
    hotel.supervisor.passivate()
    assert hotel.supervisor.resident == hotel.probe.resident == 0
    hotel.customer("¿Sigue ahí?")
    await hotel.advance(QUIET_SECONDS)
    assert hotel.line.sent == ["Reply 1", "Reply 2"]


async def test_a_customer_with_anything_to_do_stays_in_memory(hotel: Hotel) -> None:
    hotel.customer("Hola", phone(1))
    async with closed(hotel.ai.answering):
        await hotel.advance(QUIET_SECONDS)
        hotel.customer("Hola", phone(2))
        await hotel.quiet()
        hotel.clock.advance_to(hotel.clock.now() + timedelta(seconds=QUIET_SECONDS - 1))
        for _ in range(3):
            hotel.supervisor.passivate()
        assert hotel.supervisor.resident == 2


async def test_a_busy_customer_stays_however_long_it_was_idle_before(hotel: Hotel) -> None:
    hotel.customer("Hola")
    await hotel.advance(QUIET_SECONDS + IDLE_SECONDS)
    async with closed(hotel.journal.loading) as loading:
        hotel.agent("Aquí estoy")
        await hotel.reaches(loading)
    await until(lambda: hotel.supervisor.mailbox_messages() == 1)
    hotel.supervisor.passivate()
    assert hotel.supervisor.resident == 1
    await hotel.quiet()
    assert hotel.supervisor.resident == 1
    hotel.supervisor.passivate()
    assert hotel.supervisor.resident == 1, "it has just been at work"
    await hotel.advance(IDLE_SECONDS)
    hotel.supervisor.passivate()
    assert hotel.supervisor.resident == 0


async def test_of_too_many_idle_customers_the_longest_idle_leave() -> None:
    async with Hotel(idle_max=3) as hotel:
        keys = customers(hotel, 5)
        await hotel.advance(QUIET_SECONDS)
        await hotel.advance(1)
        hotel.agent("¿Algo más?", phone(0))
        await hotel.quiet()
        hotel.supervisor.passivate()
        assert hotel.supervisor.resident == 3
        hotel.journal.loads.clear()
        for key in keys:
            hotel.supervisor.look(key)
        await hotel.quiet()
        assert hotel.supervisor.resident == hotel.probe.resident == 5


# Failures.


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


async def test_who_is_set_aside_comes_back_later_and_hurts_nobody_meanwhile() -> None:
    async with sweeping() as hotel:
        sick = hotel.customer("Hola", phone(0))
        hotel.journal.poisoned.add(sick)
        await hotel.advance(20)
        assert hotel.probe.given_up == 1
        customers(hotel, 4)
        await hotel.advance(QUIET_SECONDS)
        assert len(hotel.line.sent) == 3
        loads = len(hotel.journal.loads)
        await hotel.advance(500)
        assert len(hotel.journal.loads) == loads
        hotel.journal.poisoned.clear()
        await hotel.advance(600)
        assert hotel.state_of(sick) == "answered"
        assert len(hotel.line.sent) == 4


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
