"""What a person says through us is a colleague's message, on its way like everything of ours."""

import pytest

from relevo.effects import Send
from relevo.events import SendAccepted, SendFailure
from relevo.messages import Author
from relevo.states import Answering, Gathering, Idle, Recalling, Sending
from relevo.turns import Rules
from tests.script import Script, at, item


def asked(rules: Rules | None = None) -> Script:
    """A customer has written at 10:00:00, and the AI is being asked."""
    story = Script(rules)
    story.customer("Hola")
    return story.wait(35).expect(state=Answering)


def test_it_ends_a_turn_that_is_not_answered_and_leaves_at_once() -> None:
    story = asked().clock("10:00:40").says("Yo le atiendo")
    story.expect(
        state=Idle,
        wakes="10:00:40",
        outcome="answered_by_human",
        fates={"Hola": "answered_by_human"},
        untold={"Hola": "context", "Yo le atiendo": "due"},
    )
    story.woken().expect(state=Sending, sends="Yo le atiendo", effects=["Send", "WakeAt"])
    story.clock("10:00:41").accepted("wamid.7")
    story.expect(
        state=Idle,
        turns=["answered_by_human", "sent"],
        untold={"Hola": "context", "Yo le atiendo": "context"},
    )
    assert story.conversation.marks.last_agent_at == at("10:00:40")
    assert story.conversation.marks.last_assistant_at == at("09:58:30")


def test_it_ends_a_turn_whose_history_is_being_asked() -> None:
    story = Script(stranger=True)
    story.customer("Hola")
    story.wait(35).expect(state=Recalling)
    story.says("Yo le atiendo").expect(outcome="answered_by_human", owed=True)


def test_the_parts_of_a_reply_that_have_not_left_are_withdrawn_before_it_leaves() -> None:
    story = asked().answers("uno", "dos").expect(sends="uno")
    story.says("Yo le atiendo").expect(state=Sending, parts=["sending", "cancelled"])
    story.accepted().expect(state=Idle, outcome="answered")
    story.woken().expect(state=Sending, sends="Yo le atiendo")


def test_the_ai_is_told_of_it_as_the_colleagues_words() -> None:
    story = asked().says("Le guardo la mesa").woken().accepted().clock("10:01:00")
    story.customer("Gracias, a que hora?")
    story.wait(35).expect(
        state=Answering,
        asked=["Gracias, a que hora?"],
        missed=[("customer", "Hola"), ("agent", "Le guardo la mesa")],
    )
    story.answers("A las ocho").accepted().expect(untold={})


def test_a_burst_that_grows_is_answered_by_it() -> None:
    story = Script()
    story.customer("Hola")
    story.clock("10:00:05").says("Buenas").expect(state=Gathering, wakes="10:00:05")
    story.woken().expect(state=Sending, sends="Buenas")
    story.clock("10:00:06").accepted().expect(state=Gathering).woken()
    story.expect(state=Idle, fates={"Hola": "answered_by_human"})


def test_what_comes_after_it_was_written_is_answered_although_it_leaves_later() -> None:
    story = Script()
    story.customer("Hola")
    story.clock("10:00:05").says("Buenas").woken()
    story.clock("10:00:07").customer("Tienen mesa?")
    story.clock("10:00:09").accepted().wait(33)
    story.expect(
        state=Answering,
        asked=["Tienen mesa?"],
        missed=[("customer", "Hola"), ("agent", "Buenas")],
        fates={"Hola": "context", "Tienen mesa?": "in_flight"},
    )


def test_whoever_writes_through_us_has_read_what_had_come_whatever_its_clock() -> None:
    story = Script()
    story.customer("Hola", event_at="10:00:20")
    story.clock("10:00:05").says("Buenas").woken().accepted().woken()
    story.expect(state=Idle, fates={"Hola": "answered_by_human"})


def test_after_it_the_chat_is_the_colleagues_for_a_while() -> None:
    rules = Rules(ai_conversations=False, human_hold_seconds=600)
    story = asked(rules).clock("10:01:00").says("Yo le atiendo").woken().accepted()
    story.clock("10:05:00").customer("Gracias")
    story.expect(state=Idle, fates={"Hola": "answered_by_human", "Gracias": "held"})
    story.clock("10:11:00").customer("Sigue ahi?")
    story.expect(state=Gathering)


def test_its_own_hold_does_not_hold_it_back() -> None:
    story = Script(Rules(ai_conversations=False, human_hold_seconds=600)).hold("23:59:59")
    story.customer("Hola")
    story.says("Yo le atiendo").woken().expect(state=Sending, sends="Yo le atiendo")
    story.refused(SendFailure.NOT_SENT).woken().expect(sends="Yo le atiendo")
    story.accepted().expect(outcome="sent")


@pytest.mark.parametrize("failure", [SendFailure.REJECTED, SendFailure.REFUSED])
def test_who_could_not_be_written_to_has_not_been_answered(failure: SendFailure) -> None:
    rules = Rules(ai_conversations=False, human_hold_seconds=600)
    story = Script(rules)
    story.customer("Hola")
    story.says("Buenas").woken().expect(state=Sending)
    story.refused(failure).expect(state=Gathering, untold={"Hola": "unread"})
    assert story.conversation.marks.last_agent_at is None
    story.woken().expect(state=Answering, asked=["Hola"], missed=[])


