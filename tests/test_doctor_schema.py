"""A schema that differs is told apart from the one this version wants, with what puts it right."""

import re

import asyncpg
import pytest

from relevo.errors import StoreSetupError
from relevo.store import catalog, doctor
from relevo.store.catalog import Difference, Fact, differences
from relevo.store.embedded import DatabaseUrls
from relevo.store.owner import as_owner
from tests.postgres import Cluster
from tests.reference_schema import migrated
from tests.store_rig import owner_rows

pytestmark = pytest.mark.postgres

STATEMENT = re.compile(r"\b(ALTER|CREATE|DROP|GRANT|REVOKE|REINDEX) .*;")

BROKEN = {
    "ALTER TABLE conversation DROP CONSTRAINT openai_conversation_id_is_one": (
        "constraint openai_conversation_id_is_one of table conversation is missing"
    ),
    "ALTER TABLE message DROP CONSTRAINT message_business_id_conversation_id_fkey": (
        "constraint message_business_id_conversation_id_fkey of table message is missing"
    ),
    "ALTER TABLE outbox DROP CONSTRAINT one_reply_per_turn": (
        "constraint one_reply_per_turn of table outbox is missing"
    ),
    "ALTER TABLE untold DROP CONSTRAINT untold_pkey": (
        "constraint untold_pkey of table untold is missing"
    ),
    "ALTER TABLE message DROP CONSTRAINT customers_have_a_fate, ADD CONSTRAINT"
    " customers_have_a_fate CHECK ((author = 'customer') = (fate IS NOT NULL)) NOT VALID": (
        "constraint customers_have_a_fate of table message was never checked against the rows"
    ),
    "ALTER TABLE message DROP CONSTRAINT customers_have_a_fate, ADD CONSTRAINT"
    " customers_have_a_fate CHECK (true)": (
        "constraint customers_have_a_fate of table message is CHECK (true), and should be CHECK (("
    ),
    "ALTER TABLE message ADD CONSTRAINT short CHECK (length(body) < 9)": (
        "constraint short of table message is not Relevo's"
    ),
    "DROP INDEX untold_unread": "index untold_unread of table untold is missing",
    "DROP INDEX turn_open; CREATE UNIQUE INDEX turn_open ON turn (business_id, id)": (
        "index turn_open of table turn is CREATE UNIQUE INDEX turn_open ON turn"
    ),
    "CREATE UNIQUE INDEX one_body ON message (business_id, body)": (
        "index one_body of table message is not Relevo's"
    ),
    "DROP POLICY tenant ON message": "policy tenant of table message is missing",
    "DROP POLICY maintenance ON message": "policy maintenance of table message is missing",
    "ALTER POLICY tenant ON turn USING (true)": "policy tenant of table turn is AS PERMISSIVE",
    "ALTER POLICY tenant ON turn TO PUBLIC": "TO PUBLIC USING",
    "CREATE POLICY open ON message TO relevo_app USING (true)": (
        "policy open of table message is not Relevo's"
    ),
    "ALTER TABLE untold NO FORCE ROW LEVEL SECURITY": (
        "row security of table untold is enabled, and should be enabled, forced"
    ),
    "ALTER TABLE untold DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY": (
        "row security of table untold is off, and should be enabled, forced"
    ),
    "REVOKE INSERT ON message FROM relevo_ingest": (
        "what relevo_ingest may do with message is missing"
    ),
    "REVOKE UPDATE (state) ON untold FROM relevo_ingest": (
        "what relevo_ingest may do with untold.state is missing"
    ),
    "REVOKE USAGE ON SEQUENCE message_id FROM relevo_app": (
        "what relevo_app may do with message_id is missing"
    ),
    "GRANT DELETE ON business TO relevo_app": (
        "what relevo_app may do with business is DELETE, INSERT, SELECT, and should be"
    ),
    "GRANT SELECT (body) ON message TO relevo_sweep": (
        "what relevo_sweep may do with message.body is not Relevo's"
    ),
    "GRANT SELECT ON message TO PUBLIC": "what PUBLIC may do with message is not Relevo's",
    "ALTER TABLE turn ADD COLUMN note text NOT NULL DEFAULT ''": (
        "column turn.note is not Relevo's"
    ),
    "ALTER TABLE conversation DROP COLUMN told_to": "column conversation.told_to is missing",
    "CREATE RULE quiet AS ON DELETE TO untold DO INSTEAD NOTHING": (
        "rule quiet of table untold is not Relevo's"
    ),
    "CREATE TRIGGER twice BEFORE UPDATE ON untold FOR EACH ROW EXECUTE FUNCTION"
    " suppress_redundant_updates_trigger()": "trigger twice of table untold is not Relevo's",
}


