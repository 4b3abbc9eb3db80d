"""The journal in memory keeps the contract that PostgreSQL keeps."""

from datetime import datetime

import pytest

from relevo.messages import Change, ConversationKey, Fate, InboundMessage
from tests.fakes.book import CHANNEL
from tests.fakes.journal import MemoryJournal
from tests.journal_contract import JournalContract
from tests.journal_rows import NOON, Stores


class MemoryStores:
    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.line = CHANNEL
        self.now: datetime = NOON

    async def deliver(self, phone: str, message: InboundMessage) -> ConversationKey:
        return self.journal.book.deliver(phone, message, self.now)

    async def change(self, change: Change) -> None:
        self.journal.book.change(change, self.now)

    async def fates(self) -> dict[int, Fate]:
        return self.journal.book.fates()

    async def open_dead_letters(self) -> set[int]:
        return self.journal.book.open_dead_letters()


@pytest.fixture
def stores() -> Stores:
    return MemoryStores()


class TestMemoryJournal(JournalContract):
    pass
