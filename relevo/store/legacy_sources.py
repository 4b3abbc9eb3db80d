"""Where messages of an older CRM are read: a CSV, or its own PostgreSQL; a page at a time.

Every row comes with its number: the line it ends in, or its place in the order of the table's ids.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import orjson

from relevo.errors import FileError, StoreSetupError
from relevo.store import legacy_files
from relevo.store.failures import NOT_LET_IN, as_unavailable, is_unavailable
from relevo.store.legacy_messages import COLUMNS, PERSON, missing
from relevo.store.sql import statements

PAGE_ROWS = 1000
CONNECT_TIMEOUT_SECONDS = 10.0

NumberedRow: TypeAlias = tuple[int, Mapping[str, Any]]
Pages: TypeAlias = AsyncIterator[Sequence[NumberedRow]]

_OF_PERSON = frozenset(name for kind in PERSON for name in COLUMNS[kind])


@dataclass(frozen=True, slots=True)
class Csv:
    """A file whose first line names its columns, in UTF-8 or as a spreadsheet writes it."""

    path: Path

    async def count(self) -> int:
        """Return about how many rows there are; raises `FileError` as `pages` does."""
        return await asyncio.to_thread(legacy_files.count, self.path)

    async def pages(self) -> Pages:
        """Read all rows, off the loop.

        Raises:
            FileError: if it cannot be read, or is not such a file.
        """
        written_in = await asyncio.to_thread(legacy_files.encoding, self.path)
        rows = legacy_files.rows(self.path, written_in, self._refuse)
        while page := await asyncio.to_thread(lambda: list(islice(rows, PAGE_ROWS))):
            yield page

    def _refuse(self, names: set[str]) -> None:
        if lacking := missing(names):
            raise FileError(
                f"{self.path}: its first line has no column {', no '.join(lacking)}, nor another "
                "name of the same; see docs/importing.md"
            )


@dataclass(frozen=True, slots=True)
class LegacyDatabase:
    """The tables whatsapp_message and, if it is there, whatsapp_conversation; read and no more.

    `url` is a secret. `named` says where it came from, for errors.
    """

    url: str
    named: str

    async def count(self) -> int:
        """Return how many rows there are; raises what `pages` does."""
        async with self._opened() as connection:
            found = await connection.fetchval(statements("legacy/messages")["count"])
        return int(found)

    async def pages(self) -> Pages:
        """Read all rows in one snapshot; who a conversation is with, its messages say as well.

        Raises:
            StoreSetupError: if it does not let us in, or has no such table.
            StoreUnavailableError: if it cannot be reached.
            FileError: if its rows cannot be messages.
        """
        sql = statements("legacy/messages")
        async with (
            self._opened() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            there = await connection.fetchrow(sql["there"])
            assert there is not None
            cursor = await connection.cursor(sql["joined" if there["conversations"] else "alone"])
            number = 0
            while records := await cursor.fetch(PAGE_ROWS):
                page = [(number + nth, _row(r)) for nth, r in enumerate(records, start=1)]
                if not number and (lacking := missing(page[0][1].keys())):
                    raise FileError(
                        f"{self.named}: whatsapp_message has no column {', no '.join(lacking)}, "
                        "nor another name of the same; see docs/importing.md"
                    )
                number += len(page)
                yield page

    @asynccontextmanager
    async def _opened(self) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        try:
            connection = await asyncpg.connect(
                self.url,
                timeout=CONNECT_TIMEOUT_SECONDS,
                server_settings={
                    "application_name": "relevo_import",
                    "default_transaction_read_only": "on",
                    "timezone": "UTC",
                },
            )
            try:
                there = await connection.fetchrow(statements("legacy/messages")["there"])
                if there is None or not there["messages"]:
                    raise StoreSetupError(f"{self.named}: it has no table whatsapp_message")
                yield connection
            finally:
                with suppress(Exception):
                    await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)
        except (*NOT_LET_IN, asyncpg.InsufficientPrivilegeError) as error:
            raise StoreSetupError(f"{self.named} does not open the database: {error}") from error
        except Exception as error:
            if is_unavailable(error):
                raise as_unavailable(error, key=self.named) from error
            raise


def _row(record: "asyncpg.Record") -> dict[str, Any]:
    said: dict[str, Any] = orjson.loads(record["message"])
    of: dict[str, Any] = orjson.loads(record["conversation"] or b"{}")
    person = {name: of[name] for name in of if name in _OF_PERSON}
    return person | {name: value for name, value in said.items() if _tells(name, value, person)}


def _tells(name: str, value: object, person: Mapping[str, Any]) -> bool:
    """Tell whether a message's own value counts: an empty one gives way to its conversation's."""
    return name not in person or (value is not None and value != "")
