"""Messages of our own wait in their conversation, are found by a sweep, and move no mark."""

from datetime import timedelta

import pytest

from relevo.messages import Address, Author, ConversationKey, NewContact, Source, Untold
from relevo.store import outbound
from relevo.store.embedded import DatabaseUrls
from tests.store_rig import BUSINESS, NOON, desk, said

pytestmark = pytest.mark.postgres

LATER = NOON + timedelta(hours=1)


async def test_a_message_of_ours_is_due_where_the_customer_wrote_last(
    database: DatabaseUrls,
) -> None:
    async with desk(database) as store:
        await store.deliver(said("Hola"))
        key = store.woken[0]
        await store.deliver(said("Hola?", after_seconds=5), line="other")
        before = await store.version()
        queued = await outbound.queue(store.pools, key, "Feliz cumpleaños", Source.SCHEDULE, LATER)
        rows = (await store.journal.load([key]))[key]
        due = rows.untold[-1]
        assert (due.id, due.untold, due.body) == (queued, Untold.DUE, "Feliz cumpleaños")
        assert (due.author, due.kind, due.source) == (Author.AUTOMATION, "text", Source.SCHEDULE)
        assert (due.event_at, due.received_at) == (LATER, LATER)
        assert (due.channel_id, due.address) == ("other", Address("phone", "+50370000001"))
        assert rows.conversation.version == before + 1
        assert rows.conversation.marks.last_assistant_at is None
        # Of the three rows that want something, the due one is the only one that came so late.
        assert await store.journal.unread(LATER - timedelta(minutes=10)) == {key: 1}


async def test_whoever_never_wrote_is_sent_nothing(database: DatabaseUrls) -> None:
    async with desk(database) as store:
        await store.deliver(NewContact((Address("phone", "+50370000001"),)))
        nobody = ConversationKey(BUSINESS, 999)
        for key in (store.woken[0], nobody):
            assert await outbound.queue(store.pools, key, "Hola", Source.SCHEDULE, LATER) is None
        assert await store.rows("SELECT FROM message") == []


async def test_a_message_for_another_business_is_not_queued(database: DatabaseUrls) -> None:
    async with desk(database) as store:
        await store.deliver(said("Hola"))
        foreign = ConversationKey("bakery", store.woken[0].conversation_id)
        assert await outbound.queue(store.pools, foreign, "Hola", Source.SCHEDULE, LATER) is None
        assert await store.value("SELECT count(*) FROM message") == 1
