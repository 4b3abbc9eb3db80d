"""The brake that all who share an API key slow down with."""

from datetime import UTC, datetime, timedelta

import pytest

from relevo.http.brake import DELAY_SECONDS_MAX, GENTLY_PER_SECOND, Brake
from tests.fakes.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2025, 10, 8, 12, tzinfo=UTC))


@pytest.fixture
def brake(clock: ManualClock) -> Brake:
    return Brake(clock)


def later(clock: ManualClock, seconds: float) -> None:
    clock.advance_to(clock.now() + timedelta(seconds=seconds))


def let_out(brake: Brake, calls: int) -> int:
    return sum(brake.admit() == 0 for _ in range(calls))


def test_a_brake_that_nobody_closed_lets_everybody_out(brake: Brake) -> None:
    assert let_out(brake, 1000) == 1000


def test_a_rate_limit_stops_everybody_for_as_long_as_it_asks(
    brake: Brake, clock: ManualClock
) -> None:
    assert brake.limited(brake.closings, 12.5) == 12.5

    assert brake.admit() == 12.5
    later(clock, 10)
    assert brake.admit() == 2.5
    later(clock, 2.5)
    assert brake.admit() == 0


def test_a_limit_that_does_not_say_waits_longer_each_time(brake: Brake, clock: ManualClock) -> None:
    waits = []
    for _ in range(7):
        assert brake.admit() == 0
        waits.append(brake.limited(brake.closings, None))
        later(clock, waits[-1])

    assert waits == [1, 2, 4, 8, 16, DELAY_SECONDS_MAX, DELAY_SECONDS_MAX]


def test_calls_that_are_limited_together_make_the_wait_grow_once(brake: Brake) -> None:
    went_out_at = brake.closings

    assert [brake.limited(went_out_at, None) for _ in range(5)] == [1] * 5


def test_of_limits_that_come_together_the_longest_counts(brake: Brake) -> None:
    went_out_at = brake.closings

    assert [brake.limited(went_out_at, s) for s in (3, 8, 5, None)] == [3, 8, 8, 8]


def test_after_it_a_few_go_out_each_second_until_one_has_gone_well(
    brake: Brake, clock: ManualClock
) -> None:
    brake.limited(brake.closings, 2)
    later(clock, 2)
    assert let_out(brake, 100) == GENTLY_PER_SECOND
    later(clock, 0.25)
    assert brake.admit() == 0.75

    later(clock, 0.75)
    assert let_out(brake, 100) == GENTLY_PER_SECOND
    brake.went_well(brake.closings)
    assert let_out(brake, 100) == 100


def test_a_call_from_before_it_was_closed_releases_nothing(
    brake: Brake, clock: ManualClock
) -> None:
    early = brake.closings
    brake.limited(early, 2)
    brake.went_well(early)

    assert brake.admit() == 2
    later(clock, 2)
    assert let_out(brake, 100) == GENTLY_PER_SECOND


def test_a_limit_after_one_that_went_well_begins_at_a_second_again(
    brake: Brake, clock: ManualClock
) -> None:
    brake.limited(brake.closings, None)
    later(clock, 1)
    brake.limited(brake.closings, None)
    later(clock, 2)
    brake.went_well(brake.closings)

    assert brake.limited(brake.closings, None) == 1


def test_a_late_limit_does_not_close_what_has_been_released(
    brake: Brake, clock: ManualClock
) -> None:
    early = brake.closings
    brake.limited(early, 1)
    later(clock, 1)
    brake.went_well(brake.closings)

    assert brake.limited(early, 20) == 0
    assert let_out(brake, 100) == 100
