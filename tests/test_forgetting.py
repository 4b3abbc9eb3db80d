"""What has to be known to erase a customer, and that nothing of him is left."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from relevo.messages import ConversationKey
from relevo.store.embedded import DatabaseUrls
from relevo.writes import Writes
from tests.store_rig import BUSINESS, NOON, Desk, desk, said

pytestmark = pytest.mark.postgres


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def test_every_conversation_that_the_ai_ever_had_for_a_customer_is_known(store: Desk) -> None:
    await store.deliver(said("Hola"))
    key = ConversationKey(BUSINESS, await store.value("SELECT id FROM conversation"))
    await store.rows("UPDATE conversation SET openai_conversation_id = 'conv_0'")
    first = (await store.journal.load([key]))[key].conversation
    for ai_conversation in ("conv_1", "conv_1", None, "conv_2"):
        conversation = (await store.journal.load([key]))[key].conversation
        kept = Writes(replace(conversation, ai_conversation=ai_conversation))
        assert await store.journal.commit(kept)
    lost = Writes(replace(first, ai_conversation="conv_lost"))
    assert not await store.journal.commit(lost)
    known = await store.rows("SELECT id, created_at FROM ai_conversation ORDER BY id")
    assert [tuple(row) for row in known] == [
        *(("conv_0", NOON), ("conv_1", NOON), ("conv_2", NOON))
    ]
