"""What one key may ask of the API at once, and that the bound is bounded itself."""

from datetime import timedelta

from relevo.http.api_limits import Buckets, Limits
from tests.fakes.clock import ManualClock
from tests.store_rig import NOON

LIMITS = Limits(burst=2, per_second=0.5, buckets_max=2)


def test_a_bucket_fills_as_time_goes_by_and_never_over_its_brim() -> None:
    clock = ManualClock(NOON)
    buckets = Buckets(clock, LIMITS)
    assert [buckets.take("one") for _ in range(4)] == [0, 0, 2, 2]
    clock.advance_to(NOON + timedelta(seconds=1))
    assert buckets.take("one") == 1
    clock.advance_to(NOON + timedelta(seconds=2))
    assert [buckets.take("one") for _ in range(2)] == [0, 2]
    clock.advance_to(NOON + timedelta(hours=1))
    assert [buckets.take("one") for _ in range(3)] == [0, 0, 2]


def test_of_many_keys_only_the_quietest_is_forgotten() -> None:
    buckets = Buckets(ManualClock(NOON), LIMITS)
    assert [buckets.take("one") for _ in range(3)] == [0, 0, 2]
    assert [buckets.take(key) for key in ("two", "one", "three")] == [0, 2, 0]
    assert buckets.take("one") == 2
    assert [buckets.take("two") for _ in range(3)] == [0, 0, 2]
