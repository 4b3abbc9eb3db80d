"""PostgreSQL keeps the contract that the journal in memory keeps."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime

import pytest

from relevo.actors.ports import Journal
from relevo.messages import Address, ConversationKey, Delivery, Fate, InboundMessage
from relevo.store.embedded import DatabaseUrls
from tests.journal_contract import JournalContract
from tests.journal_rows import NOON
from tests.store_rig import BUSINESS, LINE, Desk, desk

pytestmark = pytest.mark.postgres


class PostgresStores:
    def __init__(self, store: Desk) -> None:
        self._store = store
        self.journal: Journal = store.journal
        self.line = LINE
        self.now: datetime = NOON

    async def deliver(self, phone: str, message: InboundMessage) -> ConversationKey:
        told = replace(message, addresses=(Address("phone", phone),))
        await self._store.inbox.deliver(Delivery(BUSINESS, LINE, (told,), b"{}", self.now))
        found = await self._store.value(
            "SELECT conversation_id FROM address WHERE kind = 'phone' AND value = $1", phone
        )
        return ConversationKey(BUSINESS, found)

    async def fates(self) -> dict[int, Fate]:
        rows = await self._store.rows(
            "SELECT id, fate FROM message WHERE author = 'customer' AND source = 'webhook'"
        )
        return {row["id"]: Fate(row["fate"]) for row in rows}

    async def open_dead_letters(self) -> set[int]:
        rows = await self._store.rows("SELECT turn_id FROM dead_letter WHERE closed_at IS NULL")
        return {row["turn_id"] for row in rows}


@pytest.fixture
async def stores(database: DatabaseUrls) -> AsyncIterator[PostgresStores]:
    async with desk(database) as store:
        yield PostgresStores(store)


class TestPostgresJournal(JournalContract):
    pass
