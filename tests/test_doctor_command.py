"""The doctor comes to a database in use and says what he finds; what was not well is well again."""

import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from relevo.errors import FileError
from relevo.store import doctor, legacy_ids
from relevo.store.embedded import DatabaseUrls
from relevo.store.owner import as_owner
from tests.commands import BAD, WELL, configured
from tests.house import House
from tests.legacy_files import GOOD, TABLE, WA_ID, sqlite_file
from tests.store_rig import NOON, owner_rows
from tests.storyteller import PHONE
from tests.turn_rows import GONE

pytestmark = pytest.mark.postgres

BAD_ID = {"wa_id": WA_ID, "conversation_id": WA_ID}
STAMP = "20260302T120000Z"


KEPT_TOO_LONG = (
    "INSERT INTO untold SELECT business_id, conversation_id, message_id, state,"
    " received_at - interval '1 hour' FROM kept"
)


@pytest.mark.parametrize("left", ["SELECT", KEPT_TOO_LONG], ids=["no-flag", "an-old-flag"])
async def test_a_customer_whom_no_sweep_sees_is_answered_once(
    left: str, database: DatabaseUrls, tmp_path: Path
) -> None:
    async with House(database, tmp_path, NOON) as house:
        message = house.wati.customer_message(PHONE, "Hola", NOON)
        assert await house.post(message.webhook()) == 200
        await house.stop()
        await house.rows("CREATE TABLE kept AS SELECT * FROM untold")
        await house.rows("DELETE FROM untold")
        await house.start()
        await house.rows(left)
        await swept(house)
        assert house.wati.texts_to(PHONE) == []
        assert await mended(house) == 1
        await swept(house)
        assert house.wati.texts_to(PHONE) == ["ok"]
        assert await mended(house) == 0
        assert (await house.audit()).sound


