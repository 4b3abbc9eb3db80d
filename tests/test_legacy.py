"""The old file is read as it is: its times, its ids, its rows, and what is wrong with it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.errors import FileError
from relevo.store import legacy
from relevo.store.legacy import RefusedTimeError, instant
from tests.legacy_files import GOOD, OLD, OLD_TEXT, ROW, WA_ID, csv_file, sqlite_file

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        OLD_TEXT,
        "2025-10-04T13:00:00",
        "2025-10-04 13:00",
        " 2025-10-04 13:00:00Z",
        "2025-10-04 10:00:00-03:00",
        "2025-10-04T18:30:00+0530",
        "2025-10-04 13:00:00.000000000",
    ],
)
def test_every_spelling_of_an_instant_is_read(text: str) -> None:
    assert instant(text, NOON) == OLD


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_no_time_is_no_refusal(nothing: object) -> None:
    assert instant(nothing, NOON) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("yesterday", "not_a_time"),
        ("2025-13-04 13:00:00", "not_a_time"),
        ("2025-10-04", "not_a_time"),
        ("٢٠٢٥-10-04 13:00:00", "not_a_time"),
        (f"{OLD_TEXT} {OLD_TEXT}", "not_a_time"),
        ("0001-01-01 00:00:00+14:00", "not_a_time"),
        (1_759_582_800, "not_text"),
        (b"2025-10-04 13:00:00", "not_text"),
        ("1970-01-01 00:00:00", "too_old"),
        ("2026-03-02 12:01:01", "in_the_future"),
    ],
)
def test_what_is_no_instant_of_a_customer_is_refused(given: object, reason: str) -> None:
    with pytest.raises(RefusedTimeError, match=f"^{reason}$"):
        instant(given, NOON)


@given(st.datetimes(legacy.WHATSAPP_BEGAN.replace(tzinfo=None), NOON.replace(tzinfo=None)))
def test_what_the_old_systems_wrote_is_read_as_utc(naive: datetime) -> None:
    for text in (str(naive), naive.isoformat()):
        assert instant(text, NOON) == naive.replace(tzinfo=UTC)


@given(st.one_of(st.text(), st.from_regex(legacy.TIME, fullmatch=True)))
def test_any_text_is_an_instant_in_the_past_or_refused(text: str) -> None:
    told, refusal = None, "not_a_time"
    try:
        told = instant(text, NOON)
    except RefusedTimeError as error:
        refusal = str(error)
    assert refusal in {"not_a_time", "too_old", "in_the_future"}
    assert told is None or legacy.WHATSAPP_BEGAN <= told <= NOON + timedelta(seconds=60)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
async def test_a_csv_tells_what_the_table_tells(tmp_path: Path, delimiter: str) -> None:
    table = sqlite_file(tmp_path / "one.csv", ROW)
    text = csv_file(tmp_path / "one.db", ROW, delimiter=delimiter)
    [of_table], [of_text] = await read(table), await read(text)
    assert (of_table.number, of_text.number) == (1, 2)
    assert of_table.wa_id == of_text.wa_id == WA_ID
    assert of_table.ai_conversation == of_text.ai_conversation == GOOD
    assert of_table.last_customer_at == of_text.last_customer_at == OLD


async def test_more_rows_than_a_page_are_read_in_order_once(tmp_path: Path) -> None:
    rows = [{"wa_id": str(50370000000 + n)} for n in range(legacy.PAGE_ROWS * 2 + 1)]
    for path in (sqlite_file(tmp_path / "a", *rows), csv_file(tmp_path / "b", *rows)):
        assert [row.wa_id for row in await read(path)] == [row["wa_id"] for row in rows]
        assert abs(legacy.count(path) - len(rows)) <= 1


async def test_numbers_and_rubbish_in_columns_are_read_for_what_they_are(tmp_path: Path) -> None:
    table = "CREATE TABLE threads (WA_ID, Conversation_Id, last_webhook_timestamp)"
    path = sqlite_file(
        tmp_path / "threads.db",
        {"wa_id": 50370000246, "conversation_id": 50370000246},
        {"wa_id": b"\xff", "conversation_id": b"\xff"},
        table=table,
    )
    number, rubbish = await read(path)
    assert (number.wa_id, number.refused_id) == (WA_ID, "not_text")
    assert (rubbish.wa_id, rubbish.refused_id) == (None, "not_text")


async def test_nobody_who_writes_to_the_file_waits_for_a_page_to_be_taken(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "threads.db", ROW)
    async for _page in legacy.threads(path, NOON):
        with closing(sqlite3.connect(path, timeout=0)) as other:
            other.execute("BEGIN EXCLUSIVE")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is empty; name the SQLite file"),
        (b"hello", "is neither SQLite nor a CSV whose first line names its columns"),
        (b"wa_id,thread_id\n", "has no column conversation_id, no last_webhook_timestamp"),
        (b"SQLite format 3\0" + b"x" * 500, "SQLite says: file is not a database"),
    ],
)
async def test_a_file_that_is_none_is_named_with_what_it_lacks(
    tmp_path: Path, content: bytes, line: str
) -> None:
    path = tmp_path / "threads.db"
    path.write_bytes(content)
    with pytest.raises(FileError, match=line) as refused:
        await read(path)
    assert str(path) in str(refused.value)


async def test_a_table_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    other = sqlite_file(tmp_path / "other.db", table="CREATE TABLE customers (wa_id)")
    columns = "wa_id TEXT PRIMARY KEY, conversation_id"
    narrow = sqlite_file(tmp_path / "narrow.db", table=f"CREATE TABLE threads ({columns})")
    odd = sqlite_file(
        tmp_path / "odd.db",
        table=f"CREATE TABLE threads ({columns}, last_webhook_timestamp) WITHOUT ROWID",
    )
    for path, line in (
        (other, "has no table threads"),
        (narrow, "its table threads has no column last_webhook_timestamp"),
        (odd, "export its table threads as CSV"),
        (tmp_path / "none.db", "cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
    ):
        with pytest.raises(FileError, match=line):
            await read(path)


async def read(path: Path) -> list[legacy.LegacyThread]:
    return [row async for page in legacy.threads(path, NOON) for row in page]
