"""Two businesses never meet: not in a table, not under any role, not through the product."""

import re
from pathlib import Path
from typing import Any, Self

import asyncpg
import orjson
import pytest

from relevo.store.embedded import DatabaseUrls
from relevo.store.inspection import audit, why
from tests.fakes.wati import FakeWati
from tests.house import TOKEN, House
from tests.store_rig import NOON, owner_rows

pytestmark = pytest.mark.postgres

MINE, THEIRS = "hotel", "bakery"
ROLES = ("relevo_app", "relevo_ingest", "relevo_sweep")
PHONE = "50370000101"

TABLES = (
    "SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity FROM pg_class AS c"
    " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace"
    " AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid"
    " AND a.attname = 'business_id') ORDER BY c.relname"
)
NO_TENANTS = {"alembic_version"}

ROWS = """
INSERT INTO business VALUES ('{b}');
INSERT INTO channel VALUES ('{b}', '{b}-line', 'wati');
INSERT INTO conversation (business_id, canonical_key, openai_conversation_id, created_at)
VALUES ('{b}', 'phone:{b}:+50370000101', 'conv_{b}', now());
INSERT INTO address SELECT '{b}', 'phone', '', '+50370000101', id
FROM conversation WHERE business_id = '{b}';
INSERT INTO message (business_id, id, conversation_id, channel_id, address_kind, address_value,
    author, kind, body, source, event_at, received_at, fate)
SELECT '{b}', 1, id, '{b}-line', 'phone', '+50370000101', 'customer', 'text',
    'a secret of the {b}', 'webhook', now(), now(), 'in_flight'
FROM conversation WHERE business_id = '{b}';
INSERT INTO message_key VALUES ('{b}', '{b}-line', 'wamid.1', 1);
INSERT INTO untold SELECT '{b}', conversation_id, 1, 'unread', now()
FROM message WHERE business_id = '{b}';
INSERT INTO turn (business_id, id, conversation_id, stage, channel_id, address_kind, address_value,
    opened_at, closed_at, newest_at, verdict, threshold_seconds, message_ids, recall,
    recall_reasons, recall_urgent, recalled, matched_by_content, missed_ids, missed_left_out,
    attempt, tries, replaced, reason, response_id, model, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens, answer_seconds, incarnation)
SELECT '{b}', 1, conversation_id, 'answering', '{b}-line', 'phone', '+50370000101', now(), now(),
    now(), 'none', 300, '{{1}}', 'complete', '{{}}', false, 0, 0, '{{}}', 0, 1, 0, false, '', '',
    '', 0, 0, 0, 0, 0, 1
FROM message WHERE business_id = '{b}';
INSERT INTO outbox VALUES ('{b}', 1, 1, 1, 'pending', 'relevo-1', now(), 0, NULL, NULL, NULL,
    false, '');
INSERT INTO dead_letter SELECT '{b}', 1, conversation_id, 'answering', 'timeout', now()
FROM turn WHERE business_id = '{b}';
INSERT INTO quarantine (business_id, channel_id, reason, body, received_at)
VALUES ('{b}', '{b}-line', 'not_json', 'a secret of the {b}', now());
INSERT INTO accepted VALUES ('{b}', 1, 1);
INSERT INTO early_status VALUES ('{b}', '{b}-line', 'wamid.2', 'sent', now());
INSERT INTO early_change VALUES ('{b}', '{b}-line', 'wamid.3', 'edit', 'customer',
    'a secret of the {b}', now(), now());
INSERT INTO link VALUES ('{b}', 'phone', '', '+50370000101', 'lid', '{b}-line', '1', 'message',
    now());
INSERT INTO merge (business_id, survivor_id, loser_id, reason, survivor, loser, addresses,
    message_ids, turn_ids, merged_at)
VALUES ('{b}', 1, 2, 'message', '{{}}', '{{}}', '[]', '{{}}', '{{}}', now());
INSERT INTO ai_conversation SELECT '{b}', 'conv_{b}', id, now()
FROM conversation WHERE business_id = '{b}';
INSERT INTO ai_erasure VALUES ('{b}', 'conv_gone_{b}', now());
INSERT INTO api_key (business_id, id, name, scopes, hash, created_at)
VALUES ('{b}', 'key-{b}', 'console', '{{read}}', 'a secret of the {b}', now());
INSERT INTO outgoing (business_id, conversation_id, author, body, due_at, state, created_at)
SELECT '{b}', id, 'agent', 'a secret of the {b}', now(), 'scheduled', now()
FROM conversation WHERE business_id = '{b}';
INSERT INTO idempotency VALUES ('{b}', 'once', 'asked', 202, 'a secret of the {b}', now());
INSERT INTO legacy_message (business_id, channel_id, legacy_id, to_number, author, lead_id, lid,
    body, created_at, state)
VALUES ('{b}', '{b}-line', '1', '+50370000101', 'customer', '', '', 'a secret of the {b}', now(),
    'waiting');
"""


