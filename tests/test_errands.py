"""Sends that answer nobody: scheduled ones, and what is said when a turn has failed."""

from datetime import timedelta

import pytest

from relevo.effects import Send
from relevo.events import SendFailure
from relevo.messages import Author
from relevo.states import Answering, Gathering, Idle, Sending
from relevo.turns import RecallStatus, Rules
from tests.script import Script, at, item


def met(rules: Rules | None = None) -> Script:
    """A customer has written, and been answered at 10:00:35."""
    story = Script(rules)
    story.customer("Hola")
    return story.wait(35).answers("Hola!").accepted().expect(state=Idle)


def reminded() -> Script:
    return met().clock("10:30:00").queue("Recordatorio").expect(state=Idle, wakes="10:30:00")


def test_a_send_of_ours_leaves_at_once_and_moves_no_mark() -> None:
    story = reminded()
    marks = story.conversation.marks
    story.woken().expect(state=Sending, sends="Recordatorio", effects=["Send", "WakeAt"])
    story.clock("10:30:02").accepted("wamid.7")
    story.expect(
        state=Idle,
        outcome="sent",
        untold={"Recordatorio": "context"},
        parts=["accepted", "accepted"],
        fates={"Hola": "answered"},
        dead_letters=[],
    )
    assert story.conversation.marks == marks
    assert story.state.untold[0].event_at == at("10:30:02")


def test_the_ai_is_told_of_it_with_the_next_turn() -> None:
    story = reminded().woken().accepted().clock("10:31:00")
    story.customer("Gracias")
    story.wait(35).recalled()
    story.expect(state=Answering, missed=[("automation", "Recordatorio")])


def test_an_ai_conversation_lives_through_it() -> None:
    story = Script(Rules(ai_conversations=True)).remembers(ai_conversation="conv_1")
    story.customer("Hola")
    story.wait(35).answers("Hola!").accepted().queue("Recordatorio").woken().accepted()
    story.expect(outcome="sent", ai_conversation="conv_1")


def test_it_waits_for_the_turn_that_is_open_and_not_for_a_burst_that_grows() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).queue("Recordatorio").expect(state=Answering, asked=["Hola"])
    story.customer("Alo?")
    story.answers("Hola!").accepted().expect(state=Gathering, wakes="10:00:35")
    story.woken().expect(state=Sending, sends="Recordatorio")
    story.accepted().expect(state=Gathering, wakes="10:01:10")


def test_a_colleagues_message_does_not_stop_it() -> None:
    story = reminded()
    story.clock("10:30:01").agent("Le esperamos")
    story.woken().expect(state=Sending)
    story.clock("10:30:03").agent("Hasta luego")
    story.refused(SendFailure.NOT_SENT).woken().expect(sends="Recordatorio")
    story.accepted().expect(outcome="sent")


@pytest.mark.parametrize(
    ("failure", "outcome", "letters"),
    [
        (SendFailure.REJECTED, "failed", [("sending", "http_400")]),
        (SendFailure.STOPPED, "failed", [("sending", "http_400")]),
        (SendFailure.REFUSED, "refused", []),
    ],
)
def test_what_never_left_is_told_to_nobody(
    failure: SendFailure, outcome: str, letters: list[tuple[str, str]]
) -> None:
    story = reminded().woken().refused(failure)
    story.expect(state=Idle, outcome=outcome, untold={}, dead_letters=letters)


def test_it_does_not_leave_when_the_window_for_free_text_is_closed() -> None:
    story = met()
    story.now += timedelta(hours=24)
    story.queue("Recordatorio").woken()
    story.expect(state=Idle, outcome="refused", reason="window_closed", untold={})


def test_the_window_is_counted_from_the_customers_newest_message() -> None:
    story = met()
    story.now += timedelta(hours=23)
    story.hold("23:59:59")
    story.trace.clear()
    story.customer("Sigue la reserva?")
    story.now += timedelta(hours=2)
    story.queue("Recordatorio").woken().expect(state=Sending, sends="Recordatorio")


def test_who_never_wrote_has_no_window_that_we_could_know() -> None:
    story = Script().remembers(marks=Script(stranger=True).conversation.marks)
    story.customer("Hola", kind="reaction")
    story.queue("Bienvenido").woken().expect(state=Sending, sends="Bienvenido")
    assert story.wanted(Send).part.window_ends_at is None


