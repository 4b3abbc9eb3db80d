"""A webhook meets its own message while somebody else stores it."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from relevo.store.embedded import DatabaseUrls
from tests.store_rig import BUSINESS, LINE, NOON, PHONE, Desk, desk, said

pytestmark = pytest.mark.postgres


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as store:
        yield store


async def test_a_webhook_that_comes_while_a_recall_stores_its_message_is_still_unread(
    store: Desk,
) -> None:
    """The recall's transaction is not over, so the webhook waits for the key, and comes second."""
    await store.deliver(said("Antes", "wamid.0"))
    recall = await asyncpg.connect(store.urls.owner_url)
    try:
        async with recall.transaction():
            await stored_from_history(recall, 1000, "wamid.9")
            delivering = asyncio.gather(store.deliver(said("Hola", "wamid.9")))
            while not await store.waiting():
                assert not delivering.done()
        [receipt] = await delivering
    finally:
        await recall.close()
    assert (len(receipt.stored), receipt.duplicates) == (1, 0)
    assert await store.people() == [{"Antes", "Hola"}]
    [row] = await store.rows("SELECT source, fate FROM message WHERE id = 1000")
    assert tuple(row) == ("webhook", "in_flight")
    assert await store.value("SELECT state FROM untold WHERE message_id = 1000") == "unread"
    assert await store.value("SELECT sum(messages) FROM accepted") == 2


async def stored_from_history(connection: asyncpg.Connection, message_id: int, key: str) -> None:
    """Store a customer's message of the only conversation, as the commit of a recall does."""
    await connection.execute(
        "INSERT INTO message (business_id, id, conversation_id, channel_id, address_kind,"
        " address_value, author, kind, body, source, event_at, received_at, fate)"
        " SELECT $1, $2, min(id), $3, 'phone', $4, 'customer', 'text', 'Hola', 'history', $5,"
        " $5, 'context' FROM conversation",
        *(BUSINESS, message_id, LINE, PHONE, NOON),
    )
    await connection.execute(
        "INSERT INTO message_key VALUES ($1, $2, $3, $4)", BUSINESS, LINE, key, message_id
    )
    await connection.execute(
        "INSERT INTO untold SELECT $1, min(id), $2, 'context', $3 FROM conversation",
        *(BUSINESS, message_id, NOON),
    )
