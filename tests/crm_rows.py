"""Rows of an older CRM, made up, and the way they take into the store."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from relevo.messages import Author
from relevo.store.backfilling import Backfill
from relevo.store.legacy_messages import Reading
from relevo.store.pools import Pools
from relevo.store.staging import Staging, Taken
from tests.fakes.clock import ManualClock
from tests.store_rig import BUSINESS, LINE, NOON

LONG_AGO = datetime(2025, 10, 4, 13, tzinfo=UTC)
COLUMNS = ("id", "to_number", "direction", "lead_id", "body", "created_at", "lid")
READING = Reading("SV", ZoneInfo("America/El_Salvador"), Author.AGENT, NOON)


def row(body: str, number: int = 0, **columns: Any) -> dict[str, Any]:
    """Make a row of the customer's, said so many minutes after long ago; its body is its id."""
    at = (LONG_AGO + timedelta(minutes=number)).isoformat()
    return {"id": f"id of {body}", "direction": "in", "body": body, "created_at": at} | columns


def crm_csv(path: Path, rows: Sequence[Mapping[str, Any]], encoding: str = "utf-8") -> Path:
    """Write a CSV as a CRM exports it."""
    lines = [COLUMNS, *([str(row.get(name, "")) for name in COLUMNS] for row in rows)]
    path.write_bytes("".join(";".join(line) + "\r\n" for line in lines).encode(encoding))
    return path


async def put_aside(
    pools: Pools, rows: Sequence[Mapping[str, Any]], business: str = BUSINESS, line: str = LINE
) -> Taken:
    """Have the messages of rows put aside, for a backfill."""
    taken = Taken()
    await Staging(pools, business, line, READING).take(list(enumerate(rows, start=1)), taken)
    return taken


async def backfilled(
    pools: Pools, clock: ManualClock, business: str = BUSINESS, *, again: bool = False
) -> dict[tuple[str, str], int]:
    """Run a backfill to its end, and return what has become of all, by (state, reason)."""
    backfill = Backfill(pools, business, "SV", clock)
    await backfill.waiting(again=again)
    async for _rows in backfill.run():
        pass
    return {(r["state"], r["reason"]): r["messages"] for r in await backfill.summary()}
