"""What a person notes about a chat: its tags, and that it is closed.

A tag changes the rules that hold for a customer, so it raises the version. Closing a chat changes
nothing for the AI, and the next message opens it again without a write: closed is what has been
closed and has had no message since.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from relevo.messages import ConversationKey
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection


async def tag(connection: "Connection", key: ConversationKey, tags: Sequence[str]) -> bool:
    """Give a chat these tags instead of all it had; False: it is not known."""
    return bool(await connection.fetch(statements("chats")["tag"], *key, list(tags)))


async def close(connection: "Connection", key: ConversationKey, at: datetime | None) -> bool:
    """Close a chat now, or open it again (None); False: it is not known."""
    return bool(await connection.fetch(statements("chats")["close"], *key, at))
