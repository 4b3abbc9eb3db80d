"""A clock that stands still until a test moves it, and how to wait for what others do meanwhile."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(order=True, slots=True)
class ManualAlarm:
    when: datetime
    number: int
    callback: Callable[[], None] | None = field(compare=False)

    def cancel(self) -> None:
        self.callback = None

    def ring(self) -> None:
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class ManualClock:
    """Implements `relevo.clock.Clock`. An alarm for an instant already past rings on the next pass
    of the running loop; all others ring inside `advance_to`, each at its own instant, in order.
    """

    def __init__(self, start: datetime) -> None:
        assert start.tzinfo is not None
        self._start = self._now = start.astimezone(UTC)
        self._alarms: list[ManualAlarm] = []
        self._numbers = itertools.count()

    @property
    def next_alarm_at(self) -> datetime | None:
        """When the next alarm rings that nobody has cancelled."""
        while self._alarms and self._alarms[0].callback is None:
            heapq.heappop(self._alarms)
        return self._alarms[0].when if self._alarms else None

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    def call_at(self, when: datetime, callback: Callable[[], None]) -> ManualAlarm:
        alarm = ManualAlarm(when, next(self._numbers), callback)
        if when <= self._now:
            asyncio.get_running_loop().call_soon(alarm.ring)
        else:
            heapq.heappush(self._alarms, alarm)
        return alarm

    def advance_to(self, when: datetime) -> None:
        """Move on to `when`, ringing what is due on the way, also what is set on the way."""
        assert when >= self._now, "time does not go back"
        while (due_at := self.next_alarm_at) is not None and due_at <= when:
            alarm = heapq.heappop(self._alarms)
            self._now = alarm.when
            alarm.ring()
        self._now = when.astimezone(UTC)


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something is so; it never takes time, only turns of the loop."""
    for _ in range(1_000_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def settle() -> None:
    """Let everything run that can run without anything from outside."""
    for _ in range(10):
        await asyncio.sleep(0)
