"""Customers of the systems replaced are taken over: once, with what can be believed of them."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from relevo.messages import Address
from relevo.store import legacy
from relevo.store.embedded import DatabaseUrls
from relevo.store.importing import Importing, Tally
from relevo.store.owner import as_owner
from tests.commands import BAD, CANNOT, WELL, Configured, Ended, configured
from tests.legacy_files import GOOD, OLD, OLD_TEXT, ROW, WA_ID, csv_file, sqlite_file
from tests.store_rig import BUSINESS, Desk, desk, said
from tests.turn_rows import have_answered

pytestmark = pytest.mark.postgres

MARKS = (
    "SELECT c.last_customer_at, c.openai_conversation_id, c.version, a.value"
    " FROM conversation AS c JOIN address AS a ON a.conversation_id = c.id ORDER BY a.value"
)


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def test_a_customer_comes_with_his_last_time_and_his_conversation(store: Desk) -> None:
    tally = await take(store, ROW)
    assert (tally.rows, tally.imported, tally.known) == (1, 1, 0)
    assert await store.rows(MARKS) == [(OLD, GOOD, 1, f"+{WA_ID}")]


async def test_a_second_time_changes_nothing(store: Desk) -> None:
    await take(store, ROW)
    again = await take(store, ROW)
    assert (again.imported, again.known, again.changed) == (0, 1, 0)
    assert await store.rows(MARKS) == [(OLD, GOOD, 1, f"+{WA_ID}")]


async def test_spellings_of_one_phone_are_one_customer_with_the_newest_of_all(store: Desk) -> None:
    newer = {"wa_id": "7000-0246", "last_webhook_timestamp": "2025-10-05 13:00:00"}
    tally = await take(store, ROW, newer, {"wa_id": f"+{WA_ID}"})
    assert (tally.rows, tally.imported, tally.known) == (3, 1, 2)
    assert await store.rows(MARKS) == [(OLD + timedelta(days=1), GOOD, 1, f"+{WA_ID}")]


async def test_a_newer_file_moves_a_time_forward_and_never_back(store: Desk) -> None:
    await take(store, ROW)
    newer = ROW | {"last_webhook_timestamp": "2025-10-05 13:00:00", "conversation_id": "conv_b"}
    assert (await take(store, newer)).changed == 1
    assert (await take(store, ROW)).changed == 0
    assert await store.rows(MARKS) == [(OLD + timedelta(days=1), GOOD, 2, f"+{WA_ID}")]


async def test_a_rehearsal_tells_the_same_and_leaves_no_trace(store: Desk) -> None:
    tally = await take(store, ROW, rehearsal=True)
    assert tally == await take(store, ROW)
    assert tally.imported == 1
    assert (await take(store, ROW, rehearsal=True)).known == 1
    assert len(await store.rows(MARKS)) == 1


async def test_who_has_had_a_turn_keeps_his_own_marks(store: Desk) -> None:
    await take(store, ROW)
    await have_answered(store, OLD)
    newer = ROW | {"last_webhook_timestamp": "2025-10-05 13:00:00"}
    assert (await take(store, newer)).changed == 0
    await store.rows("UPDATE conversation SET openai_conversation_id = NULL")
    assert (await take(store, newer)).changed == 0
    await store.rows("UPDATE conversation SET last_customer_at = NULL")
    assert (await take(store, newer)).changed == 1
    assert await store.rows(MARKS) == [(OLD + timedelta(days=1), None, 2, f"+{WA_ID}")]


async def test_a_message_that_both_systems_got_does_not_hide_its_own_gap(store: Desk) -> None:
    message = said("Hola", addresses=(Address("phone", WA_ID),))
    await store.deliver(message)
    tally = await take(store, ROW | {"last_webhook_timestamp": "2026-03-02 11:59:30"})
    assert (tally.overtaken, tally.changed, tally.known) == (1, 1, 1)
    assert await store.rows(MARKS) == [(None, GOOD, 1, f"+{WA_ID}")]
    assert (await take(store, ROW)).changed == 1
    assert await store.rows(MARKS) == [(OLD, GOOD, 2, f"+{WA_ID}")]


async def test_who_is_reached_by_a_phone_that_leads_to_another_key_is_that_customer(
    store: Desk,
) -> None:
    await store.deliver(said("Hola", addresses=(Address("bsuid", "US.1"),)))
    [row] = await store.rows("SELECT id FROM conversation")
    await store.rows(
        "INSERT INTO address VALUES ($1, 'phone', '', $2, $3)", BUSINESS, f"+{WA_ID}", row["id"]
    )
    assert (await take(store, ROW)).known == 1
    assert await store.value("SELECT count(*) FROM conversation") == 1


async def test_what_is_refused_is_counted_by_reason_and_the_customer_kept(store: Desk) -> None:
    tally = await take(
        store,
        {"wa_id": WA_ID, "conversation_id": WA_ID, "last_webhook_timestamp": OLD_TEXT},
        {"wa_id": "50370000247", "conversation_id": "conv_ñ", "last_webhook_timestamp": "?"},
        {"wa_id": "nobody", "thread_id": "thread_1"},
        {},
    )
    assert tally.refused == {
        ("id", "wrong_prefix"): 1,
        ("id", "wrong_characters"): 1,
        ("time", "not_a_time"): 1,
        ("row", "not_a_phone"): 1,
        ("row", "missing"): 1,
    }
    assert (tally.rows, tally.imported, tally.assistants_threads) == (4, 2, 1)
    assert await store.rows(MARKS) == [
        (OLD, None, 1, f"+{WA_ID}"),
        (None, None, 0, "+50370000247"),
    ]


@pytest.mark.process
async def test_the_summary_names_rows_and_no_numbers(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    relevo = configured(database, tmp_path)
    bad = {"wa_id": WA_ID, "conversation_id": WA_ID, "last_webhook_timestamp": OLD_TEXT}
    path = sqlite_file(tmp_path / "threads.db", bad, {"wa_id": "50370000247"})
    rehearsed = await imported(relevo, path, "--dry-run")
    assert rehearsed.code == BAD
    assert "2  new here" in rehearsed.out
    assert "A rehearsal: nothing was changed." in rehearsed.out
    ended = await imported(relevo, path)
    assert (ended.code, ended.errors) == (BAD, "")
    assert "2  new here" in ended.out
    assert "1 wrong_prefix: a phone number or another service's id" in ended.out
    assert "row 1 (***46)" in ended.out
    assert WA_ID not in ended.out
    told = orjson.loads((await imported(relevo, path, "--json")).out)
    assert (told["known"], told["changed"]) == (2, 0)
    assert told["refused"] == {"id": {"wrong_prefix": 1}, "time": {}, "row": {}}
    assert told["refusals"] == [
        {"number": 1, "wa_id": "***46", "what": "id", "reason": "wrong_prefix"}
    ]


@pytest.mark.process
async def test_a_file_without_fault_is_taken_without_a_word_of_refusal(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    ended = await imported(configured(database, tmp_path), csv_file(tmp_path / "threads.csv", ROW))
    assert (ended.code, ended.errors) == (WELL, "")
    assert "refused" not in ended.out


@pytest.mark.process
async def test_what_cannot_be_done_is_one_line(database: DatabaseUrls, tmp_path: Path) -> None:
    relevo = configured(database, tmp_path)
    path = sqlite_file(tmp_path / "threads.db", ROW)
    stranger = await relevo("import", "threads", str(path), "--business", "bakery")
    assert "--business: bakery is not configured; known: hotel" in stranger.line
    missing = await imported(relevo, tmp_path / "none.db")
    assert "none.db cannot be read: No such file or directory" in missing.line
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        locked = await imported(relevo, path)
    assert "is locked for more than 5 s; stop the old system" in locked.line
    assert locked.code == CANNOT


async def take(store: Desk, *rows: dict[str, Any], rehearsal: bool = False) -> Tally:
    """Import rows, some time after whatever was before."""
    tally = Tally()
    store.clock.advance_to(store.clock.now() + timedelta(seconds=1))
    now = store.clock.now()
    read_rows = [
        legacy.thread(number, dict.fromkeys(legacy.COLUMNS) | row, now)
        for number, row in enumerate(rows, start=1)
    ]
    async with as_owner(store.urls.owner_url) as connection:
        importing = Importing(connection, BUSINESS, "SV", now, rehearsal=rehearsal)
        await importing.take(read_rows, tally)
    return tally


async def imported(relevo: Configured, path: Path, *options: str) -> Ended:
    return await relevo("import", "threads", str(path), "--business", "hotel", *options)
