"""Whoever knows a conversation by its id finds it again after it was merged into another one."""

from typing import TYPE_CHECKING

from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection

FOLLOWS_MAX = 10
"""Merges of one conversation that are followed while its lock is waited for."""


async def find(connection: "Connection", key: ConversationKey) -> ConversationKey | None:
    """Return a conversation's key, or that of the one that it was merged into; None: neither."""
    found = await connection.fetchval(statements("merging")["survivor_of"], *key)
    return None if found is None else ConversationKey(key.business_id, found)


async def lock(connection: "Connection", key: ConversationKey) -> ConversationKey | None:
    """Lock a conversation, or the one that it was merged into, and return which; None: neither.

    Before anything else is read or written of it, as turn commits do.

    Raises:
        StoreUnavailableError: if it is merged again and again.
    """
    for _ in range(FOLLOWS_MAX):
        if await connection.fetch(statements("outbound")["lock"], *key):
            return key
        found = await find(connection, key)
        if found is None:
            return None
        key = found
    raise StoreUnavailableError("a conversation is merged again and again")
