import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relevo.clock import SystemClock
from relevo.http.pace import Pace, Slots, within
from tests.fakes.clock import ManualClock, settle, until

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


class Line:
    """Callers of a pace of 3 tokens a 10 s, the last one for urgent callers."""

    def __init__(
        self, waiting_max: int = 100, slots: Slots | None = None, clock: ManualClock | None = None
    ) -> None:
        self.clock = clock or ManualClock(START)
        self.pace = Pace(
            self.clock,
            tokens=3,
            period_seconds=10,
            reserved=1,
            waiting_max=waiting_max,
            slots=slots,
        )
        self.answering = asyncio.Event()
        """Whether the provider answers, at once; else calls stay under way."""
        self.answering.set()
        self.went: list[tuple[str, float]] = []
        self.refused: list[str] = []

    async def call(self, name: str, *, urgent: bool = True, timeout_seconds: float = 100) -> None:
        call = self.pace.call(urgent=urgent, timeout_seconds=timeout_seconds)
        async with call as granted:
            if granted:
                self.went.append((name, self.clock.monotonic()))
                await self.answering.wait()
            else:
                self.refused.append(name)

    def advance(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))

    async def live_through(self, seconds: float) -> None:
        """Advance alarm by alarm, so that every call notes the instant of its grant."""
        until_at = self.clock.now() + timedelta(seconds=seconds)
        await settle()
        while (next_at := self.clock.next_alarm_at) is not None and next_at <= until_at:
            self.clock.advance_to(next_at)
            await settle()
        self.clock.advance_to(until_at)

    def has_waiting(self, count: int) -> bool:
        return self.pace.waiting == count

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.went]


async def test_a_token_comes_back_one_period_after_it_was_taken() -> None:
    line = Line()
    async with asyncio.TaskGroup() as callers:
        await line.call("a")
        line.advance(4)
        await line.call("b")
        await line.call("c")
        callers.create_task(line.call("d"))
        callers.create_task(line.call("e"))
        await until(lambda: line.pace.waiting == 2)
        line.advance(5.9)
        await settle()
        assert line.names == ["a", "b", "c"]
        line.advance(0.1)
        await until(lambda: line.names[3:] == ["d"])
        line.advance(4)
    assert line.went[3:] == [("d", 10.0), ("e", 14.0)]


async def test_urgent_callers_go_first_and_each_kind_in_order() -> None:
    line = Line()
    async with asyncio.TaskGroup() as callers:
        for name in "abc":
            await line.call(name)
        for number, (name, urgent) in enumerate(
            [("p1", False), ("u1", True), ("p2", False), ("u2", True)], start=1
        ):
            callers.create_task(line.call(name, urgent=urgent))
            await until(partial(line.has_waiting, number))
        line.advance(10)
        await until(lambda: line.names[3:] == ["u1", "u2"])
        await settle()
        assert line.pace.waiting == 2
        line.advance(10)
    assert line.names[5:] == ["p1", "p2"]


async def test_a_patient_caller_never_takes_the_last_token() -> None:
    line = Line()
    async with asyncio.TaskGroup() as callers:
        await line.call("p1", urgent=False)
        await line.call("p2", urgent=False)
        callers.create_task(line.call("p3", urgent=False))
        await until(lambda: line.pace.waiting == 1)
        await line.call("u1")
        assert line.names == ["p1", "p2", "u1"]
        line.advance(10)
    assert line.went[3] == ("p3", 10.0)


async def test_nobody_waits_longer_than_they_said() -> None:
    line = Line()
    async with asyncio.TaskGroup() as callers:
        for name in "abc":
            await line.call(name)
        callers.create_task(line.call("short", timeout_seconds=2))
        callers.create_task(line.call("long", timeout_seconds=30))
        await until(lambda: line.pace.waiting == 2)
        line.advance(2)
        await until(lambda: line.refused == ["short"])
        line.advance(8)
    assert line.names == ["a", "b", "c", "long"]
    assert line.clock.next_alarm_at is None


async def test_a_full_line_refuses_at_once() -> None:
    line = Line(waiting_max=1)
    async with asyncio.TaskGroup() as callers:
        for name in "abc":
            await line.call(name)
        callers.create_task(line.call("d"))
        await until(lambda: line.pace.waiting == 1)
        await line.call("e")
        assert line.refused == ["e"]
        line.advance(10)
    assert line.names == ["a", "b", "c", "d"]


