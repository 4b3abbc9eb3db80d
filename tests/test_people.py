"""What people have done about messages: an answer, a hold, a request (rules 9 and 10)."""

from datetime import timedelta

from relevo.answering import OWN_MESSAGES_MAX
from relevo.effects import Ask, Recall
from relevo.events import SendFailure
from relevo.prompt import MISSED_MESSAGES_MAX
from relevo.states import Answering, Idle, Sending
from relevo.turns import RecallStatus, Rules
from tests.script import Script


def held() -> Script:
    """A colleague has taken the chat at 10:00, and the customer goes on writing."""
    story = Script().hold("23:59:59")
    story.customer("Hola")
    return story.expect(state=Idle)


def test_who_was_answered_before_the_hold_is_not_held() -> None:
    rules = Rules(ai_conversations=False, human_hold_seconds=600)
    story = Script(rules)
    story.customer("uno")
    story.clock("10:00:05").customer("dos")
    story.wait(35).expect(state=Answering)
    story.agent("Digame", event_at="10:00:02")
    story.expect(
        state=Idle,
        outcome="held",
        fates={"uno": "context", "dos": "held"},
        untold={"uno": "context", "dos": "held", "Digame": "context"},
    )


def test_a_colleague_whose_clock_runs_ahead_wrote_before_who_asks_after_him() -> None:
    story = held().clock("10:01:00")
    story.agent("Le paso con la asistente", event_at="10:01:03")
    story.clock("10:01:01").ask().woken()
    story.expect(
        state=Answering,
        asked=["Hola", "answer"],
        missed=[("agent", "Le paso con la asistente")],
    )
    story.answers("Buenas").accepted().expect(outcome="answered", fates={"Hola": "answered"})


def test_a_flood_is_answered_by_its_newest_and_told_of_the_rest() -> None:
    story = Script().hold("23:59:59")
    for number in range(150):
        story.customer(f"mensaje {number}", look=False)
    story.look().clock("10:01:00").ask().woken()
    asked = story.wanted(Ask)
    assert len([m for m in asked.messages if m.inbound]) == OWN_MESSAGES_MAX
    assert len(asked.missed) == MISSED_MESSAGES_MAX
    assert story.turn.missed_left_out == 150 - OWN_MESSAGES_MAX - MISSED_MESSAGES_MAX
    story.answers("ok").accepted().expect(untold={}, outcome="answered")


def test_a_message_that_comes_while_we_answer_opens_the_window_again() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).fails_for_good()
    story.now += timedelta(hours=25)
    story.ask().woken().recalled()
    story.customer("Alo?")
    story.answers("Hola!").expect(state=Sending, sends="Hola!")


def test_a_send_in_doubt_that_nobody_could_look_for_is_not_called_withdrawn() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).answers("Buenas").refused(SendFailure.UNKNOWN, "timeout").hold("23:59:59")
    while isinstance(story.state, Sending):
        if any(isinstance(e, Recall) for e in story.last.effects):
            story.recalled(status=RecallStatus.FAILED)
        else:
            story.woken()
    story.expect(outcome="held", parts=["dead"], untold={"Hola": "held"})
