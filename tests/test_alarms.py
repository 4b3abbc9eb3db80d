"""Deadlines: the right one rings, once, the most overdue first; held against a naive model."""

import weakref
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.actors.alarms import Alarms
from relevo.messages import ConversationKey
from tests.fakes.clock import ManualClock, settle

START = datetime.fromisoformat("2026-03-02T10:00:00+00:00")
ANA, EVA, LUZ = (ConversationKey("hotel", number) for number in (1, 2, 3))


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Bells:
    """Alarms, the clock they are on, and what has rung when."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.rung: list[tuple[ConversationKey, float, bool]] = []
        self.late: list[float] = []
        self.broken: set[ConversationKey] = set()
        self.alarms = Alarms(self.clock, self._ring)

    def set(self, key: ConversationKey, seconds: float, *, gated: bool = False) -> None:
        self.alarms.set(key, after(seconds), gated=gated)

    async def advance_to(self, seconds: float) -> None:
        self.clock.advance_to(after(seconds))
        await settle()

    def _ring(self, key: ConversationKey, at: datetime, gated: bool) -> None:  # noqa: FBT001  (as the port has it)
        if key in self.broken:
            raise ValueError("a bug")
        self.rung.append((key, (at - START).total_seconds(), gated))
        self.late.append((self.clock.now() - at).total_seconds())


async def test_an_alarm_rings_once_at_its_instant_and_says_what_it_was_set_for() -> None:
    bells = Bells()
    bells.set(ANA, 35, gated=True)
    await bells.advance_to(34.9)
    assert bells.rung == []
    await bells.advance_to(1000)
    assert bells.rung == [(ANA, 35, True)]
    assert bells.late == [0]
    assert len(bells.alarms) == 0


async def test_each_customer_has_an_alarm_of_its_own() -> None:
    bells = Bells()
    for key, seconds in ((LUZ, 30), (ANA, 10), (EVA, 20)):
        bells.set(key, seconds)
    await bells.advance_to(20)
    assert bells.rung == [(ANA, 10, False), (EVA, 20, False)]
    assert len(bells.alarms) == 1


async def test_a_replaced_alarm_rings_at_the_new_instant_only() -> None:
    bells = Bells()
    bells.set(ANA, 10)
    bells.set(ANA, 30)
    bells.set(EVA, 30)
    bells.set(EVA, 20)
    await bells.advance_to(40)
    assert bells.rung == [(EVA, 20, False), (ANA, 30, False)]


async def test_an_alarm_set_back_to_an_earlier_choice_rings_once() -> None:
    bells = Bells()
    for seconds in (10, 30, 10):
        bells.set(ANA, seconds)
    await bells.advance_to(40)
    assert bells.rung == [(ANA, 10, False)]


async def test_the_same_instant_may_stop_or_start_being_gated() -> None:
    bells = Bells()
    bells.set(ANA, 10, gated=True)
    bells.set(ANA, 10, gated=False)
    await bells.advance_to(10)
    assert bells.rung == [(ANA, 10, False)]


async def test_a_dropped_alarm_never_rings() -> None:
    bells = Bells()
    bells.set(ANA, 10)
    bells.set(EVA, 20)
    bells.alarms.drop(ANA)
    bells.alarms.drop(LUZ)
    await bells.advance_to(40)
    assert bells.rung == [(EVA, 20, False)]


async def test_overdue_alarms_ring_oldest_first() -> None:
    bells = Bells()
    await bells.advance_to(100)
    bells.set(EVA, 50)
    bells.set(LUZ, 70)
    bells.set(ANA, 10)
    assert bells.rung == []
    await settle()
    assert [key for key, *_ in bells.rung] == [ANA, EVA, LUZ]
    assert bells.late == [90, 50, 30]


async def test_a_bug_where_one_rings_keeps_no_other_from_ringing() -> None:
    bells = Bells()
    for key, seconds in ((ANA, 10), (EVA, 10), (LUZ, 20)):
        bells.set(key, seconds)
    bells.broken.add(ANA)
    with pytest.raises(ValueError, match="a bug"):
        bells.clock.advance_to(after(10))
    await settle()
    assert bells.rung == [(EVA, 10, False)]
    await bells.advance_to(20)
    assert bells.rung == [(EVA, 10, False), (LUZ, 20, False)]


async def test_nothing_rings_after_a_stop_whatever_is_set() -> None:
    bells = Bells()
    bells.set(ANA, 10)
    bells.alarms.stop()
    bells.set(EVA, 20)
    bells.set(LUZ, -5)
    await bells.advance_to(100)
    assert bells.rung == []
    assert len(bells.alarms) == 0
    assert bells.clock.next_alarm_at is None


async def test_only_one_alarm_of_the_clock_is_in_use() -> None:
    bells = Bells()
    for number in range(100):
        bells.set(ConversationKey("hotel", number), 1000 - number)
    assert bells.clock.next_alarm_at == after(901)
    bells.clock.advance_to(after(901))
    assert len(bells.rung) == 1
    assert bells.clock.next_alarm_at == after(902)


class Instant(datetime):
    """An instant that can be watched: a plain datetime cannot be referred to weakly."""


async def test_replaced_alarms_do_not_pile_up() -> None:
    bells = Bells()
    alive: weakref.WeakSet[Instant] = weakref.WeakSet()
    bells.set(EVA, 100_000)
    for number in range(10_000):
        when = after(1000 + number)
        instant = Instant.fromisoformat(when.isoformat())
        alive.add(instant)
        bells.alarms.set(ANA, instant, gated=False)
        del instant
    assert len(alive) < 500
    await bells.advance_to(100_000)
    assert bells.rung == [(ANA, 10_999, False), (EVA, 100_000, False)]


Change = tuple[ConversationKey, float | None, bool]
"""Whose alarm, when from now on (None: dropped), and whether it is gated."""

changes: st.SearchStrategy[list[Change]] = st.lists(
    st.tuples(
        st.sampled_from([ANA, EVA, LUZ]),
        st.none() | st.integers(-20, 60).map(float),
        st.booleans(),
    ),
    max_size=8,
)


@given(st.lists(st.tuples(changes, st.integers(0, 40)), max_size=12))
async def test_alarms_ring_as_a_list_of_deadlines_would(
    story: list[tuple[list[Change], int]],
) -> None:
    bells = Bells()
    expected: list[tuple[ConversationKey, float, bool]] = []
    due: dict[ConversationKey, tuple[float, bool]] = {}
    now = 0.0

    def fall_due() -> None:
        found = sorted((at, key, gated) for key, (at, gated) in due.items() if at <= now)
        for at, key, gated in found:
            del due[key]
            expected.append((key, at, gated))

    for batch, seconds in story:
        for key, delay, gated in batch:
            if delay is None:
                bells.alarms.drop(key)
                due.pop(key, None)
            else:
                bells.set(key, now + delay, gated=gated)
                due[key] = (now + delay, gated)
        await settle()
        fall_due()
        now += seconds
        await bells.advance_to(now)
        fall_due()
        assert bells.rung == expected
        assert len(bells.alarms) == len(due)
