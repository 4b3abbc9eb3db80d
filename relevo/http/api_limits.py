"""What one caller, and all together, may ask of us at once.

A bucket of tokens for each key: `burst` requests at once, and then so many a second. A caller that
asks for more is told how long to wait, and costs nothing else. Of all callers together only a few
are at the database at any time, fewer than there are connections: a turn's commit always finds one.
"""

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from relevo.clock import Clock
from relevo.http.pace import within


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is too much."""

    burst: int = 100
    per_second: float = 20
    buckets_max: int = 10_000
    """Of more keys the ones that were quiet longest begin with a full bucket again."""
    requests_max: int = 200
    """Requests under way, of all callers; more are answered 503."""
    requests_of_business_max: int = 100
    """Of those, of one business: its slow bodies and searches leave the others room."""
    transactions_max: int = 4
    """Of the six connections that turns have too."""
    wait_seconds: float = 10
    """How long a request waits for its transaction."""


class BusyError(Exception):
    """So much is under way that a request is not begun."""


class Buckets:
    """A bucket of tokens for each key."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key_id: str) -> int:
        """Take a token. 0: it was there; else in how many whole seconds one will be."""
        now, limits = self._clock.monotonic(), self._limits
        tokens, as_of = self._buckets.pop(key_id, (float(limits.burst), now))
        tokens = min(limits.burst, tokens + (now - as_of) * limits.per_second)
        taken = tokens >= 1
        self._buckets[key_id] = (tokens - taken, now)
        if len(self._buckets) > limits.buckets_max:
            self._buckets.popitem(last=False)
        return 0 if taken else math.ceil((1 - tokens) / limits.per_second)


class Places:
    """How many requests are under way, and how many of them at the database."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._free = asyncio.Semaphore(limits.transactions_max)
        self.under_way = 0
        self._of: Counter[str] = Counter()

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Count a request as under way; raises BusyError if there are too many."""
        if self.under_way >= self._limits.requests_max:
            raise BusyError
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    @asynccontextmanager
    async def request_of(self, business_id: str) -> AsyncIterator[None]:
        """Count a request as its business's; raises BusyError if there are too many of them."""
        if self._of[business_id] >= self._limits.requests_of_business_max:
            raise BusyError
        self._of[business_id] += 1
        try:
            yield
        finally:
            self._of[business_id] -= 1

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Have a place at the database; raises BusyError if none becomes free in time."""
        try:
            async with within(self._clock, self._limits.wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise BusyError from None
        try:
            yield
        finally:
            self._free.release()