async def test_a_cancelled_waiter_costs_no_token() -> None:
    line = Line()
    async with asyncio.TaskGroup() as callers:
        for name in "abc":
            await line.call(name)
        gone = callers.create_task(line.call("gone"))
        callers.create_task(line.call("d"))
        await until(lambda: line.pace.waiting == 2)
        gone.cancel()
        await until(gone.done)
        assert line.pace.waiting == 1
        line.advance(10)
    assert line.names == ["a", "b", "c", "d"]


async def test_a_waiter_cancelled_in_the_moment_of_its_grant_passes_the_token_on() -> None:
    line = Line()
    async with asyncio.TaskGroup() as callers:
        await line.call("a")
        line.advance(5)
        for name in "bc":
            await line.call(name)
        gone = callers.create_task(line.call("gone"))
        callers.create_task(line.call("next"))
        await until(lambda: line.pace.waiting == 2)
        line.advance(5)  # grants the one token to `gone`, which has not run since
        gone.cancel()
    assert line.went[3:] == [("next", 10.0)]


async def test_a_waiter_cancelled_just_before_a_grant_is_passed_over() -> None:
    line = Line()
    async with asyncio.TaskGroup() as callers:
        for name in "abc":
            await line.call(name)
        gone = callers.create_task(line.call("gone"))
        callers.create_task(line.call("next"))
        await until(lambda: line.pace.waiting == 2)
        gone.cancel()
        line.advance(10)  # before `gone` could tell
    assert line.went[3:] == [("next", 10.0)]


async def test_a_pause_holds_everybody_back() -> None:
    line = Line()
    async with asyncio.TaskGroup() as callers:
        line.pace.pause(7)
        callers.create_task(line.call("a"))
        await until(lambda: line.pace.waiting == 1)
        line.advance(6.9)
        await settle()
        assert line.names == []
        line.advance(0.1)
    assert line.went == [("a", 7.0)]


async def test_who_cannot_outwait_a_pause_is_refused_at_once() -> None:
    line = Line()
    line.pace.pause(60)
    await line.call("a", timeout_seconds=10)
    assert line.refused == ["a"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["urgent", "patient", "cancel", "pause"]),
            st.floats(0.05, 7, allow_nan=False),
        ),
        max_size=60,
    )
)
def test_no_window_ever_sees_more_calls_than_tokens(deeds: list[str | float]) -> None:
    asyncio.run(_do(deeds))


async def _do(deeds: list[str | float]) -> None:
    line = Line()
    callers: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:
        for number, deed in enumerate(deeds):
            if isinstance(deed, float):
                await line.live_through(deed)
            elif deed == "pause":
                line.pace.pause(3)
            elif deed == "cancel" and callers:
                callers[number % len(callers)].cancel()
            else:
                urgent = deed == "urgent"
                callers.append(group.create_task(line.call(str(number), urgent=urgent)))
            if number % 3:
                await settle()
        await line.live_through(20 + 10 * len(callers))
    times = [at for _, at in line.went]
    # Of three tokens, the fourth call waits for the first one's to come back.
    assert all(later - first >= 10 - 1e-6 for first, later in zip(times, times[3:], strict=False))
    assert len(line.went) + len(line.refused) + sum(c.cancelled() for c in callers) == len(callers)
    assert line.pace.waiting == 0


async def test_within_ends_by_the_clock_it_was_given() -> None:
    clock = ManualClock(START)
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with within(clock, 50):
            loop.call_soon(clock.advance_to, START + timedelta(seconds=50))
            await asyncio.Event().wait()
    assert clock.next_alarm_at is None


async def test_within_ends_by_the_machine_too() -> None:
    with pytest.raises(TimeoutError):
        async with within(SystemClock(), 0.01):
            await asyncio.Event().wait()


async def test_within_leaves_no_alarm_behind() -> None:
    clock = ManualClock(START)
    async with within(clock, 5):
        assert clock.next_alarm_at == START + timedelta(seconds=5)
    assert clock.next_alarm_at is None
