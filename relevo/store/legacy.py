"""The table `threads` of the systems replaced, SQLite or CSV: read as it is, believed in parts.

* What a file is, its content says, not its name.
* Its times are naive UTC. `last_webhook_timestamp` is when the customer wrote last; `last_updated`
  was also moved by replies and is not looked at.
* A `conversation_id` counts only if it is one: phones stood there, and every call with them failed.
* A value that cannot be used is refused with a word for why, and its row is used without it.
"""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

from relevo.ai_conversations import AiConversation, RefusedIdError
from relevo.errors import FileError
from relevo.messages import CLOCK_SKEW_MAX
from relevo.store import legacy_files
from relevo.store.sql import statements

PAGE_ROWS = 1000
LOCK_SECONDS_MAX = 5.0
COLUMNS: Final = ("wa_id", "conversation_id", "last_webhook_timestamp")
"""Without these there is nothing to import; `thread_id` is only counted."""
WHATSAPP_BEGAN = datetime(2009, 1, 1, tzinfo=UTC)
"""No customer wrote before; older times are zeros of some clock."""

_SQLITE: Final = b"SQLite format 3\0"
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)


class RefusedTimeError(ValueError):
    """This is no instant at which a customer wrote; the text is a word for why."""


@dataclass(frozen=True, slots=True)
class LegacyThread:
    """One row. `number` is its rowid, or its line; a refusal is a word, empty for none.

    `wa_id` is None if it is no text and no whole number.
    """

    number: int
    wa_id: str | None
    ai_conversation: AiConversation | None
    refused_id: str
    last_customer_at: datetime | None
    refused_time: str
    has_assistants_thread: bool


Pages: TypeAlias = Generator[list[LegacyThread], None, None]


