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

    def store_operation(self, operation: str, seconds: float, rows: int) -> None:
        self.operations.append((operation, seconds, rows))


@pytest.mark.parametrize("fails", [False, True], ids=["well", "badly"])
async def test_work_is_told_with_its_time_however_it_ended(fails: bool) -> None:  # noqa: FBT001  (parametrised)
    told, clock = Told(), ManualClock(NOON)
    means = Means(cast("Pools", None), Tasks(lambda _: None), clock, told)
    failed = False
    try:
        with means.timed("commit", 7):
            clock.advance_to(NOON + timedelta(seconds=2))
            if fails:
                raise OSError("gone")
    except OSError:
        failed = True
    assert (failed, told.operations) == (fails, [("commit", 2.0, 7)])
