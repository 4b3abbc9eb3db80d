"""Group commit: whoever comes while a transaction is under way joins the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from relevo.errors import StoreUnavailableError
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
        """Have one item flushed and return its result.

        Raises:
            StoreUnavailableError: a stop came first; what became of the item is not known.
        """
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        self._weight += self._weigh(item)
        if self._flights < self._flights_max:
            self._take_off()
        return await done

    def _take_off(self) -> None:
        self._flights += 1
        self._tasks.spawn(self._fly(), "group-commit").add_done_callback(self._landed)

    async def _fly(self) -> None:
        while self._waiting:
            await self._land(self._next_batch())

    def _landed(self, flight: asyncio.Task[None]) -> None:
        """A flight has ended, perhaps before it began: a stop cancels what has not run yet too."""
        self._flights -= 1
        if flight.cancelled():
            while self._waiting:
                _fail(self._next_batch(), _stopped())
        elif self._waiting and self._flights < self._flights_max:
            # Who came after its last look, or was left behind by a bug.
            self._take_off()

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
            assert len(results) == len(batch), "a result for each"
        except Exception as error:  # noqa: BLE001  (handed to those who wait for it)
            _fail(batch, error)
            return
        except BaseException:
            _fail(batch, _stopped())
            raise
        for one, result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                _fail([one], result)
            elif not one[1].done():
                one[1].set_result(result)


def _fail(batch: list[tuple[T, asyncio.Future[R]]], error: BaseException) -> None:
    for _, done in batch:
        if not done.done():
            done.set_exception(error)


def _stopped() -> StoreUnavailableError:
    return StoreUnavailableError("this process is stopping")
