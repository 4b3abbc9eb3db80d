"""Time as an argument: whatever reads a clock or waits for an instant is given one of these."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Alarm(Protocol):
    """A call that has not happened yet."""

    def cancel(self) -> None:
        """Never call it."""


class Clock(Protocol):
    """Says what time it is and calls back when an instant has come."""

    def now(self) -> datetime:
        """Return the present instant, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Alarm:
        """Call `callback` on the running loop at `when`, or at once if it has passed."""


EARLY_SECONDS_MAX = 0.001
"""uvloop's timers count whole milliseconds, and may ring so much too early."""


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> datetime:
        """Return the present instant, in UTC."""
        return datetime.now(UTC)  # noqa: TID251  (the one place that may)

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        return time.monotonic()

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Alarm:
        """Call `callback` on the running loop at `when`, or at once if it has passed."""
        delay_seconds = (when - self.now()).total_seconds()
        # Who is woken before its instant sees that it has not come, and would ask again at once.
        delay_seconds = delay_seconds + EARLY_SECONDS_MAX if delay_seconds > 0 else 0
        return asyncio.get_running_loop().call_later(delay_seconds, callback)


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait until `seconds` have passed on `clock`."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    alarm = clock.call_at(clock.now() + timedelta(seconds=seconds), wake)
    try:
        await woken
    finally:
        alarm.cancel()
