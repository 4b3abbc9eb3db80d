"""A process's life, as the others can see it: a number, held as a session advisory lock.

What a process commits carries its number. Others may act on its effects only after their deadline,
or once the lock is free: kill -9 frees it at once. A process that loses the lock's connection takes
a new number before it commits anything more.
"""

from contextlib import suppress

import asyncpg

from relevo.clock import Clock, sleep
from relevo.errors import StoreUnavailableError
from relevo.store.failures import as_unavailable, is_unavailable
from relevo.store.sql import statements
from relevo.tasks import Tasks

RETRY_SECONDS = 1.0
CONNECT_TIMEOUT_SECONDS = 5.0
CLOSE_SECONDS_MAX = 2.0
"""A database that is gone does not say good-bye."""


class Incarnation:
    """Holds this process's number for as long as the database knows it."""

    def __init__(self, url: str, tasks: Tasks, clock: Clock) -> None:
        self._url = url
        self._tasks = tasks
        self._clock = clock
        self._number: int | None = None
        self._connection: asyncpg.Connection | None = None
        self._closing = False

    def number(self) -> int:
        """Return the number that is held.

        Raises:
            StoreUnavailableError: while none is held; nothing may be committed then.
        """
        if self._number is None:
            raise StoreUnavailableError("no incarnation is held")
        return self._number

    async def take(self) -> None:
        """Take a number.

        Raises:
            StoreUnavailableError: if the database cannot be reached.
        """
        try:
            connection = await asyncpg.connect(self._url, timeout=CONNECT_TIMEOUT_SECONDS)
            try:
                number = await _hold(connection)
            except BaseException:
                connection.terminate()
                raise
        except Exception as error:
            if is_unavailable(error):
                raise as_unavailable(error) from error
            raise
        connection.add_termination_listener(self._lost)
        self._connection, self._number = connection, number
        if connection.is_closed():
            self._number = None  # it went before anybody listened
            raise StoreUnavailableError("the connection was lost at once")

    async def release(self) -> None:
        """Give the number up, at the end of a clean stop."""
        self._closing = True
        self._number = None
        if self._connection is not None:
            with suppress(TimeoutError):  # then it is cut
                await self._connection.close(timeout=CLOSE_SECONDS_MAX)

    def _lost(self, _connection: object) -> None:
        self._number = None
        self._take_later(0.0)

    def _take_later(self, pause_seconds: float) -> None:
        if not self._closing:
            self._tasks.spawn(self._take_again(pause_seconds), "incarnation")

    async def _take_again(self, pause_seconds: float) -> None:
        await sleep(self._clock, pause_seconds)
        try:
            await self.take()
        except StoreUnavailableError:
            self._take_later(RETRY_SECONDS)
        except Exception:
            # Told by this task's failure. Without a number nothing can be committed: it goes on.
            self._take_later(RETRY_SECONDS)
            raise


async def _hold(connection: asyncpg.Connection) -> int:
    sql = statements("sweep")
    await connection.execute("SET ROLE relevo_sweep", timeout=CONNECT_TIMEOUT_SECONDS)
    number: int = await connection.fetchval(sql["incarnate"], timeout=CONNECT_TIMEOUT_SECONDS)
    held = await connection.fetchval(
        sql["hold_incarnation"], number, timeout=CONNECT_TIMEOUT_SECONDS
    )
    assert held, "a number fresh from the sequence is free"
    return number
