"""Group commit: who comes meanwhile joins the next batch, and everyone gets his own result."""

import asyncio
from collections.abc import Sequence

import pytest

from relevo.errors import StoreUnavailableError
from relevo.store.groups import GroupCommit
from relevo.tasks import Tasks
from tests.fakes.clock import settle, until


class Bank:
    """Flushes when it is let; doubles numbers, raises what it is given, refuses negative ones."""

    def __init__(self, *, batch_max: int = 3, flights_max: int = 1, weight_max: int = 99) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.under_way = 0
        self.under_way_most = 0
        self.failure: Exception | None = None
        self.failures: list[BaseException] = []
        self.tasks = Tasks(self.failures.append)
        self.group = GroupCommit[int, int](
            self._flush,
            self.tasks,
            batch_max=batch_max,
            flights_max=flights_max,
            weigh=abs,
            weight_max=weight_max,
        )

    async def _flush(self, items: Sequence[int]) -> Sequence[int | BaseException]:
        self.batches.append(list(items))
        self.under_way += 1
        self.under_way_most = max(self.under_way_most, self.under_way)
        await self.open.wait()
        self.under_way -= 1
        if self.failure is not None:
            raise self.failure
        return [n * 2 if n >= 0 else ValueError(f"{n} is negative") for n in items]

    def submit(self, *items: int) -> "asyncio.Future[list[int | BaseException]]":
        return asyncio.gather(*(self.group.submit(n) for n in items), return_exceptions=True)


async def test_everyone_gets_the_result_of_his_own_item() -> None:
    bank = Bank()
    bank.open.set()
    assert await bank.submit(*range(10)) == [2 * n for n in range(10)]


async def test_a_batch_has_a_bound_and_keeps_the_order() -> None:
    bank = Bank()
    bank.open.set()
    await bank.submit(*range(8))
    assert bank.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_heavy_items_make_small_batches_and_the_heaviest_goes_alone() -> None:
    bank = Bank(batch_max=9, weight_max=10)
    waiting = bank.submit(4, 6, 1, 9, 2, 11, 3)
    await until(lambda: bank.under_way == 1)
    assert bank.group.weight == 1 + 9 + 2 + 11 + 3
    bank.open.set()
    assert await waiting == [8, 12, 2, 18, 4, 22, 6]
    assert bank.batches == [[4, 6], [1, 9], [2], [11], [3]]
    assert bank.group.weight == 0


async def test_who_comes_while_a_batch_is_under_way_joins_the_next() -> None:
    bank = Bank()
    first = bank.submit(1)
    await until(lambda: bank.under_way == 1)
    others = bank.submit(2, 3)
    await settle()
    assert bank.batches == [[1]]
    assert bank.group.depth == 2
    bank.open.set()
    assert await first == [2]
    assert await others == [4, 6]
    assert bank.batches == [[1], [2, 3]]
    assert bank.group.depth == 0


async def test_only_so_many_batches_are_under_way_at_once() -> None:
    bank = Bank(batch_max=1, flights_max=2)
    waiting = bank.submit(*range(6))
    await until(lambda: bank.under_way == 2)
    await settle()
    bank.open.set()
    await waiting
    assert bank.under_way_most == 2
    assert len(bank.batches) == 6


async def test_a_batch_that_fails_fails_all_of_its_items_and_no_other() -> None:
    bank = Bank()
    bank.failure = ValueError("nothing works")
    bank.open.set()
    assert await bank.submit(1, 2) == [bank.failure, bank.failure]
    bank.failure = None
    assert await bank.submit(3) == [6]
    assert not bank.failures


async def test_an_item_that_fails_fails_alone() -> None:
    bank = Bank()
    bank.open.set()
    first, second, third = await bank.submit(1, -2, 3)
    assert (first, third) == (2, 6)
    with pytest.raises(ValueError, match="-2 is negative"):
        raise second if isinstance(second, BaseException) else AssertionError(second)


async def test_a_caller_who_goes_away_harms_nobody() -> None:
    bank = Bank()
    staying = bank.submit(1, 3)
    leaving = bank.submit(2)
    await until(lambda: bank.under_way == 1)
    leaving.cancel()
    await settle()
    bank.open.set()
    assert await staying == [2, 6]
    assert [n for batch in bank.batches for n in batch] == [1, 3, 2]
    assert await bank.submit(4) == [8]
    assert not bank.failures


async def test_a_stop_leaves_nobody_waiting_for_ever() -> None:
    bank = Bank()
    waiting = bank.submit(*range(6))
    await until(lambda: bank.under_way == 1)
    await bank.tasks.cancel()
    assert [type(result) for result in await waiting] == [StoreUnavailableError] * 6
    assert (bank.group.depth, bank.group.weight) == (0, 0)


async def test_a_stop_before_a_batch_took_off_leaves_nobody_waiting_either() -> None:
    bank = Bank()
    submitted = asyncio.Event()

    async def submit() -> int:
        submitted.set()
        return await bank.group.submit(1)

    waiting = asyncio.gather(submit(), return_exceptions=True)
    await submitted.wait()
    await bank.tasks.cancel()
    assert [type(result) for result in await waiting] == [StoreUnavailableError]
    assert bank.batches == []
    bank.open.set()
    assert await bank.submit(2) == [4]


async def test_too_few_results_are_a_failure_of_all_and_nobody_waits() -> None:
    async def forget(_items: Sequence[int]) -> Sequence[int]:
        return []

    tasks = Tasks(lambda _: None)
    group = GroupCommit[int, int](forget, tasks, batch_max=3, flights_max=1)
    with pytest.raises(AssertionError, match="a result for each"):
        await group.submit(1)
