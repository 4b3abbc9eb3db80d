"""Rows that are stuck, orphaned or at odds are each found, explained, and mended where promised."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from relevo.actors.supervisor import Bounds
from relevo.store import doctor
from relevo.store.doctor import CHECKS, Finding
from relevo.store.embedded import DatabaseUrls
from relevo.store.owner import as_owner
from relevo.store.sql import statements
from tests.store_rig import BUSINESS, NOON, Desk, desk, said
from tests.turn_rows import have_answered

pytestmark = pytest.mark.postgres

LATER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Story:
    """What somebody does to a customer whose one message was answered, and what is mended of it."""

    breaks: str
    number: int = 1
    mended: str = "SELECT true"
    """True once it is mended; it is not before."""


STORIES = {
    "bad_ids": Story(
        "ALTER TABLE conversation DROP CONSTRAINT openai_conversation_id_is_one;"
        "UPDATE conversation SET openai_conversation_id = '50370000246'",
        mended="SELECT openai_conversation_id IS NULL FROM conversation",
    ),
    "lost_flags": Story(
        "INSERT INTO untold SELECT 'hotel', id, 999, 'context', {noon} FROM conversation",
        mended="SELECT count(*) = 0 FROM untold",
    ),
    "told_flags": Story(
        "INSERT INTO untold SELECT 'hotel', conversation_id, id, 'unread', {noon} FROM message",
        mended="SELECT count(*) = 0 FROM untold",
    ),
    "unfinished_parts": Story(
        "INSERT INTO message SELECT business_id, id + n, conversation_id, channel_id, address_kind,"
        " address_value, 'assistant', '', 'text', 'Si', '', 'turn', event_at, true, received_at,"
        " CASE n WHEN 3 THEN 'sent' ELSE '' END, NULL FROM message, generate_series(1, 3) AS n;"
        "INSERT INTO outbox SELECT 'hotel', m.id, t.id, m.id - t.id,"
        " (ARRAY['pending', 'sending', 'unknown'])[m.id - t.id], '', {noon}, 1, NULL, NULL, NULL,"
        " false, '' FROM turn AS t, message AS m WHERE m.author = 'assistant'",
        number=3,
        mended="SELECT array_agg(state ORDER BY part) = ARRAY['cancelled', 'dead', 'accepted']"
        " FROM outbox",
    ),
    "stranded": Story(
        "UPDATE message SET fate = 'in_flight'",
        mended="SELECT fate = 'answered' AND NOT EXISTS (SELECT FROM untold) FROM message",
    ),
    "left_turns": Story(
        "UPDATE turn SET stage = 'answering', outcome = NULL, ended_at = NULL,"
        " deadline_at = {noon}; UPDATE message SET fate = 'in_flight';"
        "INSERT INTO untold SELECT 'hotel', conversation_id, id, 'unread', {noon} FROM message",
        mended="SELECT received_at > {noon} FROM untold",
    ),
    "unseen": Story(
        "DELETE FROM turn; UPDATE message SET fate = 'in_flight';"
        "INSERT INTO untold SELECT 'hotel', conversation_id, id, 'unread', {noon} FROM message",
        mended="SELECT received_at > {noon} FROM untold",
    ),
    "told_letters": Story(
        'INSERT INTO turn SELECT (jsonb_populate_record(t, \'{"id": 999, "outcome": "failed",'
        ' "message_ids": "{}"}\')).* FROM turn AS t;'
        "INSERT INTO dead_letter SELECT 'hotel', 999, id, 'answering', 'timeout',"
        " {noon} - interval '1 hour' FROM conversation",
        mended="SELECT closed_as = 'superseded' AND closed_at > {noon} FROM dead_letter",
    ),
    "unfounded_letters": Story(
        "INSERT INTO dead_letter SELECT 'hotel', id, conversation_id, 'answering', 'timeout',"
        " {noon} FROM turn",
        mended="SELECT closed_as = 'superseded' FROM dead_letter",
    ),
    "early_letters": Story(
        "INSERT INTO dead_letter SELECT 'hotel', id, conversation_id, 'answering', 'timeout',"
        " {noon} FROM turn; UPDATE turn SET stage = 'sending', outcome = NULL, ended_at = NULL,"
        " deadline_at = {noon} + interval '1 day'; UPDATE message SET fate = 'in_flight'",
        mended="SELECT count(*) = 0 FROM dead_letter",
    ),
    "without_address": Story(
        "DELETE FROM address",
        mended="SELECT count(*) = 1 FROM address AS a JOIN conversation AS c"
        " ON c.canonical_key = 'phone:hotel:' || a.value AND a.conversation_id = c.id",
    ),
    "early_statuses": Story(
        "INSERT INTO early_status VALUES ('hotel', 'line', 'k', 'read', {noon} - interval '1 s'),"
        " ('hotel', 'line', 'new', 'read', {noon} + interval '1 s')",
        mended="SELECT array_agg(key) = ARRAY['new'] FROM early_status",
    ),
    "late_turns": Story(
        "UPDATE turn SET stage = 'sending', outcome = NULL, ended_at = NULL, deadline_at = {noon};"
        "UPDATE message SET fate = 'in_flight'",
    ),
    "out_of_reach": Story(
        "INSERT INTO conversation (business_id, canonical_key, created_at)"
        " VALUES ('hotel', 'bsuid:hotel:US.1', {noon})"
    ),
    "unexplained": Story("UPDATE turn SET outcome = 'no_reply'"),
    "orphans": Story(
        "ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_business_id_turn_id_fkey;"
        "INSERT INTO dead_letter SELECT 'hotel', 999, id, 'answering', 'timeout', {noon}"
        " FROM conversation"
    ),
}
BY_NAME = {check.name: check for check in CHECKS}
MENDED = [name for name, check in BY_NAME.items() if check.mends]
OF_NO_CONVERSATION = {"early_statuses"}


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    """A hotel with one customer, whose one message was answered."""
    async with desk(database) as opened:
        await opened.deliver(said("Hola"))
        await have_answered(opened, NOON)
        yield opened


def test_every_check_has_a_story() -> None:
    assert len(BY_NAME) == len(CHECKS)
    assert BY_NAME.keys() == STORIES.keys()


def test_what_is_mended_has_its_statement_and_nothing_else_has_one() -> None:
    mending = {name for name in statements("doctor") if name.startswith("mend_")}
    assert mending == {f"mend_{name}" for name in MENDED}


def test_a_sweep_looks_back_as_far_as_the_doctor_thinks() -> None:
    assert Bounds().sweep_back == doctor.SWEEP_BACK


async def test_who_is_well_hears_nothing(store: Desk) -> None:
    assert await examine(store) == []
    await store.deliver(said("Y para cenar?"), after_seconds=3500)
    assert await examine(store) == []


@pytest.mark.parametrize("name", STORIES)
async def test_it_is_found_and_counted_and_nothing_is_touched(name: str, store: Desk) -> None:
    await make(store, name)
    before = await store.rows("SELECT * FROM conversation ORDER BY id")
    for _ in range(2):
        [finding] = await examine(store)
        assert (finding.check.name, finding.business_id) == (name, BUSINESS)
        assert (finding.number, finding.mended) == (STORIES[name].number, 0)
        assert finding.oldest_at is not None
        assert NOON - timedelta(hours=2) <= finding.oldest_at <= NOON
    assert await store.rows("SELECT * FROM conversation ORDER BY id") == before


@pytest.mark.parametrize("name", MENDED)
async def test_it_is_mended_once_and_the_version_rises(name: str, store: Desk) -> None:
    await make(store, name)
    version = await store.version()
    assert not await is_mended(store, name)
    [finding] = await examine(store, mend=True)
    assert (finding.check.name, finding.mended) == (name, STORIES[name].number)
    assert await is_mended(store, name)
    assert await store.version() == version + (name not in OF_NO_CONVERSATION)
    assert await examine(store, mend=True) == []
    assert await store.version() == version + (name not in OF_NO_CONVERSATION)


@pytest.mark.parametrize("name", sorted(STORIES.keys() - MENDED))
async def test_what_is_doubtful_is_left_to_a_person(name: str, store: Desk) -> None:
    await make(store, name)
    version = await store.value("SELECT max(version) FROM conversation")
    [finding] = await examine(store, mend=True)
    assert (finding.check.name, finding.mended) == (name, 0)
    assert await store.value("SELECT max(version) FROM conversation") == version


async def test_a_message_that_no_turn_had_is_unread_again(store: Desk) -> None:
    await store.deliver(said("Hola?"), after_seconds=60)
    await store.rows("DELETE FROM untold")
    [finding] = await examine(store, mend=True)
    assert (finding.check.name, finding.mended) == ("stranded", 1)
    [row] = await store.rows("SELECT state, received_at FROM untold")
    assert (row["state"], row["received_at"]) == ("unread", NOON + LATER)
    assert await store.journal.unread(NOON + timedelta(minutes=50)) != {}


@pytest.mark.parametrize(
    ("outcome", "fate", "state"),
    [
        ("failed", "dead", "failed"),
        ("held", "held", "held"),
        ("answered_by_human", "answered_by_human", "context"),
    ],
)
async def test_what_a_turn_left_waiting_waits_again_as_it_did(
    store: Desk, outcome: str, fate: str, state: str
) -> None:
    await store.rows("UPDATE turn SET outcome = $1", outcome)
    await store.rows("UPDATE message SET fate = 'in_flight'")
    await examine(store, mend=True)
    assert await store.value("SELECT fate FROM message") == fate
    assert await store.value("SELECT state FROM untold") == state


async def test_what_a_living_process_has_is_not_taken_from_it(store: Desk) -> None:
    await make(store, "left_turns")
    await store.rows("UPDATE turn SET incarnation = $1", store.incarnation.number())
    [finding] = await examine(store, mend=True)
    assert (finding.check.name, finding.mended) == ("late_turns", 0)


async def test_what_has_happened_since_it_was_found_is_not_undone(store: Desk) -> None:
    await make(store, "stranded")
    async with (
        as_owner(store.urls.owner_url) as connection,
        as_owner(store.urls.owner_url) as other,
    ):
        async with other.transaction():
            await other.execute("UPDATE conversation SET version = version + 1")
            await other.execute("UPDATE message SET fate = 'revoked'")
            mending = asyncio.gather(mend_all(connection))
            await until_somebody_waits(store)
        await mending
    assert await store.value("SELECT fate FROM message") == "revoked"
    assert await store.version() == 1


async def test_two_businesses_are_told_apart(store: Desk) -> None:
    await make(store, "lost_flags")
    await store.rows("INSERT INTO business VALUES ('bakery')")
    await store.rows("INSERT INTO untold VALUES ('bakery', 5, 5, 'context', $1)", NOON)
    assert [(f.business_id, f.number) for f in await examine(store, mend=True)] == [
        ("bakery", 1),
        ("hotel", 1),
    ]


async def make(store: Desk, name: str) -> None:
    for statement in STORIES[name].breaks.split(";"):
        await store.rows(spelled(statement))


async def is_mended(store: Desk, name: str) -> Any:
    return await store.value(spelled(STORIES[name].mended))


def spelled(statement: str) -> str:
    return statement.replace("{noon}", f"'{NOON.isoformat()}'::timestamptz")


async def examine(store: Desk, *, mend: bool = False) -> list[Finding]:
    """Have the doctor come an hour after noon."""
    async with as_owner(store.urls.owner_url) as connection:
        found = doctor.rows(connection, NOON + LATER, mend=mend)
        return [finding async for findings in found for finding in findings]


async def mend_all(connection: Any) -> None:
    async for _findings in doctor.rows(connection, NOON + LATER, mend=True):
        pass


async def until_somebody_waits(store: Desk) -> None:
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    while not await store.value(waiting):
        continue
