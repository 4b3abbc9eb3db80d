"""What a commit does in any journal."""

from dataclasses import replace

from relevo.messages import (
    Author,
    Fate,
    Untold,
)
from relevo.turns import (
    Conversation,
    Cost,
    Marks,
    Outcome,
    RecallReason,
    RecallStatus,
    Stage,
    Verdict,
)
from relevo.writes import DeadLetter, Writes
from tests.journal_rows import (
    PHONE,
    Stores,
    after,
    loaded,
    opened,
    recalled,
    said,
    written,
)


class CommitContract:
    """A step is committed whole, on the version it was decided on, or not at all."""

    async def test_a_commit_raises_the_version_and_keeps_the_marks(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        conversation = Conversation(
            key,
            marks=Marks(after(1), after(2), after(3), after(4), after(5)),
            owed_since=after(-120),
            ai_conversation="conv_1",
        )
        assert await stores.journal.commit(Writes(conversation))
        rows = await loaded(stores, key)
        assert rows.conversation == replace(conversation, version=1)

    async def test_an_ai_conversation_is_kept_only_for_who_is_there(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        assert await stores.journal.keep(key, "conv_1")
        assert await stores.journal.keep(key, "conv_1")
        nobody = key._replace(conversation_id=key.conversation_id + 1000)
        assert not await stores.journal.keep(nobody, "conv_2")

    async def test_a_step_that_was_decided_on_an_older_version_writes_nothing(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        rows = await loaded(stores, key)
        (message,) = rows.untold
        await stores.deliver(PHONE, said("Le atiendo", author=Author.AGENT, at=1))
        before = await loaded(stores, key)
        lost = await recalled(stores, "perdido", "h1")
        assert not await stores.journal.commit(
            Writes(
                replace(rows.conversation, ai_conversation="conv_1"),
                turn=opened(stores, message.id),
                recalled=(lost,),
                fates=((message.id, Fate.ANSWERED),),
                told=(message.id,),
                keys=((message.id, "k1"),),
                opens=True,
            )
        )
        assert await loaded(stores, key) == before
        assert await stores.fates() == {message.id: Fate.IN_FLIGHT}
        for name in ("h1", "k1"):
            await stores.deliver(PHONE, said(name, name, at=2))
        assert len((await loaded(stores, key)).untold) == 4

    async def test_a_recalled_message_that_is_stored_already_loses_the_race(
        self, stores: Stores
    ) -> None:
        key = await stores.deliver(PHONE, said("Hola", "w1"))
        before = await loaded(stores, key)
        new = await recalled(stores, "nuevo", "h1")
        twin = await recalled(stores, "Hola", "w1", "h2")
        writes = Writes(before.conversation, recalled=(new, twin))
        assert not await stores.journal.commit(writes)
        assert await loaded(stores, key) == before
        rows = await written(stores, key, recalled=(new,))
        assert {m.body for m in rows.untold} == {"Hola", "nuevo"}

    async def test_told_is_the_last_word_about_what_waits(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        messages = [await recalled(stores, body, body) for body in ("a", "b", "c")]
        a, b, c = (m.id for m in messages)
        rows = await written(
            stores,
            key,
            recalled=tuple(messages),
            untold=((a, Untold.FAILED), (b, Untold.FAILED)),
            told=(b,),
        )
        waiting = {m.id: m.untold for m in rows.untold if m.id in {a, b, c}}
        assert waiting == {a: Untold.FAILED, c: Untold.CONTEXT}

    async def test_a_fate_may_change_and_stays_one(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        ((message_id, _),) = (await stores.fates()).items()
        for fate in (Fate.DEAD, Fate.ANSWERED):
            await written(stores, key, fates=((message_id, fate),))
            assert await stores.fates() == {message_id: fate}

    async def test_what_only_the_history_brought_is_not_counted(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        message = await recalled(stores, "Llego", "h1")
        rows = await written(stores, key, recalled=(message,))
        (stored,) = [m for m in rows.untold if m.id == message.id]
        assert stored == replace(message, keys=())
        assert len(await stores.fates()) == 1

    async def test_an_open_turn_is_read_back_as_it_was_written(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        turn = opened(
            stores,
            message.id,
            stage=Stage.RECALLING,
            previous_customer_at=after(-600),
            previous_assistant_at=after(-500),
            verdict=Verdict.GAP,
            recall_reasons=(RecallReason.GAP, RecallReason.LATE),
            recall_since=after(-620),
            recall_urgent=True,
            recall_known_to=after(-500),
            attempt=1,
            deadline_at=after(45),
        )
        assert (await written(stores, key, turn=turn, opens=True)).turn == turn
        later = replace(
            turn,
            stage=Stage.ANSWERING,
            recall=RecallStatus.COMPLETE,
            recall_reasons=(RecallReason.LATE, RecallReason.OWED),
            recall_since=after(-900),
            recall_urgent=False,
            recall_known_to=after(-780),
            recalled=2,
            matched_by_content=1,
            missed_ids=(7, 5),
            missed_left_out=3,
            attempt=2,
            tries=1,
            replaced=True,
            wait_until=after(50),
            deadline_at=None,
            response_id="resp_1",
            model="model-1",
            cost=Cost(1, 2, 3, 4, 0.5),
        )
        assert (await written(stores, key, turn=later)).turn == later
        ended = replace(later, stage=Stage.ENDED, outcome=Outcome.NO_REPLY, ended_at=after(60))
        assert (await written(stores, key, turn=ended)).turn is None

    async def test_a_dead_letter_is_open_until_its_messages_were_told(self, stores: Stores) -> None:
        key = await stores.deliver(PHONE, said("Hola"))
        (message,) = (await loaded(stores, key)).untold
        turn = opened(
            stores, message.id, stage=Stage.ENDED, outcome=Outcome.FAILED, ended_at=after(60)
        )
        letter = DeadLetter(turn.id, "answering", "http_401")
        await written(stores, key, turn=turn, opens=True, dead_letter=letter)
        assert await stores.open_dead_letters() == {turn.id}
        await written(stores, key, supersedes=True)
        assert await stores.open_dead_letters() == set()

    async def test_ids_are_reserved_once_and_ascending(self, stores: Stores) -> None:
        ids = [*await stores.journal.reserve(3), *await stores.journal.reserve(2)]
        assert ids == sorted(set(ids))
        assert len(ids) == 5
        assert list(await stores.journal.reserve(0)) == []
