"""What an error of the database means for whoever asked."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey
from relevo.store.embedded import DatabaseUrls
from relevo.store.failures import as_unavailable, is_data_error, is_retryable, is_unavailable
from relevo.store.pools import POOL_SIZES
from relevo.writes import Writes
from tests.store_rig import BUSINESS, Desk, desk, said

DATA, AGAIN, AWAY, BUG = "data", "again", "away", "bug"


def meaning(error: BaseException) -> set[str]:
    asked = {DATA: is_data_error, AGAIN: is_retryable, AWAY: is_unavailable}
    return {word for word, asks in asked.items() if asks(error)} or {BUG}


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (asyncpg.CharacterNotInRepertoireError("x"), DATA),
        (asyncpg.CheckViolationError("x"), DATA),
        (asyncpg.ProgramLimitExceededError("x"), DATA),
        (asyncpg.DataError("x"), DATA),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "x"), DATA),
        (asyncpg.DeadlockDetectedError("x"), AGAIN),
        (asyncpg.SerializationError("x"), AGAIN),
        (asyncpg.ConnectionDoesNotExistError("x"), AWAY),
        (asyncpg.AdminShutdownError("x"), AWAY),
        (asyncpg.QueryCanceledError("x"), AWAY),
        (asyncpg.DiskFullError("x"), AWAY),
        (asyncpg.TooManyConnectionsError("x"), AWAY),
        (asyncpg.InvalidPasswordError("x"), AWAY),
        (asyncpg.ReadOnlySQLTransactionError("x"), AWAY),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), AWAY),
        (asyncpg.InvalidCachedStatementError("x"), AWAY),
        (asyncpg.InterfaceError("x"), AWAY),
        (ConnectionResetError("x"), AWAY),
        (TimeoutError("x"), AWAY),
        (StoreUnavailableError("x"), AWAY),
        (asyncpg.UndefinedColumnError("x"), BUG),
        (asyncpg.InsufficientPrivilegeError("x"), BUG),
        (KeyError("x"), BUG),
    ],
    ids=lambda value: getattr(type(value), "__name__", value),
)
def test_an_error_means_one_thing(error: BaseException, means: str) -> None:
    assert meaning(error) == {means}


def test_what_has_its_name_keeps_it_and_its_words() -> None:
    named = StoreUnavailableError("no incarnation is held")
    assert as_unavailable(named) is named
    assert str(as_unavailable(TimeoutError())) == "TimeoutError"


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


@pytest.mark.postgres
async def test_a_schema_that_changes_underneath_costs_each_connection_one_try(store: Desk) -> None:
    await store.deliver(said("Hola"))
    key = ConversationKey(BUSINESS, await store.value("SELECT id FROM conversation"))
    await store.journal.load([key])
    await store.rows("ALTER TABLE turn ADD COLUMN more text")
    failed = 0
    for _ in range(POOL_SIZES["relevo_app"] + 1):
        try:
            rows = await store.journal.load([key])
        except StoreUnavailableError:
            failed += 1
        else:
            assert len(rows[key].untold) == 1
    assert 1 <= failed <= POOL_SIZES["relevo_app"]


@pytest.mark.postgres
async def test_a_commit_whose_connection_breaks_is_unavailable_and_nothing_else(
    store: Desk,
) -> None:
    await store.deliver(said("Hola"))
    key = ConversationKey(BUSINESS, await store.value("SELECT id FROM conversation"))
    conversation = (await store.journal.load([key]))[key].conversation
    holding = await asyncpg.connect(store.urls.owner_url)
    async with holding.transaction():
        await holding.execute("SELECT FROM conversation FOR UPDATE")
        committing = asyncio.gather(
            store.journal.commit(Writes(conversation)), return_exceptions=True
        )
        cut = 0
        while not cut:
            cut = await waiting_sessions_cut(store)
    await holding.close()
    [result] = await committing
    assert isinstance(result, StoreUnavailableError)
    assert await store.version() == 0
    assert await store.journal.commit(Writes(conversation))


async def waiting_sessions_cut(store: Desk) -> int:
    """Break the connections that wait for a lock; return how many did."""
    connection = await asyncpg.connect(store.urls.url)
    try:
        rows = await connection.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    finally:
        await connection.close()
    return len(rows)
