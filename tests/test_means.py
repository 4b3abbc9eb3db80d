"""What the store tells of the time its work takes."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from relevo.store.means import Means
from relevo.store.pools import Pools
from relevo.tasks import Tasks
from tests.fakes.clock import ManualClock

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Told:
    def __init__(self) -> None:
        self.operations: list[tuple[str, float, int]] = []

    def identity_resolved(self, outcome: str, count: int) -> None:
        raise AssertionError(f"nobody is resolved: {outcome} {count}")

    def changed(self, kind: str, outcome: str, changes: int) -> None:
        raise AssertionError(f"nothing is changed: {kind} {outcome} {changes}")

    def store_operation(self, operation: str, seconds: float, rows: int) -> None:
        self.operations.append((operation, seconds, rows))


async def test_work_is_told_with_its_time_however_it_ended() -> None:
    told, clock = Told(), ManualClock(NOON)
    means = Means(cast("Pools", None), Tasks(lambda _: None), clock, told)
    with means.timed("commit", 7):
        clock.advance_to(NOON + timedelta(seconds=2))
    with pytest.raises(OSError, match="gone"), means.timed("sweep"):
        raise OSError("gone")
    assert told.operations == [("commit", 2.0, 7), ("sweep", 0.0, 1)]
