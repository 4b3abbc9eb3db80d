"""The ids in an old SQLite file that are none: found, and emptied at once, after a copy."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from relevo.errors import FileError
from relevo.store.legacy import LegacyThread, by_name, is_sqlite, opened, sqlite_page, thread
from relevo.store.sql import statements

LISTED_MAX = 1000


@dataclass(frozen=True, slots=True)
class BadId:
    """A row whose conversation_id is none, with a word for why."""

    number: int
    wa_id: str
    reason: str


@dataclass(slots=True)
class BadIds:
    """What an old file holds: all are counted, the first are listed."""

    rows: int = 0
    number: int = 0
    listed: list[BadId] = field(default_factory=list)
    copy: Path | None = None
    """What the file was before its bad ids were emptied; None: nothing was changed."""


def find(path: Path, now: datetime) -> BadIds:
    """Look at every row.

    Raises:
        FileError: if it cannot be read, is locked, or is no such file.
    """
    _refuse_text(path)
    found = BadIds()
    with opened(path, write=False) as connection:
        for page in _pages(connection, now):
            _note(found, page)
    return found


def clear(path: Path, now: datetime) -> BadIds:
    """Copy the file beside itself and empty every id that is none; without one, do nothing.

    Raises:
        FileError: as `find` does, or if the file or its folder cannot be written.
    """
    found = find(path, now)
    if not found.number:
        return found
    copy = path.with_name(f"{path.name}.before-doctor-{now:%Y%m%dT%H%M%SZ}")
    if copy.exists():
        raise FileError(f"{copy} is there already; move it away, for the copy has its name")
    try:
        return _cleared(path, copy, now)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


def _cleared(path: Path, copy: Path, now: datetime) -> BadIds:
    cleared = BadIds(copy=copy)
    with opened(path, write=True) as connection:
        connection.execute("BEGIN IMMEDIATE")  # nobody writes between the copy and the change
        with opened(path, write=False) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)  # from a connection that writes it would wait for itself
        for page in _pages(connection, now):
            numbers = [(row.number,) for row in _note(cleared, page)]
            connection.executemany(statements("sqlite/threads")["clear"], numbers)
        connection.execute("COMMIT")
    return cleared


def _note(found: BadIds, page: list[LegacyThread]) -> list[BadId]:
    bad = [BadId(row.number, row.wa_id or "", row.refused_id) for row in page if row.refused_id]
    found.rows += len(page)
    found.number += len(bad)
    found.listed.extend(bad[: LISTED_MAX - len(found.listed)])
    return bad


def _pages(connection: sqlite3.Connection, now: datetime) -> Iterator[list[LegacyThread]]:
    last: int | None = None
    while rows := sqlite_page(connection, last):
        yield [thread(row["row_number"], by_name(row), now) for row in rows]
        last = rows[-1]["row_number"]


def _refuse_text(path: Path) -> None:
    if not is_sqlite(path):
        raise FileError(
            f"{path} is not SQLite; bad ids in a CSV do no harm, an import refuses them"
        )