async def test_a_turn_that_a_dead_process_left_is_taken_over_by_one_that_serves(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with House(database, tmp_path, NOON) as house:
        house.ai.before_answer = lambda _body: house.hold(600)
        message = house.wati.customer_message(PHONE, "Hola", NOON)
        assert await house.post(message.webhook()) == 200
        await house.advance(36)
        await house.stop()
        house.ai.before_answer = None
        [turn] = await house.rows("SELECT stage FROM turn")
        assert turn["stage"] == "answering"
        await house.rows("UPDATE turn SET incarnation = $1", GONE)
        for table in ("untold", "turn"):
            await house.rows(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")
            await house.rows(f"DELETE FROM {table}")
        await house.start()
        await house.advance(1200)
        await swept(house)
        for table in ("untold", "turn"):
            await house.rows(f"INSERT INTO {table} SELECT * FROM kept_{table}")
        await swept(house)
        assert house.wati.texts_to(PHONE) == []
        assert await mended(house) == 1
        await swept(house)
        assert house.wati.texts_to(PHONE) == ["ok"]
        assert await mended(house) == 0
        assert (await house.audit()).sound


@pytest.mark.process
async def test_a_sound_database_is_one_line(database: DatabaseUrls, tmp_path: Path) -> None:
    relevo = configured(database, tmp_path)
    for options in ((), ("--fix",)):
        ended = await relevo("doctor", *options)
        assert (ended.code, ended.errors, ended.out.count("\n")) == (WELL, "", 1)
        assert ended.out.startswith("Sound: ")
    told = orjson.loads((await relevo("doctor", "--json")).out)
    assert told == {
        "sound": True,
        "processes": 0,
        "schema": [],
        "rows_examined": True,
        "rows": [],
    }


@pytest.mark.process
async def test_what_is_found_is_explained_then_mended_then_gone(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    relevo = configured(database, tmp_path)
    await owner_rows(database, "INSERT INTO business VALUES ('hotel')")
    await owner_rows(database, "INSERT INTO untold VALUES ('hotel', 1, 7, 'unread', $1)", NOON)
    found = await relevo("doctor")
    assert (found.code, found.errors) == (BAD, "")
    assert "hotel: 1 mark (lost_flags); the oldest since 2026-03-02 12:00:00Z" in found.out
    assert "--fix deletes the mark" in found.out
    fixed = await relevo("doctor", "--fix")
    assert fixed.code == BAD
    assert "mended 1: deletes the mark" in fixed.out
    assert "Everything that was found is mended" in fixed.out
    assert (await relevo("doctor")).code == WELL


@pytest.mark.process
async def test_a_schema_that_differs_is_told_with_what_to_do(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    relevo = configured(database, tmp_path)
    await owner_rows(database, "DROP POLICY tenant ON message")
    ended = await relevo("doctor", "--fix")
    assert ended.code == BAD
    assert "schema: policy tenant of table message is missing" in ended.out
    assert "to do: CREATE POLICY tenant ON message AS PERMISSIVE FOR ALL TO relevo_app" in ended.out
    await owner_rows(database, "DROP TABLE early_status")
    told = orjson.loads((await relevo("doctor", "--json")).out)
    assert [d["about"] for d in told["schema"]] == [
        "table early_status",
        "policy tenant of table message",
    ]
    assert (told["sound"], told["rows_examined"]) == (False, False)


@pytest.mark.process
async def test_a_doctor_who_cannot_come_says_why(database: DatabaseUrls, tmp_path: Path) -> None:
    relevo = configured(database, tmp_path)
    alone = await relevo("doctor", RELEVO_DATABASE_OWNER_URL="")
    assert "database.owner_url is not set, and the doctor needs it" in alone.line
    await owner_rows(database, "UPDATE alembic_version SET version_num = '0001'")
    assert "at revision 0001" in (await relevo("doctor")).line


@pytest.mark.process
async def test_an_old_file_needs_no_database(database: DatabaseUrls, tmp_path: Path) -> None:
    relevo = configured(database, tmp_path)
    (tmp_path / "relevo.toml").write_text("this is not even toml")
    path = sqlite_file(tmp_path / "threads.db", BAD_ID, {"wa_id": "1", "conversation_id": GOOD})
    found = await relevo("doctor", "--legacy", str(path))
    assert (found.code, found.errors) == (BAD, "")
    assert "1 of 2 rows have a conversation_id that is none" in found.out
    assert "row 1  ***46  wrong_prefix" in found.out
    assert WA_ID not in found.out
    fixed = await relevo("doctor", "--legacy", str(path), "--fix", "--json")
    told = orjson.loads(fixed.out)
    assert (fixed.code, told["bad"], told["rows"]) == (BAD, 1, 2)
    assert Path(told["copy"]).parent == tmp_path
    sound = await relevo("doctor", "--legacy", str(path), "--fix")
    assert (sound.code, sound.out.count("\n")) == (WELL, 1)


def test_a_copy_holds_what_was_emptied(tmp_path: Path) -> None:
    rows = [{"wa_id": str(n), "conversation_id": n % 2 and f"conv_{n}"} for n in range(2500)]
    path = sqlite_file(tmp_path / "threads.db", *rows)
    before = ids(path)
    cleared = legacy_ids.clear(path, NOON)
    assert (cleared.rows, cleared.number) == (2500, 1250)
    assert len(cleared.listed) == legacy_ids.LISTED_MAX
    assert cleared.copy == tmp_path / f"threads.db.before-doctor-{STAMP}"
    assert ids(cleared.copy) == before
    assert ids(path) == [f"conv_{n}" if n % 2 else None for n in range(2500)]
    assert legacy_ids.clear(path, NOON).copy is None


def test_a_file_that_cannot_be_mended_stays_as_it_is(tmp_path: Path) -> None:
    text = tmp_path / "threads.csv"
    text.write_text("wa_id\n")
    with pytest.raises(FileError, match="is not SQLite; bad ids in a CSV do no harm"):
        legacy_ids.clear(text, NOON)
    strict = TABLE.replace("conversation_id", "conversation_id NOT NULL")
    path = sqlite_file(tmp_path / "threads.db", BAD_ID, table=strict)
    with pytest.raises(FileError, match="NOT NULL constraint failed"):
        legacy_ids.clear(path, NOON)
    assert ids(path) == [WA_ID]
    copy = tmp_path / f"threads.db.before-doctor-{STAMP}"
    assert not copy.exists()
    copy.touch()
    with pytest.raises(FileError, match=f"{STAMP} is there already; move it away"):
        legacy_ids.clear(path, NOON)
    assert copy.exists()


def ids(path: Path) -> list[object]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT conversation_id FROM threads")]


async def swept(house: House) -> None:
    await house.relevo.supervisor.sweep()
    await house.advance(200)


async def mended(house: House) -> int:
    """Have the doctor come now; return how many messages he mended."""
    async with as_owner(house.urls.owner_url) as connection:
        found = doctor.rows(connection, house.clock.now(), mend=True)
        return sum([finding.mended async for findings in found for finding in findings])