def instant(given: object, now: datetime, local: tzinfo = UTC) -> datetime | None:
    """Return the instant that a row tells, None for none; a time without a zone is `local`.

    Raises:
        RefusedTimeError: if it is none, or one at which no customer wrote.
    """
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    if not isinstance(given, str):
        raise RefusedTimeError("not_text")
    found = TIME.fullmatch(given.strip())
    if found is None:
        raise RefusedTimeError("not_a_time")
    date, time, fraction, zone = found.groups()
    try:
        written = datetime.fromisoformat(f"{date}T{time}{zone or ''}")
        told = (written if zone else written.replace(tzinfo=local)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RefusedTimeError("not_a_time") from error
    return plausible(told.replace(microsecond=int((fraction or "0")[:6].ljust(6, "0"))), now)


def plausible(told: datetime, now: datetime) -> datetime:
    """Return an instant at which somebody may have written.

    Raises:
        RefusedTimeError: if nobody can have.
    """
    if told < WHATSAPP_BEGAN:
        raise RefusedTimeError("too_old")
    if told > now + CLOCK_SKEW_MAX:
        raise RefusedTimeError("in_the_future")
    return told


def thread(number: int, row: Mapping[str, Any], now: datetime) -> LegacyThread:
    """Read one row, by the names of its columns in small letters."""
    ai_conversation, refused_id = _ai_conversation(row["conversation_id"])
    try:
        last_customer_at, refused_time = instant(row["last_webhook_timestamp"], now), ""
    except RefusedTimeError as error:
        last_customer_at, refused_time = None, str(error)
    return LegacyThread(
        number=number,
        wa_id=_wa_id(row["wa_id"]),
        ai_conversation=ai_conversation,
        refused_id=refused_id,
        last_customer_at=last_customer_at,
        refused_time=refused_time,
        has_assistants_thread=bool(row.get("thread_id")),
    )


def is_sqlite(path: Path) -> bool:
    """Tell SQLite from whatever else it is.

    Raises:
        FileError: if the file cannot be read, or has nothing in it.
    """
    with legacy_files.readable(path), path.open("rb") as file:
        head = file.read(len(_SQLITE))
    if not head:
        raise FileError(f"{path} is empty; name the SQLite file of the old system, or a CSV of it")
    return head == _SQLITE


def count(path: Path) -> int:
    """Return how many rows a file has, for CSV about; raises what `threads` raises."""
    if is_sqlite(path):
        with opened(path, write=False) as connection:
            [[rows]] = connection.execute(statements("sqlite/threads")["count"])
            return int(rows)
    return legacy_files.count(path)


async def threads(path: Path, now: datetime) -> AsyncIterator[list[LegacyThread]]:
    """Read all rows, a page at a time and off the loop.

    Raises:
        FileError: if it cannot be read, is locked, or is not such a file.
    """
    pages = _sqlite_pages(path, now) if is_sqlite(path) else _csv_pages(path, now)
    try:
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            yield page
    finally:
        with suppress(
            ValueError
        ):  # a cancelled read is under way still, and closes its file itself
            pages.close()


@contextmanager
def opened(path: Path, *, write: bool) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file that has the table and its columns; nothing is begun by itself.

    Raises:
        FileError: if it has not, or is locked or broken.
    """
    uri = f"{path.absolute().as_uri()}?mode={'rw' if write else 'ro'}"
    with _named_failures(path):
        connection = sqlite3.connect(
            uri, uri=True, timeout=LOCK_SECONDS_MAX, isolation_level=None, check_same_thread=False
        )
        with closing(connection):
            connection.row_factory = sqlite3.Row
            connection.text_factory = lambda raw: raw.decode(errors="replace")
            found = connection.execute(statements("sqlite/threads")["columns"]).fetchall()
            if not found:
                raise FileError(f"{path} has no table threads; is it the old system's own file?")
            _refuse_missing(path, "its table threads", {row["name"].lower() for row in found})
            yield connection


def sqlite_page(connection: sqlite3.Connection, after: int | None) -> list[sqlite3.Row]:
    """Return the next rows after a rowid; None begins with the first."""
    least = -(2**63) if after is None else after
    return connection.execute(statements("sqlite/threads")["page"], (least, PAGE_ROWS)).fetchall()


def by_name(row: sqlite3.Row) -> dict[str, Any]:
    """Return a row's values by the names of its columns, in small letters."""
    return {name.lower(): row[name] for name in row.keys()}  # noqa: SIM118  (a Row iterates values)


def _sqlite_pages(path: Path, now: datetime) -> Pages:
    last: int | None = None
    while True:
        with opened(path, write=False) as connection:
            rows = sqlite_page(connection, last)
        if not rows:
            return
        yield [thread(row["row_number"], by_name(row), now) for row in rows]
        last = rows[-1]["row_number"]


def _csv_pages(path: Path, now: datetime) -> Pages:
    def refuse(names: set[str]) -> None:
        if "wa_id" not in names:
            raise FileError(
                f"{path} is neither SQLite nor a CSV whose first line names its columns; they are "
                f"{', '.join(COLUMNS)}"
            )
        _refuse_missing(path, "its first line", names)

    rows = legacy_files.rows(path, "utf-8-sig", refuse)
    while page := [thread(number, row, now) for number, row in islice(rows, PAGE_ROWS)]:
        yield page


def _refuse_missing(path: Path, where: str, names: set[str]) -> None:
    if missing := [name for name in COLUMNS if name not in names]:
        raise FileError(f"{path}: {where} has no column {', no '.join(missing)}")


def _ai_conversation(given: object) -> tuple[AiConversation | None, str]:
    if given is None or given == "":
        return None, ""
    try:
        return AiConversation(given), ""
    except RefusedIdError as error:
        return None, str(error)


def _wa_id(given: object) -> str | None:
    return str(given).strip() if isinstance(given, str | int) else None


@contextmanager
def _named_failures(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if "locked" in str(error) or "busy" in str(error):
            raise FileError(
                f"{path} is locked for more than {LOCK_SECONDS_MAX:.0f} s; stop the old system, or "
                "work on a copy of the file"
            ) from error
        raise FileError(
            f"{path}: SQLite says: {error}; see that the file is whole and may be used, or export "
            "its table threads as CSV"
        ) from error
