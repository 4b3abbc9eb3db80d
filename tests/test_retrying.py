"""What a failure of the AI leads to: waits, looks, a new conversation, or the end of the turn."""

from datetime import timedelta

import pytest

from relevo.effects import Ask, EnsureConversation, WakeAt
from relevo.events import AnswerFailed, AnswerFailure, Finding, Reconciled
from relevo.states import Answering, Ensuring, Idle, Recalling, Reconciling, Sending
from relevo.turns import Rules
from tests.script import Script

REMEMBERING = Rules(ai_conversations=True)


def asked(rules: Rules | None = None) -> Script:
    """A burst is complete; the AI is being asked, or for a conversation to be asked in."""
    story = Script(rules)
    story.customer("Hola")
    return story.wait(35)


def asked_in_a_conversation(rules: Rules = REMEMBERING) -> Script:
    return asked(rules).ensured().expect(state=Answering, ai_conversation="conv_1")


def seconds_to_wait(story: Script) -> float:
    wake: WakeAt = story.wanted(WakeAt)
    return (wake.at - story.now).total_seconds()


@pytest.mark.parametrize("failure", [AnswerFailure.TRANSIENT, AnswerFailure.UNKNOWN])
def test_what_cannot_have_been_stored_is_tried_three_times(failure: AnswerFailure) -> None:
    story = asked()
    for seconds in (1, 2):
        attempt = story.turn.attempt
        story.fails(failure).expect(state=Answering, effects=["WakeAt"])
        assert seconds <= seconds_to_wait(story) < seconds * 1.25
        story.wait(seconds / 2).expect(writes=False)
        story.woken().expect(effects=["Ask", "WakeAt"])
        assert story.turn.attempt == attempt + 1
    story.fails(failure).expect(
        state=Idle,
        outcome="failed",
        reason="http_500",
        fates={"Hola": "dead"},
        untold={"Hola": "failed"},
        dead_letters=[("answering", "http_500")],
    )


def test_a_transient_failure_keeps_the_conversation() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.TRANSIENT)
    story.expect(state=Answering, ai_conversation="conv_1")
    story.woken().answers("ok").accepted().expect(ai_conversation="conv_1", outcome="answered")


def test_what_the_ai_has_stored_for_nothing_is_remembered_to_be_erased_one_day() -> None:
    story = asked_in_a_conversation()
    turn = story.turn
    for response_id in ("resp_7", "resp_8"):
        failure, attempt = AnswerFailure.TRANSIENT, story.turn.attempt
        story.does(AnswerFailed(turn.id, attempt, failure, "no", response_id=response_id))
        story.woken()
    story.answers("ok").accepted().expect(outcome="answered")
    ended = story.book.thread(story.key).turns[turn.id]
    assert (ended.response_id, ended.discarded_responses) == ("resp_1", ("resp_7", "resp_8"))


def test_customers_who_failed_together_do_not_come_back_together() -> None:
    story = Script()
    waits = set()
    for time in ("10:00:00", "10:10:00", "10:20:00"):
        story.clock(time).customer("Hola")
        story.wait(35)
        if isinstance(story.state, Recalling):
            story.recalled()
        waits.add(seconds_to_wait(story.fails(AnswerFailure.TRANSIENT)))
        story.woken().answers("ok").accepted()
    assert len(waits) == 3


def test_a_locked_conversation_is_waited_for_and_then_replaced() -> None:
    story = asked_in_a_conversation()
    for seconds in (1, 2, 4, 8):
        story.fails(AnswerFailure.BUSY, "conversation_locked")
        assert seconds <= seconds_to_wait(story) < seconds * 1.25
        story.woken().expect(state=Answering, ai_conversation="conv_1")
    story.fails(AnswerFailure.BUSY, "conversation_locked")
    story.expect(state=Ensuring, ai_conversation=None)
    story.ensured("conv_2").answers("ok").accepted()
    story.expect(outcome="answered", ai_conversation="conv_2", dead_letters=[])


def test_an_unusable_conversation_is_replaced_once_a_turn() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.CONVERSATION_UNUSABLE)
    story.expect(state=Ensuring, ai_conversation=None)
    assert story.wanted(EnsureConversation).attempt == story.turn.attempt
    story.ensured("conv_2").expect(state=Answering)
    story.fails(AnswerFailure.CONVERSATION_UNUSABLE, "conversation_missing")
    story.expect(state=Idle, outcome="failed", reason="conversation_missing")


def test_an_ai_without_conversations_has_none_to_replace() -> None:
    asked().fails(AnswerFailure.CONVERSATION_UNUSABLE).expect(outcome="failed")


