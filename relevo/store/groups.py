"""Group commit: whoever comes while a transaction is under way joins the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from relevo.tasks import Tasks

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Collects items and hands them to `flush` in batches; each caller gets its own result.

    At most `flights_max` batches are under way at once, each of at most `batch_max` items that
    weigh at most `weight_max` together; a heavier item goes alone. A flush that raises fails every
    item of its batch; an exception among its results fails that item alone.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[Sequence[R | BaseException]]],
        tasks: Tasks,
        *,
        batch_max: int,
        flights_max: int,
        weigh: Callable[[T], int] = lambda _: 0,
        weight_max: int = 0,
    ) -> None:
        self._flush = flush
        self._tasks = tasks
        self._batch_max = batch_max
        self._flights_max = flights_max
        self._weigh = weigh
        self._weight_max = weight_max
        self._flights = 0
        self._weight = 0
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()

    @property
    def depth(self) -> int:
        """Return how many items wait for a batch."""
        return len(self._waiting)

    @property
    def weight(self) -> int:
        """Return how much the items weigh that wait for a batch."""
        return self._weight

    async def submit(self, item: T) -> R:
        """Have one item flushed and return its result."""
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        self._weight += self._weigh(item)
        if self._flights < self._flights_max:
            self._flights += 1
            self._tasks.spawn(self._fly(), "group-commit")
        return await done

    async def _fly(self) -> None:
        try:
            while self._waiting:
                await self._land(self._next_batch())
        except asyncio.CancelledError:
            # A stop: who still waits would wait for ever.
            for _, done in self._waiting:
                done.cancel()
            self._waiting.clear()
            self._weight = 0
            raise
        finally:
            self._flights -= 1

    def _next_batch(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        room = self._weight_max
        while self._waiting and len(batch) < self._batch_max:
            weight = self._weigh(self._waiting[0][0])
            if batch and weight > room:
                break
            room -= weight
            self._weight -= weight
            batch.append(self._waiting.popleft())
        return batch

    async def _land(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except BaseException as error:
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
            if isinstance(error, Exception):
                return
            raise
        for (_, done), result in zip(batch, results, strict=True):
            if done.done():
                continue
            if isinstance(result, BaseException):
                done.set_exception(result)
            else:
                done.set_result(result)
