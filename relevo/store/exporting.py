"""Everything that is known of a customer, as it stands at one instant, section by section."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.messages import Address, ConversationKey
from relevo.store.forgetting import Named, named_by
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection, Pools

MESSAGES = "messages"
DELIVERIES = "deliveries"
STAGED = "staged"
SECTIONS = (
    *("conversation", "addresses", MESSAGES, "turns", "sends", "asked_sends", "waiting"),
    *("dead_letters", "merges", "links", "ai_conversations", DELIVERIES, STAGED),
)
PREFETCH_ROWS = 200
"""Held in memory at once, however long a thread is."""


@dataclass(frozen=True, slots=True)
class Export:
    """One customer, at one instant."""

    connection: "Connection"
    key: ConversationKey
    named: Named

    async def rows(self, section: str) -> AsyncIterator[str]:
        """Yield what a section holds, each row a JSON object."""
        found = {
            DELIVERIES: (self.named.needles,),
            STAGED: (list(self.named.digits), list(self.named.values)),
        }.get(section, (self.key.conversation_id,))
        arguments = (self.key.business_id, *found)
        statement = statements("exporting")[section]
        async for row in self.connection.cursor(statement, *arguments, prefetch=PREFETCH_ROWS):
            yield row[0]


@asynccontextmanager
async def export_of(pools: "Pools", key: ConversationKey, region: str) -> AsyncIterator[Export]:
    """Lend a snapshot of everything that is known of a customer.

    Raises:
        StoreUnavailableError: if the database cannot be reached.
    """
    async with pools.tenant(key.business_id, snapshot=True) as connection:
        rows = await connection.fetch(statements("forgetting")["addresses"], *key)
        named = named_by([Address(row["kind"], row["value"]) for row in rows], region)
        yield Export(connection, key, named)