def test_a_conversation_that_cannot_be_made_fails_the_turn() -> None:
    story = asked(REMEMBERING).fails(AnswerFailure.CONVERSATION_UNUSABLE).expect(state=Ensuring)
    story.fails_for_good().expect(
        state=Idle, outcome="failed", dead_letters=[("ensuring", "http_401")]
    )


def test_a_conversation_whose_making_is_unknown_is_simply_made_again() -> None:
    story = asked(REMEMBERING).fails(AnswerFailure.UNKNOWN, "timeout")
    story.expect(state=Ensuring, effects=["WakeAt"])
    story.woken().expect(state=Ensuring, effects=["EnsureConversation", "WakeAt"])


def test_a_braked_key_is_waited_for_as_long_as_it_says_and_costs_no_try() -> None:
    story = asked()
    for _ in range(4):
        story.fails(AnswerFailure.RATE_LIMITED, "rate_limited", retry_after_seconds=20)
        assert 20 <= seconds_to_wait(story) < 25
        story.woken().expect(state=Answering, effects=["Ask", "WakeAt"])
    story.fails(AnswerFailure.TRANSIENT).expect(state=Answering)
    story.woken().answers("ok").accepted().expect(outcome="answered")


@pytest.mark.parametrize(("says", "waits"), [(None, 1), (0.0, 1), (0.2, 1), (3600.0, 30)])
def test_a_brake_is_believed_within_bounds(says: float | None, waits: float) -> None:
    story = asked().fails(AnswerFailure.RATE_LIMITED, retry_after_seconds=says)
    assert waits <= seconds_to_wait(story) < waits * 1.25


def test_a_brake_that_never_opens_ends_with_the_turns_total_time() -> None:
    story = asked()
    begun_at = story.now
    while isinstance(story.state, Answering):
        story.fails(AnswerFailure.RATE_LIMITED, "rate_limited", retry_after_seconds=30)
        if isinstance(story.state, Answering):
            story.woken()
    story.expect(state=Idle, outcome="failed", reason="rate_limited")
    assert story.now - begun_at < timedelta(seconds=story.rules.answer_total_seconds)


def test_what_the_ai_refuses_is_offered_once_more_and_then_no_more() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.POLICY, "invalid_prompt")
    story.expect(state=Idle, outcome="failed", ai_conversation=None, untold={"Hola": "failed"})
    story.clock("10:03:00").customer("Alo?")
    story.wait(35).ensured("conv_2").expect(asked=["Hola", "Alo?"])
    story.fails(AnswerFailure.POLICY, "invalid_prompt")
    story.expect(
        state=Idle,
        untold={"Alo?": "failed"},
        fates={"Hola": "dead", "Alo?": "dead"},
        dead_letters=[("answering", "invalid_prompt"), ("answering", "invalid_prompt")],
    )
    story.clock("10:06:00").customer("Hay mesa?")
    story.wait(35).ensured("conv_3").expect(asked=["Alo?", "Hay mesa?"], missed=[])


def test_a_call_that_never_came_back_is_looked_for_before_anything_is_asked_again() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN, "timeout")
    story.expect(state=Reconciling, effects=["Reconcile", "WakeAt"], ai_conversation="conv_1")
    story.answers("Hola!").expect(state=Sending, sends="Hola!", untold={})
    story.accepted().expect(outcome="answered", ai_conversation="conv_1")


def test_silence_may_be_what_is_found() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN).answers()
    story.expect(state=Idle, outcome="no_reply", ai_conversation="conv_1")


def test_an_answer_that_still_runs_is_waited_for() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN, "timeout")
    for seconds in (1, 2, 4, 8):
        story.finds(Finding.RUNNING).expect(state=Reconciling, effects=["WakeAt"])
        assert seconds <= seconds_to_wait(story) < seconds * 1.25
        story.wait(seconds / 2).expect(writes=False)
        story.woken().expect(state=Reconciling, effects=["Reconcile", "WakeAt"])
    story.finds(Finding.RUNNING).expect(state=Ensuring, ai_conversation=None)


def test_what_left_no_trace_is_asked_in_a_new_conversation_never_in_the_old() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN, "timeout")
    story.finds(Finding.NOT_STORED).woken().finds(Finding.NOT_STORED).woken()
    story.finds(Finding.NOT_STORED).expect(state=Ensuring, ai_conversation=None)
    assert story.ensured("conv_2").wanted(Ask).ai_conversation == "conv_2"
    story.fails(AnswerFailure.UNKNOWN, "timeout").expect(state=Reconciling)
    story.finds(Finding.UNCLEAR).expect(state=Idle, outcome="failed", reason="unresolved")


