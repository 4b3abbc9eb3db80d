"""What a thread looks like in any journal."""

from dataclasses import replace
from typing import Any

from relevo.messages import (
    Author,
    Fate,
    Source,
    Untold,
    correlation_key,
)
from relevo.turns import (
    PartState,
)
from relevo.writes import Absorbed
from tests.journal_rows import (
    NOON,
    OTHER_PHONE,
    PHONE,
    Stores,
    after,
    loaded,
    opened,
    recalled,
    replying,
    said,
    written,
)


class ThreadContract:
    """Replies, rows that turn out to be one, and what is read of a thread."""

    async def test_the_parts_of_a_reply_are_messages_known_by_their_correlation(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        turn, parts = await replying(stores, key, message.id, 2)
        rows = await loaded(stores, key)
        assert (rows.turn, rows.parts, rows.untold) == (turn, tuple(parts), ())
        assert rows.told == (replace(message, untold=None),)
        window = await stores.journal.window(key, NOON)
        replies = [m for m in window if m.author is Author.ASSISTANT]
        assert [(m.id, m.body) for m in replies] == [(p.message_id, p.text) for p in parts]
        assert [m.keys for m in replies] == [(correlation_key(p.correlation_id),) for p in parts]
        echo = said("eco", correlation_key(parts[0].correlation_id), "s1", author=Author.UNKNOWN)
        await stores.deliver(PHONE, echo)
        assert (await loaded(stores, key)).untold == ()

    async def test_the_echo_of_a_send_that_has_not_ended_proves_it_once(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        turn, (one, two) = await replying(stores, key, message.id, 2)
        sent = replace(one, state=PartState.ACCEPTED, started_at=after(50))
        lost = replace(two, state=PartState.UNKNOWN, started_at=after(55))
        rows = await written(stores, key, turn=turn, parts=(sent, lost))
        version = rows.conversation.version
        for part, raised in ((one, 0), (two, 1), (two, 1)):
            echo = said("eco", correlation_key(part.correlation_id), author=Author.AGENT)
            await stores.deliver(PHONE, echo)
            rows = await loaded(stores, key)
            # Else memory would go on looking for it, and send it again.
            assert rows.conversation.version == version + raised
            assert rows.untold == ()
            assert [p.proven for p in rows.parts] == [False, bool(raised)]

    async def test_a_part_is_replaced_and_dated_when_it_left(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        turn, (one, two) = await replying(stores, key, message.id, 2)
        sent = replace(
            one,
            state=PartState.ACCEPTED,
            attempt=2,
            started_at=after(200),
            first_started_at=after(100),
            deadline_at=after(220),
            resent=True,
            reason="timeout",
        )
        started = replace(two, state=PartState.SENDING, attempt=1, started_at=after(300))
        rows = await written(
            stores, key, turn=turn, parts=(sent, started), keys=((one.message_id, "s1"),)
        )
        assert rows.parts == (sent, started)
        window = await stores.journal.window(key, NOON)
        dates = {m.id: m.event_at for m in window if m.author is Author.ASSISTANT}
        assert dates == {one.message_id: after(200), two.message_id: after(300)}
        await stores.deliver(PHONE, said("parte 1", "s1", author=Author.AGENT, at=200))
        assert (await loaded(stores, key)).untold == ()

    async def test_a_row_that_gives_way_leaves_its_ids_behind(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola", "w1"))
        (kept,) = (await loaded(stores, key)).untold
        twin = await recalled(stores, "Hola", "h1", "h2")
        await written(stores, key, recalled=(twin,))
        pair = Absorbed(twin.id, kept.id, by_webhook=False)
        assert (await written(stores, key, absorbed=(pair,))).untold == (kept,)
        (row,) = await stores.journal.window(key, NOON)
        assert set(row.keys) == {"w1", "h1", "h2"}
        await stores.deliver(PHONE, said("Hola", "h2"))
        assert (await loaded(stores, key)).untold == (kept,)

    async def test_a_row_that_takes_in_a_webhooks_counts_as_delivered(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola", "w1"))
        (came,) = (await loaded(stores, key)).untold
        known = await recalled(stores, "Hola", "h1", untold=None)
        await written(stores, key, recalled=(known,))
        pair = Absorbed(came.id, known.id, by_webhook=True)
        assert (await written(stores, key, absorbed=(pair,))).untold == ()
        (row,) = await stores.journal.window(key, NOON)
        assert (row.id, row.source, set(row.keys)) == (known.id, Source.WEBHOOK, {"w1", "h1"})
        assert await stores.fates() == {known.id: Fate.CONTEXT}

    async def test_an_echo_taken_in_leaves_a_reply_a_reply(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola", "w1"))
        (message,) = (await loaded(stores, key)).untold
        _, (part,) = await replying(stores, key, message.id)
        await stores.deliver(PHONE, said(part.text, "s1", author=Author.AGENT, at=41))
        rows = await loaded(stores, key)
        (echo,) = rows.untold
        assert [m.id for m in rows.witnesses] == [part.message_id]
        pair = Absorbed(echo.id, part.message_id, by_webhook=True)
        rows = await written(stores, key, absorbed=(pair,))
        assert (rows.untold, len(rows.parts)) == ((), 1)
        (reply,) = [m for m in await stores.journal.window(key, NOON) if not m.inbound]
        assert reply.source is Source.TURN

    async def test_witnesses_are_near_in_time_on_one_side_and_of_the_same_words_or_none(
        self, stores: Stores
    ) -> None:
        stores.now = after(101)
        key = await stores.deliver(PHONE, said("Hola", "w1", at=100))
        await stores.deliver(PHONE, said("Hola", "w2", at=101))
        others: dict[str, dict[str, Any]] = {
            "near": {"event_at": after(102), "body": " Hola "},
            "before": {"event_at": after(-20)},
            "long before": {"event_at": after(-21)},
            "after": {"event_at": after(221)},
            "long after": {"event_at": after(222)},
            "without words": {"event_at": after(103), "kind": "image", "body": ""},
            "other words": {"event_at": after(100), "body": "Adios"},
            "other kind": {"event_at": after(100), "kind": "image"},
            "other side": {"event_at": after(100), "author": Author.AGENT},
        }
        found = {}
        for name, changes in others.items():
            message = replace(await recalled(stores, "Hola", name), **changes)
            found[message.id] = name
            await written(stores, key, recalled=(message,))
        witnesses = (await loaded(stores, key)).witnesses
        near = ["before", "other kind", "near", "without words", "after"]
        assert [found[m.id] for m in witnesses] == near
        assert {m.untold for m in witnesses} == {Untold.CONTEXT}

    async def test_a_window_begins_at_its_instant_and_holds_what_has_no_time(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("antes", at=-1))
        await stores.deliver(PHONE, said("desde", "w1", "w2"))
        untimed = await recalled(
            stores, "sin hora", "h1", event_at=after(-900), timed=False, untold=None
        )
        await written(stores, key, recalled=(untimed,))
        window = await stores.journal.window(key, NOON)
        assert [m.body for m in window] == ["sin hora", "desde"]
        assert [set(m.keys) for m in window] == [{"h1"}, {"w1", "w2"}]
        assert [m.untold for m in window] == [None, Untold.UNREAD]

    async def test_a_window_holds_what_is_named_by_an_id_wherever_it_is(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("antes", "w1", at=-1))
        other = await stores.deliver(OTHER_PHONE, said("otra persona", "w2", at=-2))
        assert key != other
        window = await stores.journal.window(key, NOON, stores.line, {"w1", "w2", "w3"})
        assert [(m.body, m.keys) for m in window] == [("otra persona", ("w2",)), ("antes", ("w1",))]

    async def test_an_id_belongs_to_the_message_that_had_it_first(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("uno", "w1"))
        await stores.deliver(PHONE, said("dos", "w2", at=1))
        one, two = (await loaded(stores, key)).untold
        turn = opened(stores, two.id)
        await written(stores, key, turn=turn, keys=((one.id, "w2"), (one.id, "h1")))
        window = await stores.journal.window(key, NOON)
        assert [set(m.keys) for m in window] == [{"w1", "h1"}, {"w2"}]

    async def test_told_is_what_the_ai_knows_and_no_more(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola", "w1"))
        await stores.deliver(PHONE, said("👍", kind="reaction", at=1))
        (message,) = (await loaded(stores, key)).untold
        turn, (one, two) = await replying(stores, key, message.id, 2)
        sent = replace(one, state=PartState.ACCEPTED, started_at=after(50))
        unsent = replace(two, state=PartState.CANCELLED)
        await written(stores, key, turn=turn, parts=(sent, unsent))
        await stores.deliver(PHONE, said("espera", "w2", at=60))
        told = await stores.journal.told(key, 10)
        assert [m.body for m in told] == ["Hola", "parte 1"]
        assert [m.body for m in await stores.journal.told(key, 1)] == ["parte 1"]

    async def test_a_sweep_finds_unread_rows_and_when_taking_over_open_turns(
        self, stores: Stores
    ) -> None:
        stores.now = NOON
        one = await stores.deliver(PHONE, said("Hola", "w1"))
        stores.now = after(60)
        await stores.deliver(PHONE, said("Alo?", "w2", at=60))
        two = await stores.deliver(OTHER_PHONE, said("Hola", "w3", at=60))
        assert await stores.journal.unread(None) == {one: 2, two: 1}
        assert await stores.journal.unread(after(30)) == {one: 1, two: 1}
        (message,) = (await loaded(stores, two)).untold
        turn = opened(stores, message.id)
        await written(stores, two, turn=turn, untold=((message.id, Untold.CONTEXT),))
        assert await stores.journal.unread(None) == {one: 2, two: 0}
        assert await stores.journal.unread(after(30)) == {one: 1}
