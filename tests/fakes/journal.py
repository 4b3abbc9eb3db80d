"""`relevo.actors.ports.Journal` in memory.

journal = MemoryJournal()
key = journal.book.deliver("+50370000001", message, received_at)
assert await journal.commit(writes)
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from relevo.messages import ConversationKey, Message
from relevo.writes import Rows, Unread, Writes
from tests.fakes.book import Book


class MemoryJournal:
    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.kept: list[str] = []
        self.forgets = False
        """Customers are forgotten just now."""

    async def load(self, keys: Sequence[ConversationKey]) -> Mapping[ConversationKey, Rows]:
        return {key: self.book.rows(key) for key in keys if self.book.knows(key)}

    async def commit(self, writes: Writes) -> bool:
        return self.book.write(writes)

    async def window(
        self,
        key: ConversationKey,
        since: datetime,
        channel_id: str = "",  # noqa: ARG002  (a book has one channel)
        named: Collection[str] = (),
    ) -> tuple[Message, ...]:
        return self.book.window(key, since, named)

    async def told(self, key: ConversationKey, limit: int) -> tuple[Message, ...]:
        return self.book.told(key, limit)

    async def keep(self, key: ConversationKey, ai_conversation: str) -> bool:
        if self.forgets or not self.book.knows(key):
            return False
        self.kept.append(ai_conversation)
        return True

    async def reserve(self, count: int) -> Sequence[int]:
        return self.book.reserve(count)

    async def unread(self, received_after: datetime | None) -> Mapping[ConversationKey, Unread]:
        return self.book.unread(received_after)