def test_what_cannot_be_told_apart_is_asked_in_a_new_conversation_at_once() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN).finds(Finding.UNCLEAR)
    story.expect(state=Ensuring, ai_conversation=None)


def test_a_look_may_fail_too() -> None:
    for failure in (AnswerFailure.BUSY, AnswerFailure.TRANSIENT, AnswerFailure.UNKNOWN):
        story = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN)
        story.fails(failure).expect(state=Reconciling, effects=["WakeAt"])
        story.woken().answers("ok").expect(state=Sending)
    gone = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN)
    gone.fails(AnswerFailure.CONVERSATION_UNUSABLE).expect(state=Ensuring, ai_conversation=None)
    barred = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN)
    barred.fails(AnswerFailure.PERMANENT, "http_401").expect(outcome="failed", reason="http_401")


def test_a_look_that_never_comes_back_is_another_look() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN)
    story.wait(14).expect(writes=False)
    story.wait(1).expect(state=Reconciling, effects=["WakeAt"])


def test_an_ai_that_never_comes_back_is_given_up_in_bounded_time() -> None:
    for rules in (REMEMBERING, None):
        story = asked(rules)
        begun_at = story.now
        for _ in range(40):
            if isinstance(story.state, Idle):
                break
            if isinstance(story.state, Ensuring) and not story.turn.wait_until:
                story.ensured()
            story.woken()
        story.expect(state=Idle, outcome="failed")
        bound = timedelta(seconds=story.rules.answer_total_seconds + 30)
        assert story.now - begun_at < bound


def test_what_a_crash_cut_off_is_looked_for_and_costs_the_turn_nothing() -> None:
    story = asked_in_a_conversation()
    for _ in range(5):
        story.restarts().expect(state=Reconciling, effects=["Reconcile", "WakeAt"])
        for _ in range(2):
            story.finds(Finding.NOT_STORED).woken()
        story.finds(Finding.NOT_STORED).ensured().expect(state=Answering)
    story.restarts().answers("Hola!").accepted().expect(outcome="answered")


def test_a_look_that_a_crash_cut_off_is_begun_again() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN).restarts()
    story.expect(state=Reconciling, effects=["Reconcile", "WakeAt"])


def test_an_ai_without_conversations_is_simply_asked_again_after_a_crash() -> None:
    story = asked()
    for _ in range(5):
        story.restarts().expect(state=Answering, effects=["Ask", "WakeAt"])
    story.answers("ok").accepted().expect(outcome="answered")


def test_making_a_conversation_is_simply_begun_again_after_a_crash() -> None:
    story = asked(REMEMBERING).restarts()
    story.expect(state=Ensuring, effects=["EnsureConversation", "WakeAt"])
    assert story.turn.attempt == 2


def test_who_was_away_during_a_wait_has_the_whole_time_again() -> None:
    story = asked().fails(AnswerFailure.TRANSIENT)
    story.now += timedelta(seconds=250)
    story.restarts(interrupted=False).woken().expect(state=Answering, effects=["Ask", "WakeAt"])
    assert story.turn.answer_ends_at is not None
    assert story.turn.answer_ends_at - story.now == timedelta(
        seconds=story.rules.answer_total_seconds
    )


def test_nothing_is_replaced_any_more_when_the_time_is_over() -> None:
    story = asked_in_a_conversation()
    story.now += timedelta(seconds=story.rules.answer_total_seconds)
    story.fails(AnswerFailure.CONVERSATION_UNUSABLE).expect(state=Idle, outcome="failed")


def test_the_customer_of_a_failed_turn_is_told_once() -> None:
    story = asked(Rules(ai_conversations=False, fallback_text="Un momento, por favor"))
    story.fails_for_good().look().expect(
        state=Idle, untold={"Hola": "failed", "Un momento, por favor": "due"}
    )
    story.woken().expect(state=Sending, sends="Un momento, por favor")
    story.accepted().expect(
        state=Idle,
        turns=["failed", "sent"],
        untold={"Hola": "failed", "Un momento, por favor": "context"},
    )
    story.clock("10:03:00").customer("Alo?")
    story.wait(35).expect(asked=["Hola", "Alo?"], missed=[("automation", "Un momento, por favor")])
    story.answers("Hola!").accepted().expect(untold={}, dead_letters=[])


def test_a_look_that_comes_too_late_changes_nothing() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN)
    turn = story.turn
    story.answers("Hola!").does(Reconciled(turn.id, turn.attempt, Finding.UNCLEAR))
    story.expect(state=Sending, writes=False)
