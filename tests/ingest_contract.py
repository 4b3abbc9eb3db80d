"""What a webhook leaves behind in any store."""

from dataclasses import replace

from relevo.messages import (
    Address,
    Author,
    ConversationKey,
    Fate,
    Message,
    Source,
    Untold,
)
from relevo.turns import (
    Conversation,
)
from tests.journal_rows import (
    NOON,
    OTHER_PHONE,
    PHONE,
    Stores,
    after,
    loaded,
    recalled,
    said,
    written,
)


class IngestContract:
    """What a webhook leaves behind, and what its repetition does not."""

    async def test_a_delivered_message_waits_to_be_answered(self, stores: Stores) -> None:
        stores.now = after(2)
        key = await stores.deliver(PHONE, said("Hola", "w1"))
        rows = await loaded(stores, key)
        (message,) = rows.untold
        assert message == Message(
            id=message.id,
            author=Author.CUSTOMER,
            author_name="Ana",
            kind="text",
            body="Hola",
            event_at=NOON,
            received_at=after(2),
            source=Source.WEBHOOK,
            channel_id=stores.line,
            address=Address("phone", PHONE),
            untold=Untold.UNREAD,
        )
        assert rows.conversation == Conversation(key)
        assert (rows.turn, rows.parts, rows.told, rows.witnesses) == (None, (), (), ())
        assert (rows.tags, rows.fenced) == ((), False)
        assert await stores.fates() == {message.id: Fate.IN_FLIGHT}

    async def test_a_twin_under_any_of_its_ids_is_the_same_message(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola", "w1", "w2"))
        assert key == await stores.deliver(PHONE, said("Hola", "w2", "w3"))
        await stores.deliver(PHONE, said("Hola", "w3"))
        assert len((await loaded(stores, key)).untold) == 1

    async def test_people_do_not_share_a_conversation(self, stores: Stores) -> None:
        one = await stores.deliver(PHONE, said("Hola", "w1"))
        two = await stores.deliver(OTHER_PHONE, said("Hola", "w2"))
        nobody = ConversationKey(one.business_id, 10**9)
        assert one != two
        assert (await stores.journal.load([one, two, nobody])).keys() == {one, two}

    async def test_what_can_forbid_a_reply_raises_the_version(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        for author, version in (
            (Author.CUSTOMER, 0),
            (Author.AUTOMATION, 0),
            (Author.AGENT, 1),
            (Author.UNKNOWN, 2),
        ):
            await stores.deliver(PHONE, said(f"de {author}", author=author))
            await stores.deliver(PHONE, said(f"de {author}", author=author))
            assert (await loaded(stores, key)).conversation.version == version

    async def test_the_businesss_side_is_context_and_has_no_fate(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("a", author=Author.AGENT))
        await stores.deliver(PHONE, said("b", author=Author.AUTOMATION, at=1))
        await stores.deliver(PHONE, said("c", author=Author.UNKNOWN, at=2))
        rows = await loaded(stores, key)
        assert [(m.body, m.untold) for m in rows.untold] == [(b, Untold.CONTEXT) for b in "abc"]
        assert await stores.fates() == {}

    async def test_a_reaction_is_kept_and_wants_nothing(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("👍", kind="reaction"))
        assert (await loaded(stores, key)).untold == ()
        assert list((await stores.fates()).values()) == [Fate.CONTEXT]

    async def test_a_clock_that_runs_ahead_is_held_back(self, stores: Stores) -> None:
        stores.now = NOON
        key = await stores.deliver(PHONE, said("pronto", at=59))
        await stores.deliver(PHONE, said("futuro", at=3600))
        timeless = replace(said("sin hora"), event_at=None)
        await stores.deliver(PHONE, timeless)
        times = {m.body: m.event_at for m in (await loaded(stores, key)).untold}
        assert times == {"pronto": after(59), "futuro": after(60), "sin hora": NOON}

    async def test_messages_are_read_in_the_order_they_were_said(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("dos", at=5))
        await stores.deliver(PHONE, said("uno", at=1))
        await stores.deliver(PHONE, said("tres", at=5))
        bodies = [m.body for m in (await loaded(stores, key)).untold]
        assert bodies == ["uno", "dos", "tres"]

    async def test_a_webhook_revives_what_only_the_history_knew(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola", "w1"))
        message = await recalled(stores, "Llego a las 3", "h1")
        before = await written(stores, key, recalled=(message,))
        stores.now = after(90)
        await stores.deliver(PHONE, said("Llego a las 3", "h1", "w2"))
        rows = await loaded(stores, key)
        (revived,) = [m for m in rows.untold if m.id == message.id]
        assert (revived.untold, revived.source) == (Untold.UNREAD, Source.WEBHOOK)
        window = await stores.journal.window(key, NOON)
        assert {m.received_at for m in (revived, window[-1])} == {after(90)}
        assert (await stores.fates())[message.id] is Fate.IN_FLIGHT
        # Else an answer that is being committed would mark it as told, and it were lost.
        assert rows.conversation.version == before.conversation.version + 1

    async def test_a_webhook_revives_nothing_that_was_told_or_joined_a_turn(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("Hola", "w1"))
        told = await recalled(stores, "contado", "h1", untold=None)
        joined = await recalled(stores, "unido", "h2", untold=Untold.UNREAD)
        failed = await recalled(stores, "fallado", "h3", untold=Untold.FAILED)
        before = await written(stores, key, recalled=(told, joined, failed))
        for message in (told, joined, failed):
            await stores.deliver(PHONE, said(message.body, *message.keys))
        assert await loaded(stores, key) == before
        assert len(await stores.fates()) == 1
