"""`python -m tests.channels_table` writes docs/channels.md's tables as adapters declare them."""

import asyncio
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from relevo.clock import SystemClock
from relevo.http.abilities import Abilities, tables
from tests.every_line import KINDS, adapters

TOLD = Path(__file__).parent.parent / "docs" / "channels.md"

_TABLE = re.compile(r"^\| kind \|(?:.*\n\|)*.*\n", re.MULTILINE)


def declared() -> Mapping[str, Abilities]:
    """Return what the line of each kind can do; the sandbox, which is no provider, last."""
    with tempfile.TemporaryDirectory() as folder:
        lines = asyncio.run(adapters(Path(folder), SystemClock()))
    return {kind: lines[kind].abilities for kind in KINDS}


def rewritten(told: str) -> str:
    """Return the document with its tables made anew."""
    made = iter(tables(declared()))
    return _TABLE.sub(lambda _: next(made), told)


if __name__ == "__main__":
    TOLD.write_text(rewritten(TOLD.read_text(encoding="utf-8")), encoding="utf-8")
