"""A process's number: nothing is committed without one, and one that was lost is replaced."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from relevo.errors import StoreUnavailableError
from relevo.store.embedded import DatabaseUrls
from relevo.store.incarnation import RETRY_SECONDS, Incarnation
from relevo.tasks import Tasks
from tests.fakes.clock import ManualClock, until
from tests.store_rig import NOON, owner_rows

pytestmark = pytest.mark.postgres


class Life:
    """An incarnation and whoever takes the lock's connection from it."""

    def __init__(self, urls: DatabaseUrls) -> None:
        self.urls = urls
        self.failures: list[BaseException] = []
        self.clock = ManualClock(NOON)
        self.tasks = Tasks(self.failures.append)
        self.incarnation = Incarnation(urls.url, self.tasks, self.clock)

    @property
    def named(self) -> bool:
        try:
            self.incarnation.number()
        except StoreUnavailableError:
            return False
        return True

    async def holders(self) -> list[int]:
        """Return the numbers that are held as locks."""
        rows = await owner_rows(
            self.urls,
            "SELECT objid::int AS number FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        return [row["number"] for row in rows]

    async def cut(self) -> None:
        """Break the connection that holds the lock."""
        connection = await asyncpg.connect(self.urls.url)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        finally:
            await connection.close()

    def try_again(self) -> None:
        due = self.clock.next_alarm_at
        assert due is not None
        assert (due - self.clock.now()).total_seconds() == RETRY_SECONDS
        self.clock.advance_to(due)


@pytest.fixture
async def life(database: DatabaseUrls) -> AsyncIterator[Life]:
    life = Life(database)
    await life.incarnation.take()
    yield life
    await life.tasks.cancel()
    await life.incarnation.release()
    assert await life.holders() == []


async def test_a_number_is_held_as_a_lock(life: Life) -> None:
    assert await life.holders() == [life.incarnation.number()]


async def test_who_loses_the_lock_takes_a_new_number(life: Life) -> None:
    first = life.incarnation.number()
    await life.cut()
    await until(lambda: life.named and life.incarnation.number() > first)
    assert await life.holders() == [life.incarnation.number()]
    assert life.failures == []


async def test_a_number_that_cannot_be_had_is_asked_for_again_whatever_is_wrong(life: Life) -> None:
    await owner_rows(life.urls, "REVOKE USAGE ON SEQUENCE incarnation_id FROM relevo_sweep")
    await life.cut()
    for tries in (1, 2):
        await until(lambda: life.clock.next_alarm_at is not None)
        assert not life.named
        assert len(life.failures) == tries
        if tries == 1:
            life.try_again()
    assert {type(error) for error in life.failures} == {asyncpg.InsufficientPrivilegeError}
    sessions = "SELECT FROM pg_stat_activity WHERE datname = current_database()"
    assert len(await owner_rows(life.urls, f"{sessions} AND usename = 'relevo'")) == 0
    await owner_rows(life.urls, "GRANT USAGE ON SEQUENCE incarnation_id TO relevo_sweep")
    life.try_again()
    await until(lambda: life.named)
    assert await life.holders() == [life.incarnation.number()]
