"""The SQL stands in `.sql` files; this reads them. One statement a name, comments stay in place.

A statement begins with a line `-- name: something` and ends before the next one. Parameters are
PostgreSQL's own `$1`, so that a test can prepare every statement as it stands.
"""

from functools import cache
from pathlib import Path

SQL_DIR = Path(__file__).parent / "sql"
NAME = "-- name:"


@cache
def statements(file: str) -> dict[str, str]:
    """Return the statements of one file by name."""
    found: dict[str, str] = {}
    for block in (SQL_DIR / f"{file}.sql").read_text(encoding="utf-8").split(NAME)[1:]:
        name, _, body = block.partition("\n")
        found[name.strip()] = body.strip().rstrip(";")
    return found
