"""A person takes a chat, gives it back, or wants it answered now.

Each is a row before it is done: a server that runs finds a request by its sweep, and no reply is
committed past a hold, whose version it would have to expect.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relevo.messages import Author, ConversationKey, Source, Untold
from relevo.store.following import lock
from relevo.store.inspection import conversations_of
from relevo.store.outbound import put_waiting
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection, Pools

UNTIL_RESUMED = datetime(9999, 12, 31, tzinfo=UTC)
"""The end of a hold that only a person ends."""


@dataclass(frozen=True, slots=True)
class Known:
    """A conversation that an address leads to."""

    key: ConversationKey
    canonical_key: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a hold was that has ended: its end if it was still to come, and who came meanwhile."""

    held_until: datetime | None
    messages: int
    """Held ones that nobody has answered or been told."""


async def known(pools: "Pools", business_id: str, address: str, region: str) -> list[Known]:
    """Return the conversations that an address leads to, in any spelling."""
    async with pools.tenant(business_id) as connection:
        rows = await conversations_of(connection, business_id, address, region)
    return [Known(ConversationKey(business_id, row["id"]), row["canonical_key"]) for row in rows]


async def hold(pools: "Pools", key: ConversationKey, until: datetime) -> None:
    """Stay silent towards a customer until an instant; replaces a hold that was set before."""
    async with pools.tenant(key.business_id) as connection:
        await put_hold(connection, key, until)


async def resume(pools: "Pools", key: ConversationKey, now: datetime) -> Resumed | None:
    """End a hold now, also one by a colleague's message. What came during it is not answered."""
    async with pools.tenant(key.business_id) as connection:
        return await end_hold(connection, key, now)


async def answer(pools: "Pools", key: ConversationKey, now: datetime) -> int:
    """Ask for an answer to all that waits; return how many messages. 0: nothing is changed."""
    async with pools.tenant(key.business_id) as connection:
        return await ask(connection, key, "answer", now)


async def put_hold(connection: "Connection", key: ConversationKey, until: datetime) -> bool:
    """Hold a conversation within a transaction; False: it is not known."""
    here = await lock(connection, key)
    if here is None:
        return False
    await connection.fetch(statements("holding")["hold"], *here, until)
    return True


async def end_hold(connection: "Connection", key: ConversationKey, now: datetime) -> Resumed | None:
    """End a hold within a transaction; None: this conversation is not known."""
    sql = statements("holding")
    here = await lock(connection, key)
    if here is None:
        return None
    ended = await connection.fetchrow(sql["resume"], *here, now)
    waiting = await connection.fetchrow(sql["waiting"], *here)
    assert ended is not None
    assert waiting is not None
    until = ended["hold_until"]
    return Resumed(until if until is not None and until > now else None, waiting["held"])


async def ask(connection: "Connection", key: ConversationKey, word: str, now: datetime) -> int:
    """Resume, and store that a person wants an answer; return to how many messages.

    Asked twice before a server has seen it is asked once. 0: nothing waits, nothing is changed.
    """
    sql = statements("holding")
    key = await lock(connection, key) or key
    waiting = await connection.fetchrow(sql["waiting"], *key)
    assert waiting is not None
    if not waiting["messages"]:
        return 0
    await connection.execute(sql["resume"], *key, now)
    if not waiting["requests"]:
        request = {
            "author": Author.SYSTEM,
            "kind": "request",
            "body": word,
            "source": Source.API,
            "state": Untold.ASKED,
        }
        asked = await put_waiting(connection, key, request, now)
        assert asked is not None, "who has a message that waits has written"
    return int(waiting["messages"])
