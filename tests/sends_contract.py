"""What any journal does with turns in doubt, what failed turns say, and sends of ours."""

from dataclasses import replace

from relevo.messages import Author, Fate, Source, Untold, correlation_key
from relevo.turns import Outcome, PartState, Purpose, Stage
from relevo.writes import DeadLetter
from tests.journal_rows import PHONE, Stores, after, loaded, opened, part_of, said, written

SORRY = "Un momento, por favor"


class SendsContract:
    """A send of ours is a message that is due, then a turn of its own."""

    async def test_a_turn_whose_answer_is_looked_for_is_read_back(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        turn = opened(stores, message.id, attempt=2, deadline_at=after(90))
        await written(stores, key, turn=turn, opens=True)
        looking = replace(turn, stage=Stage.RECONCILING, attempt=3, answer_ends_at=after(150))
        assert (await written(stores, key, turn=looking)).turn == looking

    async def test_what_a_failed_turn_says_is_due_where_the_customer_wrote(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        turn = opened(
            stores, message.id, stage=Stage.ENDED, outcome=Outcome.FAILED, ended_at=after(60)
        )
        rows = await written(
            stores,
            key,
            turn=turn,
            opens=True,
            dead_letter=DeadLetter(turn.id, "answering", "http_500"),
            untold=((message.id, Untold.FAILED),),
            fallback_text=SORRY,
        )
        (sorry,) = [m for m in rows.untold if m.untold is Untold.DUE]
        assert (sorry.author, sorry.body, sorry.source) == (Author.AUTOMATION, SORRY, Source.TURN)
        assert (sorry.channel_id, sorry.address) == (stores.line, message.address)
        assert sorry.id > message.id
        assert await stores.journal.unread(None) == {key: 1}

    async def test_a_send_of_ours_has_a_turn_without_messages(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        failed = opened(
            stores, message.id, stage=Stage.ENDED, outcome=Outcome.FAILED, ended_at=after(60)
        )
        rows = await written(
            stores, key, turn=failed, opens=True, told=(message.id,), fallback_text=SORRY
        )
        (sorry,) = rows.untold
        turn = opened(stores, sorry.id, stage=Stage.SENDING, purpose=Purpose.SEND, message_ids=())
        part = part_of(
            turn,
            sorry.id,
            text=SORRY,
            state=PartState.SENDING,
            attempt=1,
            started_at=after(70),
            first_started_at=after(70),
            deadline_at=after(90),
            window_ends_at=after(86_400),
        )
        name = correlation_key(part.correlation_id)
        rows = await written(
            stores,
            key,
            turn=turn,
            parts=(part,),
            untold=((sorry.id, Untold.CONTEXT),),
            keys=((sorry.id, name),),
        )
        assert (rows.turn, rows.parts, rows.told) == (turn, (part,), ())
        assert rows.untold == (replace(sorry, untold=Untold.CONTEXT, event_at=after(70)),)
        assert await stores.journal.unread(None) == {key: 0}
        await stores.deliver(PHONE, said(SORRY, name, author=Author.AUTOMATION, at=71))
        (echoed,) = (await loaded(stores, key)).parts
        assert echoed.proven

    async def test_what_was_given_up_for_good_was_never_told(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        await stores.deliver(PHONE, said("Que tal", at=1))
        one, other = (await loaded(stores, key)).untold
        fates = ((one.id, Fate.DEAD), (other.id, Fate.ANSWERED))
        await written(stores, key, fates=fates, told=(one.id, other.id))
        assert [m.body for m in await stores.journal.told(key, 9)] == ["Que tal"]

    async def test_a_send_that_never_left_is_not_what_was_told(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        failed = opened(
            stores, message.id, stage=Stage.ENDED, outcome=Outcome.FAILED, ended_at=after(60)
        )
        rows = await written(
            stores, key, turn=failed, opens=True, told=(message.id,), fallback_text=SORRY
        )
        (sorry,) = rows.untold
        assert [m.body for m in await stores.journal.told(key, 9)] == ["Hola"]
        turn = opened(
            stores,
            sorry.id,
            stage=Stage.ENDED,
            purpose=Purpose.SEND,
            message_ids=(),
            outcome=Outcome.REFUSED,
            ended_at=after(70),
        )
        dead = part_of(turn, sorry.id, state=PartState.DEAD, reason="window_closed")
        await written(stores, key, turn=turn, parts=(dead,), told=(sorry.id,))
        assert [m.body for m in await stores.journal.told(key, 9)] == ["Hola"]
        assert [m.body for m in await stores.journal.window(key, after(-60))] == ["Hola"]
        unseen = replace(dead, reason="send_unknown")
        await written(stores, key, parts=(unseen,))
        assert SORRY in [m.body for m in await stores.journal.window(key, after(-60))]
