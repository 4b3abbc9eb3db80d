"""What was started is stopped in reverse, each in its time, whatever one of them does."""

import asyncio
import logging

import pytest

from relevo.stopping import Stops
from tests.fakes.clock import until

MOMENT = 0.01
LONG = 30.0


async def test_the_last_one_started_is_stopped_first_and_all_of_them_once() -> None:
    stopped: list[str] = []

    async def later(name: str) -> None:
        await until(lambda: True)
        stopped.append(name)

    stops = Stops()
    stops.add("first", lambda: stopped.append("first"))
    stops.add("second", lambda: later("second"), LONG)
    stops.add("third", lambda: stopped.append("third"))
    await stops.run()
    await stops.run()
    assert stopped == ["third", "second", "first"]


async def test_one_that_hangs_is_given_up_and_named_and_the_others_are_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stopped: list[str] = []
    stops = Stops()
    stops.add("last", lambda: stopped.append("last"))
    stops.add("the deaf one", deaf, MOMENT)
    stops.add("the hanging one", hang, MOMENT)
    with caplog.at_level(logging.WARNING):
        await stops.run()
    assert stopped == ["last"]
    assert "the hanging one took longer than" in caplog.text
    assert "the deaf one took longer than" in caplog.text


async def test_one_that_fails_is_told_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    stopped: list[str] = []
    stops = Stops()
    stops.add("last", lambda: stopped.append("last"))
    stops.add("the broken one", broken, LONG)
    await stops.run()
    assert stopped == ["last"]
    assert "stopping: the broken one failed" in caplog.text


async def test_all_together_have_a_bound_too() -> None:
    stops = Stops(total_seconds=MOMENT)
    for number in range(3):
        stops.add(f"{number}", hang, LONG)
    async with asyncio.timeout(LONG):
        await stops.run()


async def hang() -> None:
    await asyncio.Event().wait()


async def deaf() -> None:
    """Heed no first cancelling."""
    try:
        await hang()
    except asyncio.CancelledError:
        await hang()


def broken() -> None:
    raise ValueError("a bug")
