"""Who is at fault stands alone: the others of the batch are written."""

import itertools
from collections.abc import Sequence

import asyncpg
import pytest

from relevo.errors import StoreUnavailableError
from relevo.store.isolating import TRIES_MAX, insisted, isolated

MANY = tuple(range(100))


class Table:
    """Takes numbers but those it has something against; fails the next writes as it is told."""

    def __init__(self, *next_failures: Exception, **bad: Exception) -> None:
        self.next_failures = list(next_failures)
        self.bad = {int(name.removeprefix("n")): error for name, error in bad.items()}
        self.away_after: int | None = None
        self.written: list[int] = []
        self.tries = 0

    async def write(self, numbers: Sequence[int]) -> Sequence[int]:
        self.tries += 1
        if self.next_failures:
            raise self.next_failures.pop(0)
        for number in numbers:
            if number in self.bad:
                raise self.bad[number]
        if self.away_after is not None and len(self.written) >= self.away_after:
            raise StoreUnavailableError("gone")
        self.written += numbers
        return [2 * number for number in numbers]


async def test_a_bug_in_one_item_fails_that_item_alone_and_soon() -> None:
    bug = KeyError("region")
    table = Table(n37=bug)
    results = await isolated(table.write, MANY)
    assert results == [bug if n == 37 else 2 * n for n in MANY]
    assert table.tries < 20


async def test_several_bad_items_fail_each_with_its_own_error() -> None:
    refused, bug = asyncpg.CheckViolationError("no"), TypeError("surrogates")
    table = Table(n0=refused, n99=bug)
    results = await isolated(table.write, MANY)
    assert (results[0], results[99]) == (refused, bug)
    assert sorted(table.written) == list(MANY[1:-1])


async def test_a_deadlock_is_tried_once_more_together() -> None:
    table = Table(asyncpg.DeadlockDetectedError("deadlock"))
    assert await isolated(table.write, (1, 2)) == [2, 4]
    assert table.tries == 2


async def test_deadlocks_without_end_are_given_up() -> None:
    table = Table(*itertools.repeat(asyncpg.DeadlockDetectedError("deadlock"), 9))
    results = await isolated(table.write, (1, 2))
    assert [type(result) for result in results] == [StoreUnavailableError] * 2
    assert table.tries == TRIES_MAX


async def test_a_database_that_goes_away_meanwhile_fails_only_what_was_not_written() -> None:
    table = Table(n0=ValueError("bad"))
    table.away_after = 1
    results = await isolated(table.write, (0, 1, 2, 3))
    assert [type(result) for result in results] == [
        ValueError,
        int,
        StoreUnavailableError,
        StoreUnavailableError,
    ]


async def test_a_database_that_is_away_is_not_asked_for_each() -> None:
    table = Table(StoreUnavailableError("gone"))
    results = await isolated(table.write, MANY)
    assert [type(result) for result in results] == [StoreUnavailableError] * 100
    assert table.tries == 1


async def test_one_deed_is_done_again_after_a_deadlock_but_not_for_ever() -> None:
    locked = asyncpg.DeadlockDetectedError("deadlock")
    table = Table(locked)
    assert await insisted(lambda: table.write((1, 2))) == [2, 4]
    table.next_failures = [locked] * TRIES_MAX
    with pytest.raises(StoreUnavailableError, match="again and again"):
        await insisted(lambda: table.write((3,)))
    table.next_failures = [KeyError("region")]
    with pytest.raises(KeyError):
        await insisted(lambda: table.write((3,)))
    assert table.written == [1, 2]