def test_one_in_doubt_is_looked_for_and_found() -> None:
    story = reminded().woken().refused(SendFailure.UNKNOWN, "timeout")
    story.expect(state=Sending, effects=["Recall", "WakeAt"])
    story.recalled(item("10:30:01", Author.AUTOMATION, "Recordatorio", "h7"))
    story.expect(state=Idle, outcome="sent", untold={"Recordatorio": "context"})


def test_one_in_doubt_is_sent_again_once() -> None:
    story = reminded().woken().refused(SendFailure.UNKNOWN, "timeout")
    story.recalled().clock("10:30:20").woken().recalled()
    story.expect(state=Sending, sends="Recordatorio", effects=["Send", "WakeAt"])
    story.accepted().expect(outcome="sent", untold={"Recordatorio": "context"})


def test_two_leave_one_after_the_other() -> None:
    story = met().queue("uno").queue("dos").woken().expect(sends="uno")
    story.accepted().expect(state=Idle).woken().expect(sends="dos")
    story.accepted().expect(turns=["answered", "sent", "sent"])


def test_a_crash_in_the_middle_leaves_it_in_doubt() -> None:
    story = reminded().woken().restarts()
    story.expect(state=Sending, effects=["Recall", "WakeAt"])
    story.recalled(status=RecallStatus.UNAVAILABLE)
    story.expect(state=Sending, parts=["accepted", "unknown"])


SORRY = "Un momento, por favor"


def failed_turn() -> Script:
    """A turn has failed for good, and its customer is to be told so."""
    story = Script(Rules(ai_conversations=False, fallback_text=SORRY))
    story.customer("Hola")
    return story.wait(35).fails_for_good().look().expect(state=Idle)


def test_an_apology_is_needless_once_a_colleague_has_written() -> None:
    story = failed_turn()
    story.clock("10:00:36").agent("Yo le atiendo")
    story.woken().expect(
        state=Idle,
        outcome="answered_by_human",
        parts=["cancelled"],
        untold={"Hola": "failed", "Yo le atiendo": "context"},
    )


def test_an_apology_is_needless_while_a_human_has_the_chat() -> None:
    story = failed_turn().hold("23:59:59").woken()
    story.expect(state=Idle, outcome="held", parts=["cancelled"], untold={"Hola": "failed"})


def test_an_apology_that_was_paced_is_withdrawn_when_a_colleague_writes() -> None:
    story = failed_turn().woken().refused(SendFailure.RATE_LIMITED, retry_after_seconds=30)
    story.agent("Yo le atiendo")
    story.woken().expect(state=Idle, outcome="answered_by_human", parts=["cancelled"])


def test_an_apology_of_long_ago_is_not_said() -> None:
    story = failed_turn()
    story.now += timedelta(seconds=story.rules.late_answer_seconds + 1)
    story.woken().expect(state=Idle, outcome="refused", untold={"Hola": "failed"})


def test_a_letter_of_a_send_stays_open_whatever_is_answered_since() -> None:
    story = reminded().woken().refused(SendFailure.STOPPED, "line_stopped")
    story.customer("Gracias")
    story.clock("10:30:35").woken().recalled().answers("De nada").accepted()
    story.expect(turns=["answered", "failed", "answered"])
    story.expect(dead_letters=[("sending", "line_stopped")])


def test_a_colleague_who_says_the_same_words_has_said_them() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).queue("Ok, gracias").expect(state=Answering)
    story.agent("Ok, gracias")
    story.expect(
        state=Idle,
        outcome="answered_by_human",
        untold={"Hola": "context", "Ok, gracias": "context"},
    )
    assert [str(w) for w in story.thread.untold.values()] == ["context", "due", "context"]


def test_a_history_that_shows_the_same_words_is_not_our_send_that_never_left() -> None:
    story = Script().clock("10:30:00")
    story.customer("Hola")
    story.wait(35).queue("Ok, gracias")
    story.recalled(item("10:30:34", Author.AGENT, "Ok, gracias", "h1"))
    story.expect(state=Idle, outcome="answered_by_human")
    story.woken().expect(state=Sending, sends="Ok, gracias")


def test_an_apology_in_doubt_is_found_although_one_of_the_same_words_never_left() -> None:
    story = failed_turn().woken().refused(SendFailure.REJECTED)
    story.clock("10:00:50").customer("Alo?")
    story.wait(35).fails_for_good().look().woken().refused(SendFailure.UNKNOWN, "timeout")
    story.recalled(item("10:01:25", Author.AGENT, SORRY, "h9"))
    story.expect(turns=["failed", "failed", "failed", "sent"])
