"""Turns that were given up are looked at, asked for again, or dropped, each once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from relevo.messages import ConversationKey, Fate, Untold
from relevo.store import letters
from relevo.store.embedded import DatabaseUrls
from relevo.store.forgetting import erase_all
from relevo.store.holding import UNTIL_RESUMED, hold
from relevo.store.letters import Dealt, Letter, Refusal
from relevo.store.sql import statements
from relevo.turns import Outcome, Purpose, Stage
from relevo.writes import DeadLetter, Rows, Writes
from tests.commands import BAD, CANNOT, WELL, configured
from tests.journal_rows import opened
from tests.store_rig import BUSINESS, NOON, Desk, PostgresStores, desk, phone, said, within

pytestmark = pytest.mark.postgres

LATER = NOON + timedelta(hours=1)


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


class TestList:
    async def test_the_open_ones_come_newest_first(self, store: Desk) -> None:
        first, second, third = [await given_up(store, number) for number in (1, 2, 3)]
        await within(store.pools, letters.drop, BUSINESS, second, LATER)
        found = await letters.letters(store.pools, BUSINESS, 10, closed=False)
        assert [letter.turn_id for letter in found] == [third, first]
        every = await letters.letters(store.pools, BUSINESS, 2, closed=True)
        assert [(letter.turn_id, letter.closed_as) for letter in every] == [
            (third, None),
            (second, "dropped"),
        ]
        assert await letters.open_ids(store.pools, BUSINESS) == [first, third]

    async def test_a_letter_tells_what_waits(self, store: Desk) -> None:
        turn_id = await given_up(store)
        assert await one(store, turn_id) == Letter(
            business_id=BUSINESS,
            turn_id=turn_id,
            conversation_id=store.woken[0].conversation_id,
            canonical_key="phone:hotel:+50370000001",
            stage="answering",
            reason="server_error",
            created_at=NOON,
            closed_at=None,
            closed_as=None,
            purpose="reply",
            waiting=1,
            under_way=False,
        )

    async def test_tenants_do_not_see_one_anothers(self, store: Desk) -> None:
        turn_id = await given_up(store)
        assert await letters.letter(store.pools, "bakery", turn_id) is None
        assert await letters.letters(store.pools, "bakery", 10, closed=True) == []
        refused = await within(store.pools, letters.retry, "bakery", turn_id, LATER)
        assert refused is Refusal.UNKNOWN


class TestRetry:
    async def test_its_messages_are_asked_for_and_a_hold_ends(self, store: Desk) -> None:
        turn_id = await given_up(store)
        key = store.woken[0]
        await hold(store.pools, key, UNTIL_RESUMED)
        before = await read(store, key)
        assert await within(store.pools, letters.retry, BUSINESS, turn_id, LATER) == Dealt(
            key[1], 1
        )
        rows = await read(store, key)
        assert [(m.body, m.untold) for m in rows.untold] == [
            ("Hola 1", Untold.FAILED),
            ("retry", Untold.ASKED),
        ]
        assert rows.conversation.hold_until == LATER
        assert rows.conversation.version > before.conversation.version
        assert await store.journal.unread(LATER - timedelta(minutes=10)) == {key: 1}
        closed = await one(store, turn_id)
        assert (closed.closed_at, closed.closed_as) == (LATER, "retried")

    async def test_it_is_retried_once(self, store: Desk) -> None:
        turn_id = await given_up(store)
        await within(store.pools, letters.retry, BUSINESS, turn_id, LATER)
        before = await read(store, store.woken[0])
        again = await within(store.pools, letters.retry, BUSINESS, turn_id, LATER)
        assert again is Refusal.CLOSED
        assert await read(store, store.woken[0]) == before

    async def test_what_was_told_since_is_not_asked_for_again(self, store: Desk) -> None:
        turn_id = await given_up(store)
        key = store.woken[0]
        await written(store, key, told=(turn_id,))
        before = await read(store, key)
        refused = await within(store.pools, letters.retry, BUSINESS, turn_id, LATER)
        assert refused is Refusal.WAITS_FOR_NOTHING
        fates = ((turn_id, Fate.ANSWERED),)
        await written(store, key, fates=fates, supersedes=True)
        refused = await within(store.pools, letters.retry, BUSINESS, turn_id, LATER)
        assert refused is Refusal.CLOSED
        assert (await read(store, key)).untold == before.untold == ()

    async def test_a_send_of_ours_is_not_an_answer(self, store: Desk) -> None:
        turn_id = await given_up(store, purpose=Purpose.SEND)
        refused = await within(store.pools, letters.retry, BUSINESS, turn_id, LATER)
        assert refused is Refusal.OF_A_SEND
        assert (await one(store, turn_id)).closed_at is None

    async def test_what_is_under_way_again_is_left_alone(self, store: Desk) -> None:
        turn_id = await given_up(store)
        key = store.woken[0]
        await store.deliver(said("Y?", after_seconds=9))
        rows = await read(store, key)
        both = tuple(m.id for m in rows.untold)
        turn = opened(PostgresStores(store), *both)
        await written(store, key, turn=turn, opens=True)
        for deed in (letters.retry, letters.drop):
            refused = await within(store.pools, deed, BUSINESS, turn_id, LATER)
            assert refused is Refusal.UNDER_WAY
        assert [m.id for m in (await read(store, key)).untold] == [*both]
        assert (await one(store, turn_id)).closed_at is None

    async def test_two_letters_of_a_customer_ask_for_one_answer(self, store: Desk) -> None:
        first = await given_up(store)
        second = await given_up(store)
        for turn_id in (first, second):
            dealt = await within(store.pools, letters.retry, BUSINESS, turn_id, LATER)
            assert dealt == Dealt(store.woken[0][1], 2)
        rows = await read(store, store.woken[0])
        assert [m.untold for m in rows.untold].count(Untold.ASKED) == 1


class TestDrop:
    async def test_its_messages_wait_no_longer_and_stay_dead(self, store: Desk) -> None:
        turn_id = await given_up(store)
        key = store.woken[0]
        before = await read(store, key)
        assert await within(store.pools, letters.drop, BUSINESS, turn_id, LATER) == Dealt(key[1], 1)
        rows = await read(store, key)
        assert rows.untold == ()
        assert rows.conversation.version == before.conversation.version + 1
        assert await PostgresStores(store).fates() == {turn_id: Fate.DEAD}
        dropped = await one(store, turn_id)
        assert (dropped.closed_at, dropped.closed_as) == (LATER, "dropped")
        assert await within(store.pools, letters.drop, BUSINESS, turn_id, LATER) is Refusal.CLOSED

    async def test_what_else_waits_goes_on_waiting(self, store: Desk) -> None:
        turn_id = await given_up(store)
        await given_up(store, 2)
        await store.deliver(said("Y?", after_seconds=9))
        await within(store.pools, letters.drop, BUSINESS, turn_id, LATER)
        waiting = {m.body for key in set(store.woken) for m in (await read(store, key)).untold}
        assert waiting == {"Y?", "Hola 2"}

    async def test_a_send_of_ours_can_be_dropped(self, store: Desk) -> None:
        turn_id = await given_up(store, purpose=Purpose.SEND)
        dropped = await within(store.pools, letters.drop, BUSINESS, turn_id, LATER)
        assert dropped == Dealt(store.woken[0][1], 1)


@pytest.mark.process
class TestCommands:
    async def test_a_list_is_for_people_and_for_scripts(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        empty = await relevo("dead-letters", "list")
        assert (empty.code, empty.out) == (WELL, "No dead letter is open.\n")
        first, second = [await given_up(store, number) for number in (1, 2)]
        listed = await relevo("dead-letters", "list")
        assert (listed.code, listed.errors) == (WELL, "")
        head, newest, oldest = listed.out.splitlines()
        assert head.split()[0] == "id"
        assert newest.split() == [
            *(str(second), "2026-03-02", "12:00:00Z", "hotel", "phone:hotel:+50370000002"),
            *("answering", "server_error", "1"),
        ]
        assert oldest.startswith(str(first))
        cut = await relevo("dead-letters", "list", "--limit", "1")
        assert cut.out.splitlines()[-1] == "There are more; these are the newest 1 (--limit)."
        told = orjson.loads((await relevo("dead-letters", "list", "--json")).out)
        assert [letter["turn_id"] for letter in told] == [second, first]
        assert told[0]["waiting"] == 1

    async def test_one_is_shown_with_its_turn(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        turn_id = await given_up(store)
        shown = await relevo("dead-letters", "show", str(turn_id))
        assert (shown.code, shown.errors) == (WELL, "")
        assert shown.out.startswith(f"Dead letter {turn_id} of hotel, open\n")
        assert "given up 2026-03-02 12:00:00Z while answering: server_error" in shown.out
        assert "failed (server_error)" in shown.out
        assert "customer: Hola 1" in shown.out
        told = orjson.loads((await relevo("dead-letters", "show", str(turn_id), "--json")).out)
        assert [m["text"] for m in told["turn"]["messages"]] == ["Hola 1"]
        unknown = await relevo("dead-letters", "show", "999999")
        assert (unknown.code, unknown.out) == (BAD, "There is no dead letter 999999.\n")

    async def test_one_is_retried_and_then_refused(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        turn_id = str(await given_up(store))
        retried = await relevo("dead-letters", "retry", turn_id)
        assert (retried.code, retried.out) == (
            WELL,
            (
                f"Dead letter {turn_id} is retried, with 1 message; a server that runs begins "
                "within seconds.\n"
            ),
        )
        again = await relevo("dead-letters", "retry", turn_id)
        assert (again.code, again.out) == (
            BAD,
            f"Dead letter {turn_id} cannot be retried: it is closed already.\n",
        )

    async def test_all_are_dropped_only_on_demand(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        for number in (1, 2):
            await given_up(store, number)
        for which in ("--all", "1"):
            assert "repeat it with --yes" in (await relevo("dead-letters", "drop", which)).line
        assert len(await letters.open_ids(store.pools, BUSINESS)) == 2
        dropped = await relevo("dead-letters", "drop", "--all", "--yes")
        assert (dropped.code, dropped.out) == (WELL, "2 dead letters dropped.\n")
        assert await letters.open_ids(store.pools, BUSINESS) == []
        nothing = await relevo("dead-letters", "drop", "--all", "--yes")
        assert (nothing.code, nothing.out) == (WELL, "0 dead letters dropped.\n")

    async def test_of_all_that_are_retried_the_refused_are_counted(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        await given_up(store)
        await given_up(store, 2, purpose=Purpose.SEND)
        retried = await relevo("dead-letters", "retry", "--all")
        assert (retried.code, retried.out.splitlines()) == (
            BAD,
            [
                "1 dead letter retried.",
                (
                    "1 dead letter left open: it is a send of our own, which answers nobody; send "
                    "it again where it came from."
                ),
            ],
        )

    async def test_an_id_is_a_number_and_needs_a_business_that_is_known(
        self, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        for wrong in ("0", "x", "1.5", "9" * 30):
            ended = await relevo("dead-letters", "show", wrong)
            assert ended.code == CANNOT
            assert "ID: should be a whole number from 1 to" in ended.errors
        ended = await relevo("dead-letters", "retry", "1", "--business", "inn")
        assert "--business: inn is not configured; known: hotel" in ended.line


async def test_a_letter_is_dealt_with_where_it_is_once_its_conversation_is_free(
    store: Desk,
) -> None:
    moved, lost = [await given_up(store, number) for number in (1, 2)]
    await store.deliver(said("Otra", addresses=phone(3)))
    hers, his, home = dict.fromkeys(store.woken)
    owner = await asyncpg.connect(store.urls.owner_url)
    try:
        async with owner.transaction(), store.pools.tenant(BUSINESS) as forgetting:
            await owner.execute("SELECT FROM conversation WHERE id = $1 FOR UPDATE", hers[1])
            await forgetting.execute(statements("forgetting")["lock"], *his)
            late = asyncio.gather(
                within(store.pools, letters.retry, BUSINESS, moved, LATER),
                within(store.pools, letters.drop, BUSINESS, lost, LATER),
            )
            while await store.waiting() < len((moved, lost)):
                assert not late.done()
            for table in ("address", "message", "untold", "turn", "dead_letter"):
                move = f"UPDATE {table} SET conversation_id = $1 WHERE conversation_id = $2"
                await owner.execute(move, home[1], hers[1])
            await owner.execute("DELETE FROM conversation WHERE id = $1", hers[1])
            await erase_all(forgetting, his, LATER)
        assert [*await late] == [Dealt(home.conversation_id, 2), Refusal.UNKNOWN]
    finally:
        await owner.close()


async def given_up(store: Desk, number: int = 1, *, purpose: Purpose = Purpose.REPLY) -> int:
    """Have a customer ask, and a turn about it given up; return the turn."""
    await store.deliver(said(f"Hola {number}", f"k{len(store.woken)}", addresses=phone(number)))
    key = store.woken[-1]
    turn_id = (await read(store, key)).untold[-1].id
    turn = opened(
        PostgresStores(store),
        turn_id,
        purpose=purpose,
        stage=Stage.ENDED,
        outcome=Outcome.FAILED,
        reason="server_error",
        ended_at=NOON,
    )
    await written(
        store,
        key,
        turn=turn,
        untold=((turn_id, Untold.FAILED),),
        fates=((turn_id, Fate.DEAD),),
        dead_letter=DeadLetter(turn_id, Stage.ANSWERING, "server_error"),
    )
    return turn_id


async def one(store: Desk, turn_id: int) -> Letter:
    found = await letters.letter(store.pools, BUSINESS, turn_id)
    assert found is not None
    return found


async def written(store: Desk, key: ConversationKey, **parts: Any) -> None:
    conversation = (await read(store, key)).conversation
    assert await store.journal.commit(Writes(conversation, **parts))


async def read(store: Desk, key: ConversationKey) -> Rows:
    return (await store.journal.load([key]))[key]
