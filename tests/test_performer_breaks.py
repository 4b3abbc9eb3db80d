"""A performer's effects that break: every one is reported as a bug, and comes back all the same."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from relevo.effects import Effect
from relevo.events import (
    AnswerFailed,
    AnswerFailure,
    Event,
    HistoryRecalled,
    SendFailed,
    SendFailure,
)
from relevo.turns import RecallStatus
from tests.fakes.clock import settle, until
from tests.performer_rig import ASK, ENSURE, RECALL, RECONCILE, SEND, Desk

COMES_BACK = [RECALL, ENSURE, ASK, RECONCILE, SEND]

by_class = pytest.mark.parametrize("effect", COMES_BACK, ids=lambda e: type(e).__name__)


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.tasks.cancel()
    assert desk.outside.probe.under_way == []


BROKEN: list[tuple[Effect, Callable[[Event], bool]]] = [
    (
        RECALL,
        lambda e: isinstance(e, HistoryRecalled) and e.status is RecallStatus.FAILED,
    ),
    (ENSURE, lambda e: isinstance(e, AnswerFailed) and e.failure is AnswerFailure.UNKNOWN),
    (ASK, lambda e: isinstance(e, AnswerFailed) and e.failure is AnswerFailure.UNKNOWN),
    (RECONCILE, lambda e: isinstance(e, AnswerFailed) and e.failure is AnswerFailure.UNKNOWN),
    (SEND, lambda e: isinstance(e, SendFailed) and e.failure is SendFailure.UNKNOWN),
]


@pytest.mark.parametrize(("effect", "fits"), BROKEN, ids=lambda v: type(v).__name__)
async def test_an_effect_that_breaks_is_reported_and_still_comes_back(
    desk: Desk, effect: Effect, fits: Callable[[Event], bool]
) -> None:
    desk.door_of(effect).failure = bug = KeyError("a bug")
    desk.perform(effect)
    [event] = await desk.told_of(1)
    assert fits(event)
    assert desk.performer.running(desk.key) == frozenset()
    await settle()
    assert desk.failures == [bug]
    desk.failures.clear()
    assert desk.outside.probe.effects == [(type(effect).__name__, "broken")]


@by_class
async def test_an_effect_whose_work_was_given_up_still_comes_back(
    desk: Desk, effect: Effect
) -> None:
    door = desk.door_of(effect)
    door.closed = True
    desk.perform(effect)
    await until(lambda: door.waiting == 1)
    door.give_up()
    await desk.told_of(1)
    assert desk.performer.in_flight == 0
    await settle()
    assert len(desk.failures) == 1
    desk.failures.clear()


@by_class
async def test_a_probe_that_breaks_silences_nobody(desk: Desk, effect: Effect) -> None:
    desk.outside.probe.failure = bug = RuntimeError("a bug in the metrics")
    desk.perform(effect)
    await desk.told_of(1)
    await settle()
    assert desk.failures == [bug]
    desk.failures.clear()
