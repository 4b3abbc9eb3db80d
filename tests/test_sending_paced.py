"""Parts that may not leave yet: the pace of a line or a customer, a stopped line, the window."""

from datetime import timedelta

import pytest

from relevo.effects import WakeAt
from relevo.events import SendFailure
from relevo.sending import PACED_MAX
from relevo.states import Idle, Sending
from tests.script import Script

RATE_LIMITED = SendFailure.RATE_LIMITED


def replying(*texts: str) -> Script:
    story = Script()
    story.customer("Hola")
    return story.wait(35).answers(*texts).expect(state=Sending)


def seconds_to_wait(story: Script) -> float:
    wake: WakeAt = story.wanted(WakeAt)
    return (wake.at - story.now).total_seconds()


def test_a_part_that_came_too_fast_waits_as_long_as_the_provider_says() -> None:
    story = replying("uno", "dos").refused(RATE_LIMITED, "pair_rate", retry_after_seconds=6)
    story.expect(state=Sending, parts=["pending", "pending"], effects=["WakeAt"])
    assert seconds_to_wait(story) == 6
    story.woken().accepted().accepted().expect(state=Idle, outcome="answered")


@pytest.mark.parametrize(("says", "waits"), [(0.0, 1), (3600.0, 60)])
def test_it_is_believed_within_bounds(says: float, waits: float) -> None:
    story = replying("uno").refused(RATE_LIMITED, retry_after_seconds=says)
    assert seconds_to_wait(story) == waits


def test_without_a_word_each_wait_is_four_times_the_one_before() -> None:
    story = replying("uno")
    waits = []
    for _ in range(4):
        story.refused(RATE_LIMITED, "pair_rate")
        waits.append(seconds_to_wait(story))
        story.woken()
    assert waits == [4, 16, 60, 60]


def test_a_pace_costs_none_of_the_tries() -> None:
    story = replying("uno")
    for _ in range(5):
        story.refused(RATE_LIMITED, retry_after_seconds=1).woken()
    for _ in range(3):
        story.refused(SendFailure.NOT_SENT).woken().expect(parts=["sending"])
    story.accepted().expect(outcome="answered")


def test_what_may_never_leave_is_given_up_in_the_end() -> None:
    story = replying("uno")
    begun_at = story.now
    while isinstance(story.state, Sending):
        story.refused(RATE_LIMITED, "throttled", retry_after_seconds=60)
        if isinstance(story.state, Sending):
            story.woken()
    story.expect(outcome="failed", reason="throttled", dead_letters=[("sending", "throttled")])
    assert story.now - begun_at <= PACED_MAX + timedelta(seconds=60)


def test_a_colleague_who_writes_meanwhile_comes_first() -> None:
    story = replying("uno").refused(RATE_LIMITED, retry_after_seconds=30)
    story.agent("Ya le atiendo")
    story.woken().expect(state=Idle, outcome="answered_by_human", parts=["cancelled"])


def test_a_stopped_line_fails_the_turn_whose_messages_wait_for_a_person() -> None:
    story = replying("uno").refused(SendFailure.STOPPED, "line_stopped")
    story.expect(
        state=Idle,
        outcome="failed",
        untold={"Hola": "failed"},
        dead_letters=[("sending", "line_stopped")],
    )
    story.clock("10:05:00").ask().woken().expect(asked=["Hola", "answer"])


def test_a_part_that_waited_past_the_window_never_leaves() -> None:
    story = replying("uno", "dos").accepted().refused(RATE_LIMITED, retry_after_seconds=1)
    story.now += timedelta(hours=24)
    story.woken().expect(
        state=Idle, outcome="answered", reason="window_closed", parts=["accepted", "dead"]
    )
    nothing = replying("uno").refused(RATE_LIMITED, retry_after_seconds=1)
    nothing.now += timedelta(hours=24)
    nothing.woken().expect(
        outcome="refused", reason="window_closed", fates={"Hola": "refused"}, dead_letters=[]
    )