@pytest.fixture
async def two(database: DatabaseUrls) -> DatabaseUrls:
    """A database in which two businesses have a row in every table."""
    owner = await asyncpg.connect(database.owner_url)
    for business_id in (MINE, THEIRS):
        await owner.execute(ROWS.format(b=business_id))
    await owner.close()
    return database


async def test_every_table_has_forced_row_security(database: DatabaseUrls) -> None:
    tables = await owner_rows(database, TABLES)
    assert {row["relname"] for row in tables} | NO_TENANTS == await all_tables(database)
    assert [row["relname"] for row in tables if not row["relrowsecurity"]] == []
    assert [row["relname"] for row in tables if not row["relforcerowsecurity"]] == []


async def test_every_table_and_key_begins_with_the_business(database: DatabaseUrls) -> None:
    loose = await owner_rows(
        database,
        "SELECT con.conname FROM pg_constraint AS con JOIN pg_attribute AS a"
        " ON a.attrelid = con.conrelid AND a.attnum = con.conkey[1]"
        " WHERE con.contype IN ('p', 'f') AND con.connamespace = 'public'::regnamespace"
        " AND a.attname <> 'business_id' AND con.conrelid <> 'alembic_version'::regclass",
    )
    assert [row["conname"] for row in loose] == []


async def test_these_tests_have_a_row_of_both_in_every_table(two: DatabaseUrls) -> None:
    for row in await owner_rows(two, TABLES):
        found = await owner_rows(two, f"SELECT DISTINCT business_id FROM {row['relname']}")
        assert {business["business_id"] for business in found} == {MINE, THEIRS}, row["relname"]


@pytest.mark.parametrize("setting", [None, "", "nobody"])
async def test_without_its_setting_the_app_sees_nothing(
    two: DatabaseUrls, setting: str | None
) -> None:
    async with Tenant(two, "relevo_app", setting) as app:
        for row in await owner_rows(two, TABLES):
            assert await app.visible(row["relname"]) == [], row["relname"]


async def test_the_app_sees_its_own_business_and_no_other(two: DatabaseUrls) -> None:
    async with Tenant(two, "relevo_app", MINE) as app:
        for row in await owner_rows(two, TABLES):
            assert await app.visible(row["relname"]) == [MINE], row["relname"]


@pytest.mark.parametrize("role", ["relevo_app", "relevo_sweep"])
async def test_a_row_of_another_business_cannot_be_changed(two: DatabaseUrls, role: str) -> None:
    before = await everything(two)
    async with Tenant(two, role, MINE) as tenant:
        for row in await owner_rows(two, TABLES):
            await tenant.attack(row["relname"], "UPDATE {t} SET {c} = {c} WHERE {theirs}")
            await tenant.attack(row["relname"], "UPDATE {t} SET business_id = 'bakery'")
            await tenant.attack(row["relname"], "DELETE FROM {t} WHERE {theirs}")
            assert not await tenant.can_insert(row["relname"], before[row["relname"]][THEIRS])
    assert await everything(two) == before


async def test_what_is_refused_for_another_business_is_not_for_its_own(two: DatabaseUrls) -> None:
    own = (await everything(two))["message"][MINE]
    async with Tenant(two, "relevo_app", MINE) as app:
        with pytest.raises(asyncpg.UniqueViolationError):
            await app.can_insert("message", own)


