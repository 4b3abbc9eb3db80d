"""Files of the systems replaced, made up."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

COLUMNS = ("wa_id", "thread_id", "conversation_id", "last_updated", "last_webhook_timestamp")
OLD = datetime(2025, 10, 4, 13, tzinfo=UTC)
OLD_TEXT = "2025-10-04 13:00:00"
WA_ID = "50370000246"
GOOD = "conv_68f0abc"
ROW = {"wa_id": WA_ID, "conversation_id": GOOD, "last_webhook_timestamp": OLD_TEXT}
TABLE = "CREATE TABLE threads (wa_id TEXT PRIMARY KEY, {})".format(", ".join(COLUMNS[1:]))


def sqlite_file(path: Path, *rows: Mapping[str, Any], table: str = TABLE) -> Path:
    """Write a SQLite file as the old systems did; what a row does not tell is NULL."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(table)
        for row in rows:
            names = ", ".join(row)
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO threads ({names}) VALUES ({marks})", [*row.values()])
        connection.commit()
    return path


def csv_file(path: Path, *rows: Mapping[str, Any], delimiter: str = ",") -> Path:
    """Write the same as CSV."""
    lines = [COLUMNS, *([str(row.get(name, "")) for name in COLUMNS] for row in rows)]
    path.write_text("\r\n".join(delimiter.join(line) for line in lines) + "\r\n")
    return path