async def test_the_reference_is_the_schema_of_a_fresh_database(cluster: Cluster) -> None:
    assert catalog.REFERENCE.read_bytes() == await migrated(cluster), "run: make schema"


async def test_a_fresh_database_differs_in_nothing(database: DatabaseUrls) -> None:
    assert await examined(database) == []


@pytest.mark.parametrize("statement", BROKEN, ids=lambda statement: statement[:60])
async def test_a_difference_is_named_and_what_is_said_to_do_undoes_it(
    statement: str, database: DatabaseUrls
) -> None:
    await run(database, statement)
    [difference] = await examined(database)
    assert BROKEN[statement] in f"{difference.about} {difference.what}"
    remedy = STATEMENT.search(difference.remedy)
    assert remedy is not None, difference.remedy
    await run(database, remedy.group())
    assert await examined(database) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("ALTER TABLE message ALTER COLUMN body DROP NOT NULL", "column message.body is text"),
        ("ALTER SEQUENCE message_id MAXVALUE 99", "sequence message_id is bigint INCREMENT 1"),
    ],
)
async def test_a_change_of_what_rows_are_made_of_is_named(
    statement: str, named: str, database: DatabaseUrls
) -> None:
    await run(database, statement)
    [difference] = await examined(database)
    assert named in f"{difference.about} {difference.what}"


async def test_an_index_that_was_never_finished_is_named(database: DatabaseUrls) -> None:
    [row] = await owner_rows(
        database, "SELECT indexdef FROM pg_indexes WHERE indexname = 'untold_unread'"
    )
    await run(database, "DROP INDEX untold_unread")
    writer = await asyncpg.connect(database.owner_url)
    try:
        async with writer.transaction():
            await writer.execute("LOCK TABLE untold IN ROW EXCLUSIVE MODE")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await impatient(database, row["indexdef"].replace("INDEX", "INDEX CONCURRENTLY"))
    finally:
        await writer.close()
    [difference] = await examined(database)
    assert difference == Difference(
        "index untold_unread of table untold",
        "is invalid, so nothing uses it",
        "REINDEX INDEX CONCURRENTLY untold_unread;",
    )
    await run(database, difference.remedy)
    assert await examined(database) == []


async def test_a_table_that_is_gone_is_told_once(database: DatabaseUrls) -> None:
    await run(database, "DROP TABLE early_status")
    [difference] = await examined(database)
    assert (difference.about, difference.what) == ("table early_status", "is missing")
    assert difference.blinds


async def test_what_somebody_adds_for_himself_is_his_business(database: DatabaseUrls) -> None:
    await run(
        database,
        "CREATE TABLE notes (id int PRIMARY KEY); CREATE INDEX by_body ON message (body);"
        "ALTER TABLE conversation ADD COLUMN note text",
    )
    assert await examined(database) == []


async def test_another_versions_schema_is_not_compared(database: DatabaseUrls) -> None:
    await run(database, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(StoreSetupError, match=r"at revision 0001, .* run `relevo migrate` first"):
        await examined(database)


def test_what_only_a_superuser_can_do_is_told_too() -> None:
    role = Fact("role", "relevo_app", "")
    key = Fact("constraint", "turn", "turn_fkey")
    wanted = {role: "", key: "FOREIGN KEY (a) REFERENCES b(a)"}
    found = {role: "superuser, member of pg_monitor", key: f"{wanted[key]} SWITCHED OFF"}
    power, off = differences(found, wanted)
    assert power.what == "is superuser, member of pg_monitor, and should be nothing more"
    assert power.remedy.startswith("ALTER ROLE relevo_app NOLOGIN NOSUPERUSER NOBYPASSRLS;")
    assert (off.what, off.remedy) == (
        "is switched off",
        "as a superuser: ALTER TABLE turn ENABLE TRIGGER ALL;",
    )


async def examined(database: DatabaseUrls) -> list[Difference]:
    async with as_owner(database.owner_url) as connection:
        return await doctor.schema(connection)


async def run(database: DatabaseUrls, statements: str) -> None:
    async with as_owner(database.owner_url) as connection:
        await connection.execute(statements)


async def impatient(database: DatabaseUrls, statement: str) -> None:
    connection = await asyncpg.connect(
        database.owner_url, server_settings={"lock_timeout": "100ms"}
    )
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