def test_a_turn_that_it_ended_stays_ended_although_it_never_left() -> None:
    story = asked().says("Yo le atiendo").woken().refused(SendFailure.REJECTED)
    story.expect(
        turns=["answered_by_human", "failed"],
        fates={"Hola": "answered_by_human"},
        untold={"Hola": "context"},
        dead_letters=[("sending", "http_400")],
    )
    assert story.conversation.marks.last_agent_at is None


def test_an_answer_that_is_asked_for_after_it_is_given() -> None:
    story = Script().hold("23:59:59")
    story.customer("Hola")
    story.clock("10:00:10").says("Le paso con la asistente")
    story.clock("10:00:11").ask().woken().expect(sends="Le paso con la asistente")
    story.clock("10:00:13").accepted().woken()
    story.expect(
        state=Answering, asked=["Hola", "answer"], missed=[("agent", "Le paso con la asistente")]
    )


def test_it_makes_an_answer_needless_that_was_asked_for_before() -> None:
    story = Script().hold("23:59:59")
    story.customer("Hola")
    story.clock("10:00:10").ask().woken().expect(state=Answering)
    story.clock("10:00:12").says("Ya le atiendo yo")
    story.expect(state=Idle, outcome="answered_by_human")


def test_it_does_so_although_the_providers_clock_dates_it_before_that() -> None:
    story = Script().hold("23:59:59")
    story.customer("Hola")
    story.clock("10:00:10").ask().clock("10:00:12").says("Ya le atiendo yo").woken()
    effect = story.wanted(Send)
    story.does(SendAccepted(effect.part.message_id, effect.part.attempt, at("10:00:08")))
    story.expect(state=Gathering).woken().expect(state=Idle, fates={"Hola": "answered_by_human"})


def test_what_an_automation_says_through_us_answers_nobody() -> None:
    story = asked().says("Estamos de vacaciones", Author.AUTOMATION).expect(state=Answering)
    story.answers("Hola!").accepted().woken().expect(sends="Estamos de vacaciones")
    story.accepted().expect(turns=["answered", "sent"])


def test_what_a_person_wrote_for_later_answers_nobody_at_its_time() -> None:
    rules = Rules(ai_conversations=False, human_hold_seconds=600)
    story = asked(rules).queue("Llego su pieza?", Author.AGENT).expect(state=Answering)
    story.answers("Hola!").accepted().woken().expect(sends="Llego su pieza?")
    story.accepted().clock("10:02:00").customer("Si")
    story.expect(state=Gathering)
    story.wait(35).expect(state=Answering, missed=[("agent", "Llego su pieza?")])


def test_its_echo_under_an_id_of_its_own_is_known_by_its_words() -> None:
    story = asked().says("Yo le atiendo").woken().clock("10:00:45")
    story.agent("Yo le atiendo")
    story.expect(state=Sending, untold={"Hola": "context", "Yo le atiendo": "context"})
    story.refused(SendFailure.UNKNOWN, "timeout").expect(state=Idle, outcome="sent")


def test_one_in_doubt_is_looked_for_and_found() -> None:
    story = asked().says("Yo le atiendo").woken().refused(SendFailure.UNKNOWN, "timeout")
    story.recalled(item("10:00:36", Author.AGENT, "Yo le atiendo", "h7"))
    story.expect(state=Idle, outcome="sent")


def test_two_of_them_leave_in_the_order_in_which_they_were_written() -> None:
    story = asked().says("uno").says("dos").woken().expect(sends="uno")
    story.accepted().woken().expect(sends="dos")
    assert story.wanted(Send).part.number == 1
    story.accepted().expect(turns=["answered_by_human", "sent", "sent"])


def test_an_apology_is_needless_once_a_person_has_written() -> None:
    story = Script(Rules(ai_conversations=False, fallback_text="Un momento"))
    story.customer("Hola")
    story.wait(35).fails_for_good().look().says("Yo le atiendo")
    story.woken().expect(outcome="answered_by_human", parts=["cancelled"])
    story.woken().expect(sends="Yo le atiendo")


def test_what_was_to_be_said_long_ago_is_not_said_and_told_to_nobody() -> None:
    story = asked().says("Ahora mismo le atiendo")
    story.now = at("10:31:00")
    story.restarts(interrupted=False).woken()
    story.expect(
        state=Idle, outcome="refused", reason="too_late", parts=["dead"], untold={"Hola": "context"}
    )


def answered_by_what_may_not_leave() -> Script:
    """A colleague has answered through us, and somebody has taken the chat right after."""
    story = Script()
    story.customer("Hola")
    story.clock("10:00:05").says("Buenas").hold("23:59:59")
    return story.expect(state=Gathering, untold={"Hola": "unread", "Buenas": "due"})


def test_what_it_would_have_answered_is_held_by_whoever_has_the_chat() -> None:
    story = answered_by_what_may_not_leave().woken().refused(SendFailure.REJECTED)
    story.expect(state=Idle, fates={"Hola": "held"}, untold={"Hola": "held"})


def test_and_so_it_is_if_nobody_was_there_to_send_it_in_time() -> None:
    story = answered_by_what_may_not_leave().clock("10:31:00").woken()
    story.expect(state=Idle, reason="too_late", fates={"Hola": "held"}, untold={"Hola": "held"})
