"""A batch that fails is not everybody's failure: who is at fault is found and stands alone."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from relevo.errors import StoreUnavailableError
from relevo.store.failures import is_retryable

T = TypeVar("T")
R = TypeVar("R")

TRIES_MAX = 4
"""After so many deadlocks, or conversations merged away under it, whoever asked begins again."""


async def isolated(
    write: Callable[[Sequence[T]], Awaitable[Sequence[R]]], items: Sequence[T]
) -> Sequence[R | BaseException]:
    """Write a batch and return each item's result, or what it failed with.

    Whatever one item is to blame for, be it the rows' fault or a bug, halves the batch until that
    item is alone: the rest is written. A database that is away fails what was not written before
    with `StoreUnavailableError`. `write` may be given items again of which it wrote a part.
    """
    for _ in range(TRIES_MAX):
        try:
            return await write(items)
        except StoreUnavailableError as error:
            return [error] * len(items)
        except Exception as error:  # noqa: BLE001  (handed to the one item it belongs to)
            if is_retryable(error):
                continue
            if len(items) == 1:
                return [error]
            break
    else:
        return [_locked()] * len(items)
    middle = len(items) // 2
    return [*await isolated(write, items[:middle]), *await isolated(write, items[middle:])]


async def insisted(deed: Callable[[], Awaitable[R]]) -> R:
    """Do something in a transaction of its own, and again after a deadlock.

    Raises:
        StoreUnavailableError: if the database is away, or the rows are locked again and again.
    """
    for _ in range(TRIES_MAX):
        try:
            return await deed()
        except Exception as error:
            if not is_retryable(error):
                raise
    raise _locked()


def _locked() -> StoreUnavailableError:
    return StoreUnavailableError("the rows are locked again and again")
