"""The supervisor's whole day: places at the AI, sweeps, the start and the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import pytest_asyncio

from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey
from tests.actors_outside import QUIET_SECONDS, closed
from tests.actors_rig import NEVER, Hotel, Outside, passes, phone
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


# The place at the AI.


async def test_no_more_customers_than_bound_are_at_the_ai() -> None:
    async with Hotel(answering_max=2) as hotel:
        hotel.ai.answering.closed = True
        for number in range(5):
            hotel.customer("Hola", phone(number))
            await hotel.advance(1)
        await hotel.advance(QUIET_SECONDS)
        seen = 0
        while len(hotel.line.sent) < 5:
            assert hotel.supervisor.gate.inside == hotel.ai.answering.waiting <= 2
            seen += hotel.ai.answering.waiting
            hotel.ai.answering.release()
            await hotel.quiet()
        assert seen == 5
        assert hotel.line.sent == [f"Reply {n}" for n in range(1, 6)]
        assert (hotel.supervisor.gate.inside, hotel.supervisor.gate.waiting) == (0, 0)


async def test_a_business_has_no_more_customers_at_the_ai_than_its_own_bound() -> None:
    async with Hotel(answering_max=5, answering_max_of={"hotel": 2}.__getitem__) as hotel:
        hotel.ai.answering.closed = True
        customers(hotel, 5)
        await hotel.advance(QUIET_SECONDS)
        assert (hotel.ai.answering.waiting, hotel.supervisor.gate.waiting) == (2, 3)
        hotel.ai.answering.open()
        await hotel.advance(1)
        assert len(hotel.line.sent) == 5


async def test_rows_that_come_before_the_bell_take_nobodys_place_away() -> None:
    async with Hotel(answering_max=1, sweep_seconds=NEVER) as hotel:
        hotel.ai.answering.closed = True
        async with closed(hotel.journal.loading) as loading:
            keys = customers(hotel, 2)
            await hotel.reaches(loading)
            for key in keys:
                hotel.supervisor.look(key)
            loading.release()
            await hotel.reaches(loading)
            await hotel.quiet()
        # The rows are put into the mailboxes in the pass of the loop in which the bell rings.
        await until(lambda: hotel.supervisor.mailbox_messages() == 2)
        hotel.clock.advance_to(hotel.clock.now() + timedelta(seconds=QUIET_SECONDS))
        await hotel.quiet()
        assert hotel.ai.answering.waiting == 1
        hotel.ai.answering.open()
        await hotel.quiet()
        assert len(hotel.line.sent) == 2


async def test_a_burst_that_grows_while_it_waits_for_a_place_is_one_turn() -> None:
    async with Hotel(answering_max=1) as hotel:
        hotel.ai.answering.closed = True
        hotel.customer("Hola", phone(1))
        await hotel.advance(QUIET_SECONDS)
        for _ in range(20):
            hotel.customer("¿Hola?", phone(2))
            await hotel.advance(QUIET_SECONDS / 10)
        await hotel.advance(QUIET_SECONDS - 20)
        assert hotel.supervisor.gate.waiting <= 1
        hotel.ai.answering.open()
        await hotel.advance(QUIET_SECONDS)
        assert [question.message_count for question in hotel.ai.questions] == [1, 20]


# Sweeps and starts.


async def test_a_sweep_finds_rows_that_nobody_was_woken_for() -> None:
    async with sweeping() as hotel:
        hotel.outside.says("Hola")
        await hotel.advance(2 + QUIET_SECONDS)
        assert hotel.line.sent == ["Reply 1"]


async def test_a_sweep_finds_more_rows_of_a_customer_in_memory() -> None:
    async with sweeping() as hotel:
        hotel.customer("Hola")
        await hotel.quiet()
        hotel.outside.says("¿Hola?")
        await hotel.advance(2 + QUIET_SECONDS)
        assert [question.message_count for question in hotel.ai.questions] == [2]


async def test_a_sweep_reads_nothing_that_is_known() -> None:
    async with sweeping() as hotel:
        customers(hotel, 3)
        await hotel.advance(QUIET_SECONDS - 1)
        assert len(hotel.journal.loads) == 1


async def test_a_sweep_looks_back_so_far_and_a_take_over_at_everything() -> None:
    outside = Outside()
    outside.says("Hola")
    outside.clock.advance_to(outside.clock.now() + timedelta(minutes=10))
    async with sweeping(outside) as hotel:
        await hotel.advance(60)
        assert hotel.journal.loads == []
        await hotel.supervisor.take_over()
        await hotel.advance(QUIET_SECONDS)
        assert hotel.line.sent == ["Reply 1"]


async def test_a_take_over_goes_on_with_open_turns() -> None:
    outside = Outside()
    async with Hotel(outside) as hotel:
        hotel.ai.answering.closed = True
        keys = customers(hotel, 3)
        await hotel.advance(QUIET_SECONDS)
    outside.ai.answering.open()
    async with Hotel(outside) as next_life:
        await next_life.supervisor.take_over()
        await next_life.advance(5)
        assert [next_life.state_of(key) for key in keys] == ["answered"] * 3


async def test_the_most_overdue_go_first_when_taking_over() -> None:
    outside = Outside()
    for number in (3, 1, 2):
        outside.says(f"from {number}", phone=phone(number))
        outside.clock.advance_to(outside.clock.now() + timedelta(seconds=60))
    async with Hotel(outside, answering_max=1) as hotel:
        hotel.ai.answering.closed = True
        await hotel.supervisor.take_over()
        await hotel.quiet()
        for _ in range(3):
            hotel.ai.answering.release()
            await hotel.quiet()
        asked = [question.items[-1].content for question in hotel.ai.questions]
        assert asked == ["from 3", "from 1", "from 2"]


async def test_a_take_over_that_finds_no_store_is_made_up_for_by_the_next_sweep() -> None:
    outside = Outside()
    outside.says("Hola")
    outside.clock.advance_to(outside.clock.now() + timedelta(hours=3))
    async with sweeping(outside) as hotel:
        outside.store_goes()
        with pytest.raises(StoreUnavailableError):
            await hotel.supervisor.take_over()
        await hotel.advance(20)
        assert hotel.supervisor.settled
        outside.store_comes_back()
        await hotel.advance(3)
        assert hotel.line.sent == ["Reply 1"]


async def test_a_sweep_looks_back_from_the_last_one_that_saw_the_rows() -> None:
    async with sweeping() as hotel:
        await hotel.advance(10)
        hotel.outside.says("Hola")  # its commit was the last one that the store took
        hotel.outside.store_goes()
        await hotel.advance(3600)
        hotel.outside.store_comes_back()
        await hotel.advance(3)
        assert hotel.line.sent == ["Reply 1"]


async def test_a_take_over_reads_in_batches_and_lets_others_have_the_loop() -> None:
    outside = Outside()
    keys = [outside.says("Hola", phone=phone(number)) for number in range(5_000)]
    async with Hotel(outside) as hotel:
        passed = 0

        async def serve_others() -> None:
            nonlocal passed
            while True:
                passed += 1
                await passes(1)

        others = hotel.tasks.spawn(serve_others(), "others")
        async with closed(hotel.journal.loading) as loading:
            await hotel.supervisor.take_over()
            assert passed >= len(keys) / 500
            await hotel.reaches(loading)
            assert hotel.supervisor.resident == 0, "the first batch is still being read"
            assert len(hotel.journal.loads) == 1
        await hotel.quiet()
        others.cancel()
        assert hotel.supervisor.resident == len(keys)
        assert [len(batch) for batch in hotel.journal.loads] == [500] * 10


async def test_sweeps_go_on_after_the_store_was_away_and_after_a_bug() -> None:
    async with sweeping() as hotel:
        hotel.outside.store_goes()
        await hotel.advance(10)
        hotel.outside.store_comes_back()
        hotel.journal.sweeping.failure = bug = ValueError("a bug")
        await hotel.advance(2)
        assert hotel.failures == [bug]
        hotel.failures.clear()
        hotel.journal.sweeping.failure = None
        hotel.outside.says("Hola")
        await hotel.advance(3 + QUIET_SECONDS)
        assert hotel.line.sent == ["Reply 1"]


# The end.


async def test_a_drain_waits_for_what_is_under_way(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    hotel.ai.answering.closed = True
    await hotel.advance(QUIET_SECONDS)
    drained = hotel.tasks.spawn(hotel.supervisor.drain(), "drain")
    await hotel.advance(3)
    assert not drained.done()
    hotel.ai.answering.open()
    await hotel.advance(0.1)
    assert drained.done()
    assert hotel.state_of(key) == "answered"


async def test_a_drain_ends_within_its_bound() -> None:
    async with Hotel(drain_seconds=10) as hotel:
        key = hotel.customer("Hola")
        hotel.ai.answering.closed = True
        await hotel.advance(QUIET_SECONDS)
        drained = hotel.tasks.spawn(hotel.supervisor.drain(), "drain")
        await hotel.advance(9.9)
        assert not drained.done()
        await hotel.advance(0.2)
        assert drained.done()
        assert hotel.state_of(key) == "answering"


async def test_a_drain_without_work_is_over_at_once(hotel: Hotel) -> None:
    hotel.customer("Hola")
    await hotel.quiet()
    before = hotel.clock.now()
    await hotel.supervisor.drain()
    assert hotel.clock.now() == before


async def test_nothing_new_begins_during_a_drain() -> None:
    async with Hotel(answering_max=1) as hotel:
        hotel.ai.answering.closed = True
        hotel.customer("Hola", phone(1))
        await hotel.advance(QUIET_SECONDS)
        waits = hotel.customer("Hola", phone(2))
        await hotel.advance(QUIET_SECONDS)
        more = hotel.customer("Y otra cosa", phone(1))
        await hotel.quiet()
        drained = hotel.tasks.spawn(hotel.supervisor.drain(), "drain")
        await hotel.quiet()
        hotel.customer("¿Hay alguien?", phone(3))
        hotel.ai.answering.open()
        await hotel.advance(0.1)
        assert drained.done()
        assert len(hotel.supervisor.alarms) == 0
        await hotel.advance(QUIET_SECONDS)
        assert hotel.line.sent == ["Reply 1"]
        assert hotel.state_of(waits) == "none"
        assert hotel.state_of(more) == "answered"
        assert hotel.supervisor.resident == 2


async def test_a_drain_does_not_wait_for_wakes_while_the_store_is_away(hotel: Hotel) -> None:
    async with closed(hotel.journal.loading) as loading:
        hotel.customer("Hola")
        await hotel.reaches(loading)
        drained = hotel.tasks.spawn(hotel.supervisor.drain(), "drain")
        await hotel.quiet()
        hotel.outside.store_goes()
    await hotel.advance(0.1)
    assert drained.done()


async def test_nothing_is_left_behind_by_a_thousand_customers(hotel: Hotel) -> None:
    customers(hotel, 1000)
    await hotel.advance(QUIET_SECONDS)
    await hotel.advance(IDLE_SECONDS)
    hotel.supervisor.passivate()
    supervisor = hotel.supervisor
    assert len(hotel.line.sent) == 1000
    assert (supervisor.resident, supervisor.turns_open, supervisor.mailbox_messages()) == (0, 0, 0)
    assert (supervisor.gate.inside, supervisor.gate.waiting) == (0, 0)
    assert (len(supervisor.alarms), supervisor.performer.in_flight, len(hotel.tasks)) == (0, 0, 0)
    assert hotel.probe.under_way == []
    assert supervisor.settled
    assert hotel.clock.next_alarm_at is None
