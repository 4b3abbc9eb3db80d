"""A person's request, and what we have to say, wait for no burst: the next sweep finds them."""

import pytest

from tests.actors_outside import QUIET_SECONDS
from tests.actors_rig import Hotel
from tests.fakes import people

SWEEP_SECONDS = 2


@pytest.mark.parametrize("messages", [1, 2, 3])
async def test_a_burst_that_grows_is_answered_now_when_a_person_asks(messages: int) -> None:
    async with Hotel() as hotel:
        key = hotel.customer("mensaje 1")
        for number in range(1, messages):
            await hotel.advance(1)
            hotel.customer(f"mensaje {number + 1}")
        people.ask(hotel.book, key, hotel.clock.now())
        await hotel.supervisor.sweep()
        await hotel.advance(SWEEP_SECONDS)
        assert hotel.line.sent == ["Reply 1"]
        assert hotel.ai.questions[0].message_count == messages
        await hotel.advance(QUIET_SECONDS)
        assert len(hotel.line.sent) == 1


async def test_what_we_have_to_say_leaves_while_a_burst_grows() -> None:
    async with Hotel() as hotel:
        key = hotel.customer("mensaje 1")
        await hotel.advance(1)
        hotel.customer("mensaje 2")
        people.queue(hotel.book, key, "Recordatorio", hotel.clock.now())
        await hotel.supervisor.sweep()
        await hotel.advance(SWEEP_SECONDS)
        assert hotel.line.sent == ["Recordatorio"]
        await hotel.advance(QUIET_SECONDS)
        assert hotel.line.sent == ["Recordatorio", "Reply 1"]


async def test_a_sweep_does_not_read_a_burst_that_only_grows() -> None:
    async with Hotel() as hotel:
        for number in range(3):
            hotel.customer(f"mensaje {number}")
            await hotel.advance(1)
        loads = len(hotel.journal.loads)
        await hotel.supervisor.sweep()
        await hotel.quiet()
        assert len(hotel.journal.loads) == loads
