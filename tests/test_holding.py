"""A person takes a chat, gives it back, or wants it answered: rows that a server finds."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from relevo.messages import Address, Author, ConversationKey, Fate, NewContact, Source, Untold
from relevo.store import holding
from relevo.store.embedded import DatabaseUrls
from relevo.store.holding import UNTIL_RESUMED, Resumed
from relevo.writes import Rows, Writes
from tests.commands import BAD, CANNOT, WELL, configured
from tests.store_rig import BUSINESS, NOON, PHONE, Desk, desk, said

pytestmark = pytest.mark.postgres

SPELLINGS = (PHONE, PHONE[1:], "7000-0001", "+503 7000 0001")


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


class TestHold:
    async def test_memory_is_told_of_a_hold_by_the_version(self, store: Desk) -> None:
        key = await met(store)
        before = await read(store, key)
        await holding.hold(store.pools, key, after(60))
        held = await read(store, key)
        assert held.conversation.hold_until == after(60)
        assert held.conversation.version == before.conversation.version + 1
        assert held.untold == before.untold
        assert not await store.journal.commit(Writes(before.conversation))

    async def test_a_second_hold_is_the_one_that_counts(self, store: Desk) -> None:
        key = await met(store)
        for until in (UNTIL_RESUMED, after(60)):
            await holding.hold(store.pools, key, until)
        assert (await read(store, key)).conversation.hold_until == after(60)

    async def test_a_hold_of_another_business_holds_nothing(self, store: Desk) -> None:
        key = await met(store)
        before = await read(store, key)
        await holding.hold(store.pools, ConversationKey("bakery", key.conversation_id), after(60))
        assert await read(store, key) == before


class TestResume:
    async def test_a_hold_ends_now_and_what_came_meanwhile_stays_held(self, store: Desk) -> None:
        key = await met(store)
        await holding.hold(store.pools, key, UNTIL_RESUMED)
        await meanwhile(store, Untold.HELD)
        resumed = await holding.resume(store.pools, key, after(60))
        assert resumed == Resumed(UNTIL_RESUMED, 1)
        rows = await read(store, key)
        assert rows.conversation.hold_until == rows.conversation.hold_released_at == after(60)
        assert [m.untold for m in rows.untold] == [Untold.HELD]

    async def test_a_chat_that_was_never_held_is_not_held_until_now(self, store: Desk) -> None:
        key = await met(store)
        version = (await read(store, key)).conversation.version
        assert await holding.resume(store.pools, key, after(60)) == Resumed(None, 0)
        resumed = (await read(store, key)).conversation
        assert (resumed.hold_until, resumed.hold_released_at) == (None, after(60))
        assert resumed.version == version + 1

    async def test_a_hold_that_was_over_ended_when_it_did(self, store: Desk) -> None:
        key = await met(store)
        await holding.hold(store.pools, key, after(10))
        assert await holding.resume(store.pools, key, after(60)) == Resumed(None, 0)
        assert (await read(store, key)).conversation.hold_until == after(10)


class TestAnswer:
    @pytest.mark.parametrize("state", [Untold.UNREAD, Untold.FAILED, Untold.HELD])
    async def test_whatever_waits_is_asked_for(self, store: Desk, state: Untold) -> None:
        key = await met(store)
        await holding.hold(store.pools, key, UNTIL_RESUMED)
        await meanwhile(store, state)
        version = (await read(store, key)).conversation.version
        assert await holding.answer(store.pools, key, after(3600)) == 1
        rows = await read(store, key)
        question, request = rows.untold
        assert (question.untold, request.untold) == (state, Untold.ASKED)
        assert (request.author, request.kind, request.source) == (
            Author.SYSTEM,
            "request",
            Source.API,
        )
        assert request.event_at == request.received_at == after(3600)
        assert (request.channel_id, request.address) == (question.channel_id, question.address)
        assert rows.conversation.hold_until == after(3600)
        assert rows.conversation.hold_released_at == after(3600)
        assert rows.conversation.version > version
        # Its messages are too old for a sweep to see; the request is not.
        assert await store.journal.unread(after(3600 - 600)) == {key: 1}

    async def test_asked_twice_is_asked_once(self, store: Desk) -> None:
        key = await met(store)
        for seconds in (60, 61):
            assert await holding.answer(store.pools, key, after(seconds)) == 1
        assert await store.value("SELECT count(*) FROM untold WHERE state = 'asked'") == 1

    async def test_where_nothing_waits_nothing_is_changed(self, store: Desk) -> None:
        key = await met(store)
        await meanwhile(store, Untold.CONTEXT)
        await holding.hold(store.pools, key, UNTIL_RESUMED)
        before = await read(store, key)
        assert await holding.answer(store.pools, key, after(60)) == 0
        assert await read(store, key) == before


class TestWhoIsMeant:
    async def test_a_customer_is_known_in_every_spelling(self, store: Desk) -> None:
        key = await met(store)
        for spelling in SPELLINGS:
            [found] = await holding.known(store.pools, BUSINESS, spelling, "SV")
            assert (found.key, found.canonical_key) == (key, f"phone:hotel:{PHONE}")

    async def test_nobody_is_known_to_another_business(self, store: Desk) -> None:
        await met(store)
        assert await holding.known(store.pools, "bakery", PHONE, "SV") == []


@pytest.mark.process
class TestCommands:
    async def test_a_chat_is_held_and_given_back(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        key = await met(store)
        held = await relevo("hold", "7000 0001")
        assert (held.code, held.out, held.errors) == (
            WELL,
            "The chat is held until `relevo resume`.\n",
            "",
        )
        assert (await read(store, key)).conversation.hold_until == UNTIL_RESUMED
        assert "  hold until `relevo resume`\n" in (await relevo("why", PHONE)).out
        await meanwhile(store, Untold.HELD)
        given_back = await relevo("resume", PHONE)
        assert (given_back.code, given_back.out) == (
            WELL,
            (
                "The chat is the AI's again; it was held until `relevo resume`. 1 message came "
                "meanwhile; `relevo answer` has the AI answer now.\n"
            ),
        )
        again = await relevo("resume", PHONE)
        assert again.code == WELL
        assert again.out.startswith("No hold was set; what a colleague wrote holds")
        asked = await relevo("answer", PHONE)
        told = (await relevo("why", PHONE)).out
        assert "  customer (held): Hola?\n" in told
        assert "  system (asked): answer\n" in told
        assert (asked.code, asked.out) == (
            WELL,
            "An answer to 1 message is asked for; a server that runs begins within seconds.\n",
        )

    async def test_a_hold_has_an_end_in_minutes(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        key = await met(store)
        held = await relevo("hold", PHONE, "--for", "30")
        until = (await read(store, key)).conversation.hold_until
        assert until is not None
        assert held.out == f"The chat is held until {until:%Y-%m-%d %H:%M:%S}Z.\n"
        for minutes in ("0", "-1", "1.5", "9999999"):
            wrong = await relevo("hold", PHONE, "--for", minutes)
            assert wrong.code == CANNOT
            assert "--for: should be a whole number from 1 to 527040" in wrong.errors

    async def test_who_waits_for_nothing_and_who_is_not_known(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        await met(store)
        await meanwhile(store, Untold.CONTEXT)
        nothing = await relevo("answer", PHONE)
        assert (nothing.code, nothing.out) == (BAD, "Nothing waits for an answer.\n")
        for command in ("hold", "resume", "answer"):
            nobody = await relevo(command, "+503 7999\x9b9999")
            assert (nobody.code, nobody.errors) == (BAD, "")
            assert nobody.out == "Nobody is known under +503 7999\\x9b9999.\n"
        assert (
            "--business: inn is not configured; known: hotel"
            in (await relevo("hold", PHONE, "--business", "inn")).line
        )

    async def test_an_address_that_leads_to_several_people_means_all_of_them(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        await store.deliver(
            NewContact((Address("user", "ana"),)), NewContact((Address("bsuid", "ana"),))
        )
        held = await relevo("hold", "ana")
        assert (held.code, sorted(held.out.splitlines())) == (
            WELL,
            [
                "bsuid:hotel:line:ana: The chat is held until `relevo resume`.",
                "user:hotel:line:ana: The chat is held until `relevo resume`.",
            ],
        )
        holds = await store.rows("SELECT hold_until FROM conversation")
        assert [row["hold_until"] for row in holds] == [UNTIL_RESUMED] * 2


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def met(store: Desk) -> ConversationKey:
    """Have a customer who has asked something."""
    await store.deliver(said("Hola?"))
    return store.woken[0]


async def meanwhile(store: Desk, state: Untold) -> None:
    """Have what waits wait like this, as a turn commit leaves it."""
    fate = {Untold.UNREAD: Fate.IN_FLIGHT, Untold.FAILED: Fate.DEAD, Untold.HELD: Fate.HELD}
    await store.rows("UPDATE untold SET state = $1", state)
    await store.rows("UPDATE message SET fate = $1", fate.get(state, Fate.CONTEXT))


async def read(store: Desk, key: ConversationKey) -> Rows:
    return (await store.journal.load([key]))[key]
