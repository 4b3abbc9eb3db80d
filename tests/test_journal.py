"""What only the real database can show of turn commits: races, groups, refusals, fences."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from relevo.messages import (
    Address,
    Author,
    ConversationKey,
    Fate,
    Message,
    Source,
    StatusUpdate,
    Untold,
)
from relevo.store.embedded import DatabaseUrls
from relevo.turns import (
    Marks,
    Outcome,
    Part,
    PartState,
    RecallStatus,
    Stage,
    Turn,
    Verdict,
)
from relevo.writes import DeadLetter, Rows, Writes
from tests.store_rig import BUSINESS, LINE, NOON, PHONE, Desk, deadlocks, desk, phone, said

pytestmark = pytest.mark.postgres

MANY = 300
SENDERS = 150


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def test_of_two_commits_at_once_exactly_one_wins(store: Desk) -> None:
    rows = await met(store, 1)
    results = await asyncio.gather(
        *(store.journal.commit(told_by(rows, f"reason {n}")) for n in range(8))
    )
    assert sorted(results) == [False] * 7 + [True]
    assert await store.version() == rows.conversation.version + 1
    [turn] = await store.rows("SELECT reason FROM turn")
    assert turn["reason"] == f"reason {results.index(True)}"


async def test_of_two_small_steps_at_once_exactly_one_wins(store: Desk) -> None:
    rows = await met(store, 1)
    step = Writes(rows.conversation, told=(rows.untold[0].id,))
    assert sorted(await asyncio.gather(*map(store.journal.commit, (step, step)))) == [False, True]
    assert await store.version() == rows.conversation.version + 1


async def test_of_two_processes_commits_at_once_exactly_one_wins(database: DatabaseUrls) -> None:
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(desk(database)) for _ in range(4)]
        rows = await met(processes[0], 1)
        results = await asyncio.gather(
            *(p.journal.commit(told_by(rows, f"reason {n}")) for n, p in enumerate(processes))
        )
        assert sorted(results) == [False] * 3 + [True]
        [turn] = await processes[0].rows("SELECT reason FROM turn")
        assert turn["reason"] == f"reason {results.index(True)}"


async def test_a_colleague_who_came_in_between_makes_a_commit_lose(store: Desk) -> None:
    rows = await met(store, 1)
    await store.deliver(said("Yo me encargo", author=Author.AGENT, addresses=phone(1)))
    assert await store.journal.commit(told_by(rows, "too late")) is False
    assert await store.value("SELECT count(*) FROM turn") == 0


async def test_a_recalled_message_that_is_stored_by_now_loses_its_step_alone(store: Desk) -> None:
    rows = [await met(store, n) for n in (1, 2, 3)]
    await store.deliver(said("Sigo aqui", "wamid.9", addresses=phone(2)))
    steps = [
        recalling(rows[0], 5001, "wamid.5", "a5"),
        recalling(rows[1], 5002, "a9", "wamid.9"),
        recalling(rows[2], 5003, "wamid.6"),
    ]
    assert await asyncio.gather(*map(store.journal.commit, steps)) == [True, False, True]
    keys = await store.rows("SELECT key FROM message_key WHERE message_id >= 5000 ORDER BY key")
    assert [row["key"] for row in keys] == ["a5", "wamid.5", "wamid.6"]
    stored = await store.rows("SELECT id FROM message WHERE id >= 5000 ORDER BY id")
    assert [row["id"] for row in stored] == [5001, 5003]
    turns = await store.rows("SELECT conversation_id FROM turn")
    lost = rows[1].conversation.key.conversation_id
    assert lost not in {row["conversation_id"] for row in turns}
    again = replace(steps[1], recalled=())
    assert await store.journal.commit(again)


async def test_of_two_customers_recalls_of_one_message_one_wins(store: Desk) -> None:
    rows = [await met(store, n) for n in (1, 2)]
    steps = [recalling(rows[n], 5001 + n, "wamid.5") for n in range(2)]
    assert sorted(await asyncio.gather(*map(store.journal.commit, steps))) == [False, True]
    assert await store.value("SELECT count(*) FROM message WHERE id > 5000") == 1


async def test_a_step_that_the_database_refuses_fails_alone(store: Desk) -> None:
    rows = [await met(store, n) for n in (1, 2, 3)]
    steps: list[Writes] = [told_by(r, "fine") for r in rows]
    assert steps[1].turn is not None
    steps[1] = replace(steps[1], turn=replace(steps[1].turn, silence_seconds=-1))
    results = await asyncio.gather(*map(store.journal.commit, steps), return_exceptions=True)
    assert (results[0], results[2]) == (True, True)
    assert isinstance(results[1], asyncpg.CheckViolationError)
    versions = await store.rows("SELECT version FROM conversation ORDER BY id")
    assert [row["version"] for row in versions] == [1, 0, 1]


@pytest.mark.parametrize("bad", ["50370000001", "", "conv", "convX1", "resp_1"])
async def test_what_is_no_conversation_of_the_ai_is_refused(store: Desk, bad: str) -> None:
    rows = await met(store, 1)
    writes = Writes(replace(rows.conversation, ai_conversation=bad))
    with pytest.raises(asyncpg.CheckViolationError, match="openai_conversation_id_is_one"):
        await store.journal.commit(writes)
    good = Writes(replace(rows.conversation, ai_conversation="conv_1"))
    assert await store.journal.commit(good)


async def test_steps_of_many_customers_join_few_transactions(store: Desk) -> None:
    await store.deliver(*(said(f"Hola {n}", addresses=phone(n)) for n in range(MANY)))
    ids = await store.rows("SELECT id FROM conversation")
    loaded = await store.journal.load([ConversationKey(BUSINESS, row["id"]) for row in ids])
    results = await asyncio.gather(
        *(store.journal.commit(told_by(rows, "joined")) for rows in loaded.values())
    )
    assert results == [True] * MANY
    assert await store.value("SELECT count(DISTINCT xmin::text) FROM turn") <= 3


async def test_commits_and_statuses_of_the_same_replies_never_deadlock(
    database: DatabaseUrls,
) -> None:
    chance = random.Random(20260302)
    async with desk(database) as store, desk(database) as other:
        await store.deliver(*(said(f"Hola {n}", addresses=phone(n)) for n in range(SENDERS)))
        ids = await store.rows("SELECT id FROM conversation")
        keys = [ConversationKey(BUSINESS, row["id"]) for row in ids]
        loaded = await store.journal.load(keys)
        replies = [replying(loaded[key], 10_000 + n) for n, key in enumerate(keys)]
        assert all(await asyncio.gather(*map(store.journal.commit, replies)))
        names = [f"local:{part.correlation_id}" for step in replies for part in step.parts]
        for attempt, status in enumerate(("sent", "delivered", "read")):
            sent = NOON + timedelta(seconds=attempt)
            loaded = await store.journal.load(keys)
            steps = [
                Writes(r.conversation, r.turn, parts=(replace(r.parts[0], started_at=sent),))
                for r in chance.sample([*loaded.values()], k=SENDERS)
            ]
            bodies = [
                process.deliver(*(StatusUpdate((name,), status) for name in names[n::10]))
                for n in range(10)
                for process in (store, other)
            ]
            committing = [store.journal.commit(step) for step in steps]
            # A first status that comes before its commit has that lose its race, as it should.
            await asyncio.gather(*committing, *bodies)
    assert await deadlocks(database) == 0


async def test_a_turn_is_never_given_a_second_reply(store: Desk) -> None:
    rows = await met(store, 1)
    assert await store.journal.commit(replying(rows, 6001))
    again = replying(await read(store, rows.conversation.key), 6002)
    with pytest.raises(asyncpg.UniqueViolationError, match="one_reply_per_turn"):
        await store.journal.commit(again)
    assert [row["id"] for row in await store.rows("SELECT id FROM message WHERE id > 6000")] == [
        6001
    ]


async def test_a_conversation_never_has_two_open_turns(store: Desk) -> None:
    rows = await met(store, 1)
    assert await store.journal.commit(told_by(rows, "first"))
    read_again = await read(store, rows.conversation.key)
    second = told_by(read_again, "second")
    assert second.turn is not None
    other = replace(second.turn, id=second.turn.id + 1)
    with pytest.raises(asyncpg.UniqueViolationError, match="turn_open"):
        await store.journal.commit(replace(second, turn=other))


async def test_another_life_keeps_away_until_the_first_is_gone(database: DatabaseUrls) -> None:
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(desk(database))
        async with desk(database) as first:
            rows = await met(first, 1)
            key = rows.conversation.key
            assert await first.journal.commit(told_by(rows, "mine"))
            assert (await read(first, key)).fenced is False
            assert (await read(second, key)).fenced is True
        assert (await read(second, key)).fenced is False


async def test_a_fence_ends_with_its_deadline(database: DatabaseUrls) -> None:
    async with desk(database) as first, desk(database) as second:
        rows = await met(first, 1)
        key = rows.conversation.key
        assert await first.journal.commit(told_by(rows, "mine"))
        second.clock.advance_to(NOON + timedelta(seconds=89))
        assert (await read(second, key)).fenced is True
        second.clock.advance_to(NOON + timedelta(seconds=90))
        assert (await read(second, key)).fenced is False


async def test_a_deadline_of_a_turn_without_an_effect_is_no_fence(database: DatabaseUrls) -> None:
    async with desk(database) as first, desk(database) as second:
        rows = await met(first, 1)
        waiting = told_by(rows, "waits")
        assert waiting.turn is not None
        turn = replace(waiting.turn, deadline_at=None, wait_until=NOON + timedelta(seconds=4))
        assert await first.journal.commit(replace(waiting, turn=turn))
        assert (await read(second, rows.conversation.key)).fenced is False


async def test_a_dead_letter_is_closed_once_its_messages_are_told(store: Desk) -> None:
    rows = await met(store, 1)
    failed = told_by(rows, "no answer")
    assert failed.turn is not None
    ended = replace(
        failed.turn, stage=Stage.ENDED, outcome=Outcome.FAILED, ended_at=NOON, deadline_at=None
    )
    letter = DeadLetter(ended.id, "answering", "timeout")
    assert await store.journal.commit(replace(failed, turn=ended, dead_letter=letter))
    assert await store.value("SELECT closed_as FROM dead_letter") is None
    rows = await read(store, rows.conversation.key)
    assert await store.journal.commit(Writes(rows.conversation, supersedes=True))
    assert await store.value("SELECT closed_as FROM dead_letter") == "superseded"


async def test_what_is_committed_is_read_back_as_it_was(store: Desk) -> None:
    rows = await met(store, 1)
    writes = replying(rows, 6001, 6002)
    marks = Marks(NOON, NOON, None, NOON, NOON)
    conversation = replace(
        rows.conversation, marks=marks, owed_since=NOON, ai_conversation="conv_1"
    )
    assert await store.journal.commit(replace(writes, conversation=conversation))
    found = await read(store, conversation.key)
    assert found.conversation == replace(conversation, version=conversation.version + 1)
    assert (found.turn, found.parts, found.untold) == (writes.turn, writes.parts, ())
    assert [(m.body, m.untold) for m in found.told] == [("Hola 1", None)]
    assert await store.value("SELECT fate FROM message WHERE author = 'customer'") == "answered"


async def met(store: Desk, number: int) -> Rows:
    """Have a customer who has written, and return the rows."""
    body = f"Hola {number}"
    await store.deliver(said(body, addresses=phone(number)))
    found = await store.value("SELECT conversation_id FROM message WHERE body = $1", body)
    return await read(store, ConversationKey(BUSINESS, found))


async def read(store: Desk, key: ConversationKey) -> Rows:
    return (await store.journal.load([key]))[key]


def told_by(rows: Rows, reason: str) -> Writes:
    """Begin to answer whatever waits."""
    return Writes(rows.conversation, turn_of(rows, reason=reason))


def recalling(rows: Rows, message_id: int, *keys: str) -> Writes:
    """Begin to answer, with a message that only the history knew."""
    message = Message(
        id=message_id,
        author=Author.AGENT,
        kind="text",
        body="Ya le aparte la mesa",
        event_at=NOON,
        received_at=NOON,
        source=Source.HISTORY,
        channel_id=LINE,
        address=Address("phone", PHONE),
        keys=keys,
        untold=Untold.CONTEXT,
    )
    return replace(told_by(rows, ""), recalled=(message,))


def replying(rows: Rows, *message_ids: int) -> Writes:
    """Store an answer of so many parts."""
    turn = rows.turn or turn_of(rows)
    parts = tuple(
        Part(
            message_id=message_id,
            turn_id=turn.id,
            number=number,
            text="Claro",
            correlation_id=f"relevo-{message_id}",
            created_at=NOON,
            state=PartState.PENDING,
        )
        for number, message_id in enumerate(message_ids, start=1)
    )
    return Writes(
        rows.conversation,
        replace(turn, stage=Stage.SENDING),
        parts=parts,
        answers=True,
        told=turn.message_ids,
        fates=tuple((message_id, Fate.ANSWERED) for message_id in turn.message_ids),
    )


def turn_of(rows: Rows, **more: Any) -> Turn:
    own = tuple(m.id for m in rows.untold)
    return Turn(
        id=max(own, default=1),
        stage=Stage.ANSWERING,
        channel_id=LINE,
        address=Address("phone", PHONE),
        opened_at=NOON,
        closed_at=NOON,
        previous_customer_at=None,
        previous_assistant_at=None,
        verdict=Verdict.NONE,
        silence_seconds=0.0,
        threshold_seconds=300.0,
        message_ids=own,
        newest_at=NOON,
        recall=RecallStatus.NOT_NEEDED,
        attempt=1,
        deadline_at=NOON + timedelta(seconds=90),
        **more,
    )
