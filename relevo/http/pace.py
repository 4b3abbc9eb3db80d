"""Paces the calls of one line so that a provider's rate limit is never overrun.

A token comes back one period after it was taken, so no window of that length ever sees more calls
than there are tokens; a bucket that refills steadily would let nearly twice as many through.

Urgent waiters go first. The others take only spare tokens: none while somebody urgent waits, and
never the last `reserved` ones, because whoever comes next would wait a whole period for theirs.
Within a priority it is first come, first served. Nobody waits longer than they said, and a waiter
that is cancelled costs no token.

Tokens come back by time, also while calls hang. So the calls under way have bounds of their own, of
each line and of all lines together: each of them may hold a whole answer, and a connection.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from relevo.clock import Alarm, Clock

_TICK_SECONDS = 0.001
"""An alarm that rings a rounding error too early is set again, this much later at least."""


@dataclass(eq=False, slots=True)
class _Waiter:
    urgent: bool
    granted: asyncio.Future[bool]
    taken_at: float | None = None


class Slots:
    """How many calls of all lines may be under way; lines that wait for one have it in turn."""

    def __init__(self, slots_max: int) -> None:
        self._slots_max = slots_max
        self._waiting: dict[Pace, None] = {}
        self.taken = 0

    def take(self, pace: "Pace") -> bool:
        """Take a slot. False: there is none; this line hears when there is."""
        if self.taken >= self._slots_max:
            self._waiting[pace] = None
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """Give a slot to whichever line has waited longest for one."""
        self.taken -= 1
        while self._waiting and self.taken < self._slots_max:
            pace = next(iter(self._waiting))
            del self._waiting[pace]
            pace.serve()


class Pace:
    """Gives out `tokens` per `period_seconds`, the last `reserved` ones only to urgent callers."""

    def __init__(
        self,
        clock: Clock,
        *,
        tokens: int,
        period_seconds: float,
        reserved: int = 0,
        waiting_max: int = 1000,
        slots: Slots | None = None,
    ) -> None:
        """A line has as many calls under way as it has tokens, at most, and all have `slots`."""
        assert 0 <= reserved < tokens
        self._slots = slots or Slots(tokens)
        self._under_way = 0
        self._clock = clock
        self._tokens = tokens
        self._period_seconds = period_seconds
        self._reserved = reserved
        self._waiting_max = waiting_max
        self._taken_at: deque[float] = deque()
        self._urgent: deque[_Waiter] = deque()
        self._patient: deque[_Waiter] = deque()
        self._paused_until = clock.monotonic()
        self._alarm: Alarm | None = None

    @property
    def waiting(self) -> int:
        """Count those who wait for a token."""
        return len(self._urgent) + len(self._patient)

    @asynccontextmanager
    async def call(self, *, urgent: bool, timeout_seconds: float) -> AsyncIterator[bool]:
        """Wait for a token, at most so long, and be under way until the block is left.

        False: there was none; full or paused longer, at once. The token is spent when it is True.
        """
        granted = await self._take(urgent=urgent, timeout_seconds=timeout_seconds)
        try:
            yield granted
        finally:
            if granted:
                self._end()

    async def _take(self, *, urgent: bool, timeout_seconds: float) -> bool:
        pause_seconds = self._paused_until - self._clock.monotonic()
        if self.waiting >= self._waiting_max or pause_seconds > timeout_seconds:
            return False
        waiter = _Waiter(urgent, asyncio.get_running_loop().create_future())
        self._queue(waiter).append(waiter)
        self.serve()
        if waiter.granted.done():
            return waiter.granted.result()
        expiry = self._clock.call_at(
            self._clock.now() + timedelta(seconds=max(0.0, timeout_seconds)),
            lambda: self._expire(waiter),
        )
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise
        finally:
            expiry.cancel()

    def pause(self, seconds: float) -> None:
        """Give out nothing for so long: the provider said that it has had enough."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
        self.serve()

    def _queue(self, waiter: _Waiter) -> deque[_Waiter]:
        return self._urgent if waiter.urgent else self._patient

    def serve(self) -> None:
        """Let go whoever may go now, and look again when the next one may."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now = self._clock.monotonic()
        while self.waiting and self._under_way < self._tokens:
            delay_seconds = self._next_free_at(now) - now
            if delay_seconds > 0:
                later = timedelta(seconds=max(_TICK_SECONDS, delay_seconds))
                self._alarm = self._clock.call_at(self._clock.now() + later, self.serve)
                return
            queue = self._urgent or self._patient
            if queue[0].granted.done():  # it was cancelled and has not run since
                queue.popleft()
            elif self._slots.take(self):
                self._under_way += 1
                waiter = queue.popleft()
                waiter.taken_at = now
                self._taken_at.append(now)
                waiter.granted.set_result(True)
            else:
                return

    def _end(self) -> None:
        """A call is over, or will not be made."""
        self._under_way -= 1
        self._slots.give_back()
        self.serve()

    def _next_free_at(self, now: float) -> float:
        """Return when the first in line may go; not later than `now`: it may go."""
        while self._taken_at and self._taken_at[0] + self._period_seconds <= now:
            self._taken_at.popleft()
        room = self._tokens if self._urgent else self._tokens - self._reserved
        too_many = len(self._taken_at) - room
        if too_many < 0:
            return self._paused_until
        return max(self._paused_until, self._taken_at[too_many] + self._period_seconds)

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.granted.done():
            self._queue(waiter).remove(waiter)
            waiter.granted.set_result(False)
            self.serve()

    def _withdraw(self, waiter: _Waiter) -> None:
        """Forget a cancelled waiter; the token it was just given goes to the next one."""
        if waiter in self._queue(waiter):
            self._queue(waiter).remove(waiter)
        elif waiter.taken_at is not None:
            if waiter.taken_at in self._taken_at:
                self._taken_at.remove(waiter.taken_at)
            self._end()
        self.serve()


@asynccontextmanager
async def within(clock: Clock, seconds: float) -> AsyncIterator[None]:
    """Bound a block by `seconds` of `clock`, and of the machine as a belt; raises TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds) as bound:

        def ring() -> None:
            if not bound.expired():
                bound.reschedule(loop.time())

        alarm = clock.call_at(clock.now() + timedelta(seconds=seconds), ring)
        try:
            yield
        finally:
            alarm.cancel()
