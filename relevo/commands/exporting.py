"""`relevo export`: everything that is known of a customer, as JSON; or the thread, as CSV."""

import argparse
import csv
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import orjson

from relevo.commands import opening
from relevo.commands.opening import BAD, WELL, Commands

if TYPE_CHECKING:
    from relevo.messages import ConversationKey
    from relevo.store.pools import Pools

    Found = list[tuple[ConversationKey, str]]

MODE = 0o600
"""Of a file that is written: its owner alone may read it."""

COLUMNS = ("event_at", "author", "author_name", "kind", "body", "source", "status", "fate")

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")
"""With one of these a cell begins that a spreadsheet would run (OWASP ASVS 1.2.10)."""


def add(commands: Commands) -> None:
    """Add the command of this module."""
    export = opening.add(commands, "export", "write out all that is known of a customer", _export)
    opening.add_address(export)
    export.add_argument(
        "--format",
        choices=("json", "csv"),
        default="json",
        help="json: everything; csv: the thread, its cells no formulas (default: json)",
    )
    export.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="a new file, which only you may read (default: standard output)",
    )


async def _export(options: argparse.Namespace) -> int:
    from relevo import telling
    from relevo.store.holding import known

    config = opening.config(options)
    businesses = opening.businesses(config, options.business)
    async with opening.connected(config) as database:
        found = [
            (one.key, business.region)
            for business in businesses
            for one in await known(database.pools, business.id, options.address, business.region)
        ]
        if not found:
            telling.say("Nobody is known under this address.")
            return BAD
        with _opened(options.output) as out:
            write = _as_csv if options.format == "csv" else _as_json
            await write(database.pools, found, out)
    return WELL


async def _as_json(pools: "Pools", found: "Found", out: TextIO) -> None:
    """Write a list with an object for each conversation, row by row."""
    from relevo import terminal
    from relevo.store.exporting import SECTIONS, export_of

    for number, (key, region) in enumerate(found):
        out.write(",\n{" if number else "[{")
        async with export_of(pools, key, region) as export:
            for place, section in enumerate(SECTIONS):
                out.write(f'{"," if place else ""}\n"{section}": [')
                comma = ""
                async for row in export.rows(section):
                    out.write(f"{comma}\n{terminal.escaped_json(row)}")
                    comma = ","
                out.write("]")
        out.write("}")
    out.write("]\n")


async def _as_csv(pools: "Pools", found: "Found", out: TextIO) -> None:
    """Write the messages of every conversation, oldest first."""
    from relevo.store.exporting import MESSAGES, export_of

    table = csv.writer(out)
    table.writerow(("business", *COLUMNS))
    for key, region in found:
        async with export_of(pools, key, region) as export:
            async for row in export.rows(MESSAGES):
                message = orjson.loads(row)
                cells = (key.business_id, *(message[column] or "" for column in COLUMNS))
                table.writerow(map(_defused, cells))


def _defused(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula, and no terminal for an order."""
    from relevo import terminal

    shown = "\n".join(map(terminal.escaped, cell.split("\n")))
    return f"'{shown}" if cell.startswith(FORMULAS) else shown


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Lend where to write; a file is new, and gone again if it could not be written to its end."""
    from relevo.errors import ConfigError

    if path is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    except OSError as error:
        raise ConfigError(f"--output: {path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
            yield out
    except BaseException:
        path.unlink(missing_ok=True)
        raise
