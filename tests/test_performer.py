"""The performer: what is wanted runs, once; what is not wanted is stopped; everything reports."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest
import pytest_asyncio

from relevo.actors.performer import (
    LOCAL_THREAD_MAX,
    START_WITHIN_SECONDS,
    STORE_RETRY_SECONDS,
)
from relevo.effects import Ask, Effect, EnsureConversation, Recall, Reconcile, Send
from relevo.events import (
    Answered,
    AnswerFailed,
    AnswerFailure,
    ConversationEnsured,
    HistoryRecalled,
    Reconciled,
    SendAccepted,
    SendFailed,
    SendFailure,
)
from relevo.messages import Author, HistoryItem
from relevo.outcomes import Accepted, Answer, History, NoAnswer, NotAccepted
from relevo.turns import RecallStatus
from tests.actors_rig import START
from tests.fakes.clock import settle, until
from tests.performer_rig import (
    ASK,
    EFFECTS,
    ENSURE,
    PART,
    RECALL,
    RECONCILE,
    SEND,
    TURN,
    WAKE,
    Desk,
)

COMES_BACK = [RECALL, ENSURE, ASK, RECONCILE, SEND]
LEAVES = [ENSURE, ASK, SEND]

by_class = pytest.mark.parametrize("effect", COMES_BACK, ids=lambda e: type(e).__name__)
that_leaves = pytest.mark.parametrize("effect", LEAVES, ids=lambda e: type(e).__name__)


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.tasks.cancel()
    assert desk.failures == []
    assert desk.outside.probe.under_way == []


def test_no_effect_is_forgotten_here() -> None:
    assert set(EFFECTS) == set(get_args(Effect))


@by_class
async def test_every_effect_comes_back_as_its_event(desk: Desk, effect: Effect) -> None:
    desk.perform(effect)
    assert desk.performer.running(desk.key) == {effect.key}
    assert desk.performer.in_flight == 1
    [event] = await desk.told_of(1)
    expected = {
        Recall: HistoryRecalled,
        EnsureConversation: ConversationEnsured,
        Ask: Answered,
        Reconcile: Reconciled,
        Send: SendAccepted,
    }
    assert type(event) is expected[type(effect)]
    assert desk.performer.running(desk.key) == frozenset()
    assert desk.performer.in_flight == 0


async def test_an_alarm_is_set_and_dropped_when_it_is_not_wanted(desk: Desk) -> None:
    desk.perform(WAKE)
    assert desk.performer.in_flight == 0
    await desk.advance(60)
    assert desk.rung == [desk.key]
    desk.perform(replace(WAKE, at=START + timedelta(seconds=90)))
    desk.perform()
    await desk.advance(60)
    assert desk.rung == [desk.key]
    assert desk.told == []


async def test_a_recall_brings_the_history_our_rows_and_ids_for_what_is_new(desk: Desk) -> None:
    items = tuple(
        HistoryItem(0, Author.AGENT, "text", f"item {n}", START - timedelta(hours=n), (f"h{n}",))
        for n in (3, 2)
    )
    desk.outside.line.story = History(RecallStatus.TRUNCATED, items, "pages")
    door = desk.door_of(RECALL)
    door.closed = True
    desk.perform(RECALL)
    await until(lambda: door.waiting == 1)
    await desk.advance(5)
    door.open()
    [event] = await desk.told_of(1)
    assert isinstance(event, HistoryRecalled)
    assert (event.status, event.reason) == (RecallStatus.TRUNCATED, "pages")
    assert event.known_to == START, "what was said while it was being asked may be missing"
    assert [item.body for item in event.items] == ["item 3", "item 2"]
    ids = [item.id for item in event.items]
    assert ids == sorted({*ids} - {0})
    assert [row.body for row in event.rows] == ["Hola"]
    assert desk.outside.line.asked == [RECALL.since]


async def test_nothing_is_put_into_a_conversation_before_it_is_written_down(desk: Desk) -> None:
    journal, ai = desk.outside.journal, desk.outside.ai
    desk.perform(ENSURE)
    await desk.told_of(1)
    assert (journal.kept, ai.seeded) == ([], []), "a new customer's is written down by its commit"
    journal.book.thread(desk.key).untold.clear()
    desk.perform(replace(ENSURE, attempt=8))
    await desk.told_of(2)
    assert journal.kept == ["conv_2"]
    assert [item.content for seed in ai.seeded for item in seed.thread] == ["Hola"]
    ai.unseeded = NoAnswer(AnswerFailure.TRANSIENT, "timeout")
    desk.perform(replace(ENSURE, attempt=9))
    [*_, event] = await desk.told_of(3)
    assert isinstance(event, AnswerFailed)
    assert event.reason == "timeout"
    journal.forgets = True
    desk.perform(replace(ENSURE, attempt=10))
    [*_, event] = await desk.told_of(4)
    assert isinstance(event, AnswerFailed)
    assert event.reason == "customer_gone"
    assert len(ai.seeded) == 2


async def test_an_answer_is_cut_into_parts_with_ids_and_timed(desk: Desk) -> None:
    desk.outside.ai.answered = Answer("uno\n\n" + "x" * 5000, "resp_1", "model-1")
    door = desk.door_of(ASK)
    door.closed = True
    desk.perform(ASK)
    await until(lambda: door.waiting == 1)
    await desk.advance(4)
    door.open()
    [event] = await desk.told_of(1)
    assert isinstance(event, Answered)
    assert (event.turn_id, event.attempt) == (7, 3)
    assert len(event.parts) == len({part.message_id for part in event.parts}) > 1
    assert (event.response_id, event.model, event.cost.seconds) == ("resp_1", "model-1", 4)


async def test_silence_is_an_answer_without_parts(desk: Desk) -> None:
    desk.outside.ai.answered = Answer(" ")
    desk.perform(ASK)
    [event] = await desk.told_of(1)
    assert isinstance(event, Answered)
    assert event.parts == ()
    assert desk.outside.probe.effects == [("Ask", "silent")]


async def test_only_an_ai_without_a_memory_is_given_the_thread(desk: Desk) -> None:
    book = desk.outside.journal.book
    thread = book.thread(desk.key)
    for _ in range(LOCAL_THREAD_MAX + 5):
        desk.outside.says("said before")
    thread.untold.clear()
    desk.perform(ASK)
    await desk.told_of(1)
    desk.perform(replace(ASK, turn=replace(TURN, attempt=4), ai_conversation="conv_1"))
    await desk.told_of(2)
    without, with_memory = desk.outside.ai.questions
    assert len(without.thread) == LOCAL_THREAD_MAX
    assert with_memory.thread == ()


async def test_a_refusal_comes_back_with_its_reason(desk: Desk) -> None:
    desk.outside.ai.answered = NoAnswer(AnswerFailure.BUSY, "conversation_locked")
    desk.outside.line.outcome = NotAccepted(SendFailure.REFUSED, "window_closed")
    desk.perform(ASK, SEND)
    await desk.told_of(2)
    assert set(desk.told) == {
        AnswerFailed(7, 3, AnswerFailure.BUSY, "conversation_locked"),
        SendFailed(9, 1, SendFailure.REFUSED, "window_closed"),
    }
    assert sorted(desk.outside.probe.effects) == [("Ask", "busy"), ("Send", "refused")]


async def test_what_the_provider_called_an_accepted_part_is_kept(desk: Desk) -> None:
    desk.outside.line.outcome = Accepted(("wamid.1", "local:1"))
    desk.perform(SEND)
    [event] = await desk.told_of(1)
    assert event == SendAccepted(9, 1, START, ("wamid.1", "local:1"))


@by_class
async def test_the_same_effect_is_started_once(desk: Desk, effect: Effect) -> None:
    door = desk.door_of(effect)
    door.closed = True
    for _ in range(5):
        desk.perform(effect, WAKE)
        await settle()
    assert door.waiting == 1
    assert desk.performer.in_flight == 1
    door.open()
    await desk.told_of(1)
    await settle()
    assert len(desk.told) == len(desk.outside.probe.effects) == 1


async def test_another_attempt_is_another_effect(desk: Desk) -> None:
    desk.outside.line.sending.closed = True
    desk.perform(SEND)
    await until(lambda: desk.outside.line.sending.waiting == 1)
    again = replace(SEND, part=replace(PART, attempt=2))
    desk.perform(again)
    await settle()
    assert desk.performer.running(desk.key) == {again.key}
    assert desk.outside.probe.effects == [("Send", "cancelled")]
    desk.outside.line.sending.open()
    [event] = await desk.told_of(1)
    assert event == SendAccepted(9, 2, START)


@by_class
async def test_an_unwanted_effect_is_stopped_and_observed(desk: Desk, effect: Effect) -> None:
    door = desk.door_of(effect)
    door.closed = True
    desk.perform(effect)
    await until(lambda: door.waiting == 1)
    desk.perform()
    assert desk.performer.in_flight == 0
    await settle()
    assert desk.outside.probe.effects == [(type(effect).__name__, "cancelled")]
    door.open()
    await settle()
    assert desk.told == []
    assert len(desk.tasks) == 0


@by_class
async def test_an_effect_unwanted_before_it_began_is_never_seen(desk: Desk, effect: Effect) -> None:
    desk.perform(effect)
    desk.perform()
    await settle()
    assert desk.outside.probe.effects == []
    assert desk.outside.trace == []
    assert desk.told == []


async def test_customers_do_not_stop_each_others_effects(desk: Desk) -> None:
    other = desk.outside.says("Buenas", phone="+50370000002")
    desk.outside.line.sending.closed = True
    desk.perform(SEND)
    elsewhere = replace(SEND, part=replace(PART, message_id=10))
    desk.performer.perform(other, (elsewhere,), 0)
    desk.performer.perform(other, (), 0)
    await until(lambda: desk.outside.line.sending.waiting == 1)
    desk.outside.line.sending.open()
    [event] = await desk.told_of(1)
    assert isinstance(event, SendAccepted)
    assert event.message_id == 9


@that_leaves
async def test_what_waited_too_long_after_its_commit_does_not_leave(
    desk: Desk, effect: Effect
) -> None:
    desk.perform(effect, waited_seconds=START_WITHIN_SECONDS + 0.001)
    [event] = await desk.told_of(1)
    assert desk.outside.trace == []
    if isinstance(effect, Send):
        assert event == SendFailed(9, 1, SendFailure.NOT_SENT, "start_too_late")
    else:
        assert event == AnswerFailed(7, 3, AnswerFailure.TRANSIENT, "start_too_late")


@by_class
async def test_what_is_in_time_leaves(desk: Desk, effect: Effect) -> None:
    desk.perform(effect, waited_seconds=START_WITHIN_SECONDS)
    await desk.told_of(1)
    assert len(desk.outside.trace) == 1


async def test_a_recall_may_start_late(desk: Desk) -> None:
    desk.perform(RECALL, waited_seconds=1000)
    [event] = await desk.told_of(1)
    assert isinstance(event, HistoryRecalled)
    assert event.status is RecallStatus.COMPLETE


@pytest.mark.parametrize("effect", [ENSURE, ASK], ids=["ensure", "ask"])
async def test_waiting_for_the_store_counts_as_waiting(desk: Desk, effect: Effect) -> None:
    desk.outside.store_goes()
    desk.perform(effect)
    for _ in range(11):
        await desk.advance(STORE_RETRY_SECONDS)
    desk.outside.store_comes_back()
    await desk.advance(STORE_RETRY_SECONDS)
    assert desk.told == [AnswerFailed(7, 3, AnswerFailure.TRANSIENT, "start_too_late")]
    assert desk.outside.trace == []


@pytest.mark.parametrize("effect", [ASK, RECALL], ids=["ask", "recall"])
async def test_a_result_waits_for_the_store_and_is_not_lost(desk: Desk, effect: Effect) -> None:
    door = desk.door_of(effect)
    door.closed = True
    desk.perform(effect)
    await until(lambda: door.waiting == 1)
    desk.outside.store_goes()
    door.open()
    for _ in range(200):
        await desk.advance(STORE_RETRY_SECONDS)
    assert desk.told == []
    assert desk.performer.running(desk.key) == {effect.key}
    desk.outside.store_comes_back()
    await desk.advance(STORE_RETRY_SECONDS)
    assert [type(event) for event in desk.told] in ([Answered], [HistoryRecalled])
    assert len(desk.outside.trace) == 1, "the world was asked once"


async def test_an_unwanted_effect_does_not_wait_for_the_store(desk: Desk) -> None:
    desk.outside.store_goes()
    desk.perform(ASK)
    await settle()
    desk.perform()
    await settle()
    assert len(desk.tasks) == 0
    assert desk.outside.clock.next_alarm_at is None
