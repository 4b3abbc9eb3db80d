"""The supervisor: wakes are bits, reads are batches, and memory holds who has something to do."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio

from relevo.answering import OWN_MESSAGES_MAX
from relevo.messages import ConversationKey
from tests.actors_outside import QUIET_SECONDS, closed
from tests.actors_rig import Hotel, passes, phone
from tests.fakes.clock import until

IDLE_SECONDS = 300


@pytest_asyncio.fixture
async def hotel() -> AsyncIterator[Hotel]:
    async with Hotel() as hotel:
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
    assert question.message_count == OWN_MESSAGES_MAX
    assert len(hotel.book.fates()) == 1001


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
    assert [question.message_count for question in hotel.ai.questions] == [1, OWN_MESSAGES_MAX]


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


async def test_who_is_nobody_or_another_process_s_does_not_stay_in_memory(hotel: Hotel) -> None:
    fenced, sick = customers(hotel, 2)
    hotel.journal.fenced.add(fenced)
    hotel.journal.unreadable.add(sick)  # so that each of the batch reads its own
    hotel.supervisor.look(ConversationKey("hotel", 77))
    await hotel.quiet()
    assert hotel.supervisor.resident == 2
    assert hotel.supervisor.turns_open == 0
    hotel.journal.unreadable.clear()
    await hotel.advance(QUIET_SECONDS + IDLE_SECONDS)
    hotel.supervisor.passivate()
    assert hotel.supervisor.resident == 1, "the fenced one is looked at every second"
    hotel.journal.fenced.clear()
    await hotel.advance(1 + QUIET_SECONDS)
    assert hotel.line.sent == ["Reply 1", "Reply 2"]


async def test_a_conversation_that_is_no_more_stops_what_runs_for_it_and_leaves(
    hotel: Hotel,
) -> None:
    key = hotel.customer("Hola")
    async with closed(hotel.ai.answering):
        await hotel.advance(QUIET_SECONDS)
        hotel.journal.gone.add(key)
        hotel.supervisor.look(key)
        await hotel.quiet()
        assert hotel.probe.effects == [("Ask", "cancelled")]
        assert hotel.supervisor.turns_open == 0
        await hotel.advance(IDLE_SECONDS)
        hotel.supervisor.passivate()
        assert hotel.supervisor.resident == 0


async def test_when_memory_is_short_whoever_is_idle_leaves_and_nobody_else(hotel: Hotel) -> None:
    keys = customers(hotel, 600)
    await hotel.advance(QUIET_SECONDS)
    hotel.customer("¿Algo más?", phone(7))
    async with closed(hotel.journal.committing) as storing:
        hotel.customer("¿Sigue ahí?", phone(8))
        await hotel.advance(QUIET_SECONDS)
        await hotel.reaches(storing)
        assert hotel.supervisor.resident == len(keys)
        await hotel.supervisor.relieve()
        assert hotel.supervisor.resident == hotel.probe.resident == 2
    await hotel.quiet()
    assert len(hotel.line.sent) == len(keys) + 2
    await hotel.supervisor.relieve()
    assert hotel.supervisor.resident == 0
