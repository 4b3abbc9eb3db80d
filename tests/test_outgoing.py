"""Sends that somebody asks for: rows first, messages when their time has come, a status always."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from relevo.messages import (
    Address,
    Author,
    ConversationKey,
    NewContact,
    Source,
    StatusUpdate,
    Untold,
    correlation_key,
)
from relevo.outgoing import WAITING_MAX, Draft, Outgoing, Refusal, Status
from relevo.store import outgoing
from relevo.store.embedded import DatabaseUrls
from relevo.turns import Outcome, PartState, Purpose, Stage
from tests.journal_rows import after, opened, part_of, written
from tests.outgoing_rig import SCHEDULED, ask, asked, due, found, met, status
from tests.store_rig import BUSINESS, NOON, Desk, PostgresStores, desk, phone, said

pytestmark = pytest.mark.postgres

NOBODY = ConversationKey(BUSINESS, 999)
LATER = Draft("Luego", Author.AUTOMATION, due_at=NOON + timedelta(hours=1))
BY_ANA = Draft("Le espero", Author.AGENT, "Ana", created_by="key-1")


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened_desk:
        yield opened_desk


class TestNow:
    async def test_it_is_due_at_once_where_the_customer_wrote_last_and_moves_no_mark(
        self, store: Desk
    ) -> None:
        key = await met(store)
        again = said("Hola?", addresses=phone(1), after_seconds=5)
        await store.deliver(again, line="other")
        version, now = await store.version(), NOON + timedelta(hours=1)
        outgoing_id = await asked(store, key, BY_ANA, now)
        rows = (await store.journal.load([key]))[key]
        message = rows.untold[-1]
        assert (message.untold, message.body, message.kind) == (Untold.DUE, "Le espero", "text")
        assert (message.author, message.author_name) == (Author.AGENT, "Ana")
        assert message.source is Source.API
        assert (message.event_at, message.received_at) == (now, now)
        assert (message.channel_id, message.address) == ("other", phone(1)[0])
        assert rows.conversation.version == version + 1
        assert rows.conversation.marks.last_assistant_at is None
        assert await found(store, outgoing_id) == Outgoing(
            *(outgoing_id, key.conversation_id, Author.AGENT, "Ana", "Le espero", now, now),
            *(message.id, Status.QUEUED, "", None),
        )
        assert await store.journal.unread(now - timedelta(minutes=10)) == {key: 1}

    async def test_whoever_never_wrote_is_sent_nothing(self, store: Desk) -> None:
        await store.deliver(NewContact((Address("phone", "+50370000001"),)))
        assert await ask(store, store.woken[0], BY_ANA) is Refusal.NEVER_WROTE
        assert await ask(store, NOBODY, BY_ANA) is Refusal.UNKNOWN
        assert await store.rows("SELECT FROM message UNION ALL SELECT FROM outgoing") == []

    async def test_anothers_conversations_and_sends_are_not_there(self, store: Desk) -> None:
        key = await met(store)
        foreign = ConversationKey("bakery", key.conversation_id)
        assert await ask(store, foreign, BY_ANA) is Refusal.UNKNOWN
        outgoing_id = await asked(store, key, LATER)
        async with store.pools.tenant("bakery") as connection:
            assert await outgoing.find(connection, "bakery", outgoing_id) is None
            refusal = await outgoing.cancel(connection, "bakery", outgoing_id, NOON)
            assert await outgoing.page(connection, foreign, 2**63 - 1, 10) is None
        assert refusal is Refusal.UNKNOWN
        assert await status(store, outgoing_id) == ("scheduled", "")

    async def test_only_so_much_waits_in_one_conversation(self, store: Desk) -> None:
        key = await met(store)
        await store.rows(SCHEDULED, *key, NOON, WAITING_MAX - 2)
        for draft in (LATER, BY_ANA):
            await asked(store, key, draft)
        assert await ask(store, key, BY_ANA) is Refusal.TOO_MUCH
        assert await ask(store, key, LATER) is Refusal.TOO_MUCH

    async def test_a_request_that_fails_has_asked_for_nothing(self, store: Desk) -> None:
        key = await met(store)
        with pytest.raises(ZeroDivisionError):
            async with store.pools.tenant(BUSINESS) as connection:
                await outgoing.ask(connection, key, BY_ANA, NOON)
                raise ZeroDivisionError
        assert await store.rows("SELECT FROM outgoing") == []
        assert await due(store, key) == []


class TestStatus:
    async def test_it_is_read_off_the_outbox_and_what_the_provider_tells(self, store: Desk) -> None:
        key, stores = await met(store), PostgresStores(store)
        outgoing_id = await asked(store, key, BY_ANA)
        sent = await found(store, outgoing_id)
        assert sent.message_id is not None
        turn = opened(
            stores, sent.message_id, stage=Stage.SENDING, purpose=Purpose.SEND, message_ids=()
        )
        part = part_of(turn, sent.message_id, state=PartState.SENDING, started_at=after(1))
        name = correlation_key(part.correlation_id)
        told = ((sent.message_id, Untold.CONTEXT),)
        keys = ((sent.message_id, name), (sent.message_id, "wamid.1"))
        await written(stores, key, turn=turn, parts=(part,), untold=told, keys=keys)
        assert await status(store, outgoing_id) == ("sending", "")

        async def becomes(state: PartState, outcome: Outcome, reason: str = "") -> tuple[str, str]:
            await store.rows("UPDATE outbox SET state = $1, reason = $2", state, reason)
            await store.rows(
                "UPDATE turn SET stage = 'ended', ended_at = closed_at, outcome = $1", outcome
            )
            return await status(store, outgoing_id)

        dead = PartState.DEAD
        assert await becomes(dead, Outcome.FAILED, "http_400") == ("failed", "http_400")
        assert await becomes(dead, Outcome.REFUSED, "too_late") == ("refused", "too_late")
        assert await becomes(PartState.ACCEPTED, Outcome.SENT) == ("sent", "")
        assert (await found(store, outgoing_id)).sent_at == after(1)
        for news, shown in (
            ("sent", ("sent", "")),
            ("delivered", ("delivered", "")),
            ("read", ("read", "")),
            ("failed", ("failed", "not_delivered")),
        ):
            await store.deliver(StatusUpdate(("wamid.1",), news))
            assert await status(store, outgoing_id) == shown

    async def test_a_conversations_sends_come_newest_first_in_pages(self, store: Desk) -> None:
        key, other = await met(store, 1), await met(store, 2)
        ids = [await asked(store, key, LATER) for n in range(3)]
        await asked(store, other, LATER)
        async with store.pools.tenant(BUSINESS) as connection:
            pages = [
                await outgoing.page(connection, key, before_id, 2)
                for before_id in (2**63 - 1, ids[1])
            ]
            assert await outgoing.page(connection, NOBODY, 2**63 - 1, 2) is None
        assert [[sent.id for sent in page or ()] for page in pages] == [ids[:0:-1], ids[:1]]
