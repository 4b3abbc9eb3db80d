"""How long a turn may be about its answer, and what it is not charged with."""

from datetime import timedelta

from relevo.events import AnswerFailure, Finding
from relevo.retrying import ATTEMPTS_MAX
from relevo.states import Answering, Ensuring, Idle, Recalling, Reconciling
from relevo.turns import RecallStatus, Rules
from tests.script import Script

REMEMBERING = Rules(ai_conversations=True)


def asked(rules: Rules | None = None) -> Script:
    """A burst is complete; the AI is being asked, or for a conversation to be asked in."""
    story = Script(rules)
    story.customer("Hola")
    return story.wait(35)


def asked_in_a_conversation(rules: Rules = REMEMBERING) -> Script:
    return asked(rules).ensured().expect(state=Answering, ai_conversation="conv_1")


def test_who_was_away_while_it_waited_to_look_again_looks_with_its_whole_time() -> None:
    story = asked_in_a_conversation().fails(AnswerFailure.UNKNOWN).finds(Finding.NOT_STORED)
    story.now += timedelta(seconds=250)
    story.restarts(interrupted=False).woken()
    story.expect(state=Reconciling, effects=["Reconcile", "WakeAt"])
    story.answers("Hola!").accepted().expect(outcome="answered", dead_letters=[])


def test_a_living_turn_is_not_given_its_time_twice() -> None:
    rules = Rules(ai_conversations=False, gap_seconds=60, answer_total_seconds=100)
    story = asked(rules)
    begun_at = story.now
    while not story.thread.dead_letters:
        if isinstance(story.state, Recalling):
            story.now += timedelta(seconds=9)
            story.recalled(status=RecallStatus.FAILED)
        elif story.turn.wait_until is None:
            story.fails(AnswerFailure.RATE_LIMITED, "rate_limited", retry_after_seconds=25)
        else:
            story.woken()
    story.expect(state=Idle, outcome="failed")
    assert story.now - begun_at < timedelta(seconds=110)


def test_each_stage_has_its_own_tries() -> None:
    story = asked(REMEMBERING)
    for _ in range(2):
        story.fails(AnswerFailure.TRANSIENT).woken()
    story.ensured().fails(AnswerFailure.TRANSIENT).expect(state=Answering, effects=["WakeAt"])


def test_a_question_that_is_cut_off_again_and_again_is_given_up_in_the_end() -> None:
    story = asked()
    for _ in range(2 * ATTEMPTS_MAX):
        if isinstance(story.state, Idle):
            break
        story.restarts()
    story.expect(state=Idle, outcome="failed", reason="interrupted")


def test_an_assistant_that_now_keeps_conversations_has_none_to_look_in() -> None:
    story = asked()
    story.rules = REMEMBERING
    story.restarts().expect(state=Ensuring, effects=["EnsureConversation", "WakeAt"])


def test_what_was_missed_may_be_what_the_ai_refuses() -> None:
    story = Script(REMEMBERING)
    story.agent("algo prohibido", event_at="09:59:00")
    story.customer("uno")
    story.wait(35).ensured().fails(AnswerFailure.POLICY, "invalid_prompt")
    story.clock("10:02:00").customer("dos")
    story.wait(35).ensured().expect(asked=["uno", "dos"], missed=[("agent", "algo prohibido")])
    story.fails(AnswerFailure.POLICY, "invalid_prompt").expect(untold={"dos": "failed"})
    story.clock("10:04:00").customer("tres")
    story.wait(35).ensured().expect(asked=["dos", "tres"], missed=[])
    story.answers("Si").accepted()
    first, second = story.thread.dead_letters
    assert story.thread.superseded == set()
    assert (first, second) == (2, 3)


def test_letters_are_closed_when_their_messages_are_answered() -> None:
    story = asked().fails_for_good().expect(dead_letters=[("answering", "http_401")])
    story.clock("10:02:00").customer("Alo?")
    story.wait(35).answers("Hola!").expect(dead_letters=[("answering", "http_401")])
    story.accepted().expect(dead_letters=[])


def test_a_look_at_the_history_takes_its_time_from_the_answer() -> None:
    rules = Rules(ai_conversations=False, gap_seconds=121, answer_total_seconds=100)
    story = asked(rules)
    story.wait(90).expect(state=Answering, effects=["WakeAt"])
    story.woken().expect(state=Recalling)
    story.now += timedelta(seconds=9)
    story.recalled().expect(state=Idle, outcome="failed", reason="out_of_time")


def test_a_recall_that_a_crash_cut_off_leaves_the_answer_its_whole_time() -> None:
    rules = Rules(ai_conversations=False, gap_seconds=121, answer_total_seconds=100)
    story = asked(rules).wait(90).woken().expect(state=Recalling)
    story.now += timedelta(seconds=200)
    story.restarts().recalled().expect(state=Answering, effects=["Ask", "WakeAt"])