async def test_ingest_changes_only_what_it_was_granted(two: DatabaseUrls) -> None:
    async with Tenant(two, "relevo_ingest", MINE) as ingest:
        kept = {row["relname"] for row in await owner_rows(two, TABLES)} - {
            "early_status",
            "early_change",
        }
        for table in kept:
            assert await ingest.refuses(f"DELETE FROM {table}"), table
        for column in ("body", "media", "author", "author_name", "event_at", "conversation_id"):
            assert await ingest.refuses(f"UPDATE message SET {column} = {column}")
        for column in ("openai_conversation_id", "last_customer_at", "known_to", "canonical_key"):
            assert await ingest.refuses(f"UPDATE conversation SET {column} = NULL")


async def test_ingest_and_sweep_cannot_read_what_was_said(two: DatabaseUrls) -> None:
    readable = {role: await readable_columns(two, role) for role in ROLES}
    assert readable["relevo_sweep"] == {
        "untold": {"business_id", "conversation_id", "state", "received_at"},
        "turn": {"business_id", "conversation_id", "stage"},
        "channel": {"business_id", "id"},
        "link": {"business_id"},
        "merge": {*("business_id", "survivor_id", "loser_id", "merged_at", "undone_at")},
        "idempotency": {"business_id"},
        "ai_erasure": {"business_id"},
        "outgoing": {"business_id", "due_at", "state"},
        "api_key": {"business_id", "id", "scopes", "hash", "expires_at", "revoked_at"},
    }
    ingest = readable["relevo_ingest"]
    assert ingest["message"].isdisjoint({"body", "media", "author_name", "address_value"})
    assert ingest["conversation"] == {
        *("business_id", "id", "canonical_key", "version", "new_contact")
    }
    assert ingest["outbox"] == {"business_id", "message_id", "state"}
    assert ingest["link"] == {"business_id"}
    assert ingest["turn"] == {
        *("business_id", "conversation_id", "stage", "wait_until", "message_ids", "missed_ids")
    }
    never = {"dead_letter", "quarantine", "outgoing", "merge", "api_key", "legacy_message"}
    assert ingest.keys().isdisjoint(never)
    for role in ("relevo_ingest", "relevo_sweep"):
        async with Tenant(two, role, MINE) as tenant:
            assert await tenant.refuses("SELECT body FROM message")
            assert await tenant.refuses("SELECT * FROM message")
            assert await tenant.refuses("SELECT body FROM quarantine")
            assert await tenant.refuses("SELECT 1 FROM message WHERE body LIKE 'a%'")
            assert await tenant.refuses("UPDATE message SET fate = fate RETURNING body")


async def test_a_setting_lasts_no_longer_than_its_transaction(two: DatabaseUrls) -> None:
    async with Tenant(two, "relevo_app", None) as app:
        async with app.connection.transaction():
            await app.connection.execute(f"SELECT set_config('relevo.business_id', '{MINE}', true)")
            assert await app.visible("message") == [MINE]
        assert await app.visible("message") == []


