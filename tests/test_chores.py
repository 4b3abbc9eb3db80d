"""What a sweep sees to besides: after each, and once a minute; its failures are its own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from relevo.clock import Clock
from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey
from tests.actors_outside import QUIET_SECONDS
from tests.actors_rig import Hotel, Outside


@asynccontextmanager
async def sweeping(outside: Outside) -> AsyncIterator[Hotel]:
    """A hotel whose sweeper is at work."""
    async with Hotel(outside, sweep_seconds=2) as hotel:
        hotel.tasks.spawn(hotel.supervisor.sweep_for_ever(), "sweep")
        yield hotel


class Tidying:
    """Chores that say when they were seen to."""

    def __init__(self, clock: Clock) -> None:
        self.counted: list[Mapping[ConversationKey, int]] = []
        self.kept_up_at: list[float] = []
        self.failure: Exception | None = None
        self._clock = clock

    async def swept(self, unread: Mapping[ConversationKey, int]) -> None:
        self.counted.append(unread)

    async def keep_up(self) -> None:
        self.kept_up_at.append(self._clock.monotonic())
        if self.failure is not None:
            raise self.failure


async def test_chores_are_seen_to_after_sweeps_and_some_of_them_once_a_minute() -> None:
    outside = Outside()
    outside.chores = chores = Tidying(outside.clock)
    async with sweeping(outside) as hotel:
        key = hotel.customer("Hola")
        hotel.customer("¿Hola?")
        await hotel.advance(4)
        assert chores.counted == [{key: 2}, {key: 2}]
        assert chores.kept_up_at == []
        await hotel.advance(126)
        assert chores.kept_up_at == [60, 120]


@pytest.mark.parametrize("failure", [StoreUnavailableError("away"), ValueError("a bug")])
async def test_a_chore_that_fails_stops_no_sweep(failure: Exception) -> None:
    outside = Outside()
    outside.chores = chores = Tidying(outside.clock)
    async with sweeping(outside) as hotel:
        chores.failure = failure
        await hotel.advance(121)
        assert len(chores.kept_up_at) == 2
        hotel.outside.says("Hola")
        await hotel.advance(3 + QUIET_SECONDS)
        assert hotel.line.sent == ["Reply 1"]
        assert set(hotel.failures) <= {failure}
        hotel.failures.clear()
