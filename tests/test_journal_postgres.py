"""PostgreSQL keeps the contract that the journal in memory keeps."""

from collections.abc import AsyncIterator

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.journal_contract import JournalContract
from tests.store_rig import PostgresStores, desk

pytestmark = pytest.mark.postgres


@pytest.fixture
async def stores(database: DatabaseUrls) -> AsyncIterator[PostgresStores]:
    async with desk(database) as store:
        yield PostgresStores(store)


class TestPostgresJournal(JournalContract):
    pass