async def test_two_businesses_with_one_customer_share_nothing(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with House(database, tmp_path, NOON) as house, bakery(house) as other:
        await house.stop()
        house.more_configuration = second_business(other)
        await house.start()
        agents_at = NOON.replace(minute=10)
        for wati, channel, name in ((house.wati, "line", MINE), (other, "bakery-line", THEIRS)):
            hello = wati.customer_message(PHONE, f"hello {name}", NOON)
            assert await house.post(hello.webhook(), channel=channel) == 200
            wati.agent_message(PHONE, f"promise of {name}", agents_at, "Luis")
        await house.advance(1000)
        for wati, channel, name in ((house.wati, "line", MINE), (other, "bakery-line", THEIRS)):
            again = wati.customer_message(PHONE, f"again {name}", house.clock.now())
            assert await house.post(again.webhook(), channel=channel) == 200
        await house.advance(100)
        await expect_apart(house, other)


async def expect_apart(house: House, other: FakeWati) -> None:
    pools = house.relevo.database.pools
    for name, stranger in ((MINE, THEIRS), (THEIRS, MINE)):
        [conversation] = await why(pools, name, PHONE, "SV")
        told = orjson.dumps(conversation).decode()
        assert [t["outcome"] for t in conversation["turns"]] == ["answered", "answered"]
        assert f"promise of {name}" in told
        assert stranger not in told
    assert len(house.wati.texts_to(PHONE)) == len(other.texts_to(PHONE)) == 2
    remembered = [orjson.dumps(c.items).decode() for c in house.ai.conversations.values()]
    assert [bool(re.search(MINE, m)) + bool(re.search(THEIRS, m)) for m in remembered] == [1, 1]
    assert [b.sound for b in await audit(house.urls.owner_url)] == [True, True]


def bakery(house: House) -> FakeWati:
    return FakeWati(house.clock, token=TOKEN)


def second_business(wati: FakeWati) -> str:
    return (
        f'[[business]]\nid = "{THEIRS}"\nregion = "SV"\n'
        f'[[channel]]\nid = "bakery-line"\nbusiness = "{THEIRS}"\nkind = "wati"\n'
        f'base_url = "{wati.base_url}"\ntoken_env = "WATI_TOKEN"\n'
        'webhook_secret_env = "WATI_SECRET"\n'
    )


class Tenant:
    """A connection that works as one of the roles, for one business, and tries things."""

    def __init__(self, urls: DatabaseUrls, role: str, business_id: str | None) -> None:
        self._urls = urls
        self._role = role
        self._business_id = business_id
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    @property
    def connection(self) -> "asyncpg.Connection[asyncpg.Record]":
        assert self._connection is not None
        return self._connection

    async def __aenter__(self) -> Self:
        self._connection = await asyncpg.connect(self._urls.url)
        await self.connection.execute(f"SET ROLE {self._role}")
        if self._business_id is not None:
            await self.connection.execute(
                "SELECT set_config('relevo.business_id', $1, false)", self._business_id
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()

    async def visible(self, table: str) -> list[str]:
        """Return the businesses of which a table shows rows."""
        rows = await self.connection.fetch(f"SELECT DISTINCT business_id FROM {table} ORDER BY 1")
        return [row["business_id"] for row in rows]

    async def refuses(self, statement: str) -> bool:
        try:
            await self.connection.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            return True
        return False

    async def attack(self, table: str, statement: str) -> None:
        """Try to touch the other's rows through every column: refused, or nothing is found."""
        for column in await self._columns(table):
            tried = statement.format(t=table, c=column, theirs=f"business_id = '{THEIRS}'")
            try:
                done = await self.connection.execute(tried)
            except asyncpg.InsufficientPrivilegeError:
                continue
            assert done.endswith(" 0"), tried

    async def can_insert(self, table: str, row: Any) -> bool:
        """Try to insert a row that the other business has; only columns that may be given."""
        names = ", ".join(await self._columns(table))
        given = f"SELECT {names} FROM jsonb_populate_record(NULL::{table}, $1::jsonb)"
        try:
            await self.connection.execute(f"INSERT INTO {table} ({names}) {given}", row)
        except asyncpg.InsufficientPrivilegeError:
            return False
        return True

    async def _columns(self, table: str) -> list[str]:
        rows = await self.connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0"
            " AND attidentity = '' AND attgenerated = '' AND NOT attisdropped",
            table,
        )
        return [row["attname"] for row in rows]


async def all_tables(urls: DatabaseUrls) -> set[str]:
    rows = await owner_rows(urls, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row["tablename"] for row in rows}


async def everything(urls: DatabaseUrls) -> dict[str, dict[str, str]]:
    """Return every row as JSON, by table and business."""
    found: dict[str, dict[str, str]] = {}
    for table in await owner_rows(urls, TABLES):
        rows = await owner_rows(
            urls, f"SELECT business_id, to_jsonb(t)::text AS row FROM {table['relname']} AS t"
        )
        found[table["relname"]] = {row["business_id"]: row["row"] for row in rows}
    return found


async def readable_columns(urls: DatabaseUrls, role: str) -> dict[str, set[str]]:
    rows = await owner_rows(
        urls,
        "SELECT c.relname, array_agg(a.attname::text) AS names FROM pg_class AS c"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        " AND has_column_privilege($1::text::name, c.oid, a.attnum, 'SELECT') GROUP BY c.relname",
        role,
    )
    return {row["relname"]: set(row["names"]) for row in rows}
