"""The machine's clock: nobody is woken before the instant that was asked for."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from relevo.clock import EARLY_SECONDS_MAX, SystemClock, sleep
from tests.actors_rig import START
from tests.fakes.clock import ManualClock, settle


class StoppedClock(SystemClock):
    """The loop's real timers, at a known instant."""

    def now(self) -> datetime:
        return START


def rings_in(seconds: float) -> float:
    """Return how many seconds of the loop's own time a timer is set to, at least."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    timer = StoppedClock().call_at(START + timedelta(seconds=seconds), lambda: None)
    assert isinstance(timer, asyncio.TimerHandle)
    timer.cancel()
    return timer.when() - before


@pytest.mark.parametrize("seconds", [0.0004, 0.02, 35])
async def test_a_timer_that_rings_a_millisecond_early_still_meets_its_instant(
    seconds: float,
) -> None:
    assert rings_in(seconds) - EARLY_SECONDS_MAX >= seconds - 1e-6


async def test_an_instant_that_has_passed_waits_for_nothing() -> None:
    rung: list[str] = []
    for seconds in (0, -60):
        StoppedClock().call_at(START + timedelta(seconds=seconds), lambda: rung.append("now"))
    await settle()
    assert rung == ["now", "now"]


async def test_the_clock_of_the_machine_is_in_utc_and_goes_on() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


async def test_who_stops_sleeping_leaves_no_alarm_behind() -> None:
    clock = ManualClock(START)
    sleeper = asyncio.gather(sleep(clock, 60))
    await settle()
    assert clock.next_alarm_at == START + timedelta(seconds=60)
    sleeper.cancel()
    await settle()
    assert clock.next_alarm_at is None
