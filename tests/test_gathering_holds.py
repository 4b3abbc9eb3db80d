"""While a human has the chat: holds, silence after a colleague, and "answer now" (rule 10)."""

import pytest

from relevo.events import SendFailure
from relevo.messages import Author
from relevo.states import Answering, Ensuring, Gathering, Idle, Recalling, Sending
from relevo.turns import Marks, RecallStatus, Rules
from tests.script import Script, at, item

SILENT = Rules(ai_conversations=False, human_hold_seconds=600, gap_seconds=3600)


def held() -> Script:
    """A colleague has taken the chat at 10:00, and the customer goes on writing."""
    story = Script().hold("23:59:59")
    story.customer("Hola")
    return story.expect(state=Idle)


def test_what_comes_during_a_hold_is_kept_and_opens_no_turn() -> None:
    story = held()
    story.expect(turns=[], fates={"Hola": "held"}, untold={"Hola": "held"}, effects=[])
    assert story.conversation.marks.last_customer_at == at("09:58:00")


def test_after_a_hold_nothing_is_answered_by_itself() -> None:
    story = held().clock("10:01:00").give_back()
    story.expect(state=Idle, fates={"Hola": "held"}, untold={"Hola": "held"}, effects=[])


def test_what_was_held_is_told_with_the_next_turn() -> None:
    story = held().clock("10:01:00").give_back()
    story.clock("10:02:00").customer("Sigue ahi?")
    story.wait(35).expect(asked=["Sigue ahi?"], missed=[("customer", "Hola")])
    story.answers("Si").accepted()
    story.expect(untold={}, fates={"Hola": "held", "Sigue ahi?": "answered"})


def test_a_hold_may_end_by_itself() -> None:
    story = Script().hold("10:05:00")
    story.clock("10:04:59").customer("uno")
    story.clock("10:05:00").customer("dos")
    story.expect(state=Gathering, untold={"uno": "held", "dos": "unread"}, wakes="10:05:35")


def test_a_hold_takes_what_is_being_gathered() -> None:
    story = Script()
    story.customer("Hola")
    story.clock("10:00:10").hold("23:59:59")
    story.expect(state=Idle, turns=[], fates={"Hola": "held"})


@pytest.mark.parametrize("recalls", [True, False])
def test_a_hold_ends_a_turn_that_has_not_answered(recalls: bool) -> None:  # noqa: FBT001
    story = Script(Rules(ai_conversations=True)).clock("10:30:00" if recalls else "10:00:00")
    story.customer("Hola")
    story.wait(35).expect(state=Recalling if recalls else Ensuring)
    if not recalls:
        story.ensured()
    story.hold("23:59:59")
    story.expect(
        state=Idle,
        outcome="held",
        fates={"Hola": "held"},
        untold={"Hola": "held"},
        owed=recalls,
        ai_conversation=None,
    )


def test_a_hold_cancels_the_parts_that_have_not_left() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).answers("uno", "dos").hold("23:59:59")
    story.expect(state=Sending, parts=["sending", "cancelled"])
    story.accepted().expect(outcome="answered", fates={"Hola": "answered"})


def test_a_hold_before_anything_has_left_ends_the_turn_held() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).answers("uno").refused(SendFailure.NOT_SENT).hold("23:59:59")
    story.woken().expect(state=Idle, outcome="held", parts=["cancelled"], untold={"Hola": "held"})


def test_a_hold_does_not_stop_what_we_were_asked_to_say() -> None:
    held().queue("Recordatorio").woken().accepted().expect(outcome="sent")


def test_a_person_may_ask_for_an_answer_to_what_was_held() -> None:
    story = held().clock("10:03:00")
    story.agent("Le atiende la asistente", event_at="10:02:00")
    story.ask().expect(state=Gathering, wakes="10:03:00")
    story.woken().expect(
        state=Answering, asked=["Hola", "answer"], missed=[("agent", "Le atiende la asistente")]
    )
    story.answers("Buenas").accepted()
    story.expect(
        state=Idle,
        outcome="answered",
        fates={"Hola": "answered"},
        untold={},
        messages=["Hola", "answer"],
    )


def test_who_asks_takes_in_what_a_failed_turn_left() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).fails_for_good().expect(untold={"Hola": "failed"})
    failed = story.turn
    story.clock("10:02:00").ask().woken().expect(asked=["Hola", "answer"])
    assert story.turn.id > failed.id
    story.answers("Hola!").accepted().expect(dead_letters=[], fates={"Hola": "answered"})


def test_a_request_that_fails_is_over_and_its_messages_wait() -> None:
    story = held().clock("10:01:00").ask().woken().fails_for_good()
    story.expect(state=Idle, outcome="failed", untold={"Hola": "failed"}, fates={"Hola": "dead"})


def test_a_request_for_nothing_is_over_at_once() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).answers("Hola!").accepted().ask().expect(state=Gathering)
    story.woken().expect(state=Idle, untold={}, turns=["answered"])


def test_a_request_while_a_turn_is_open_waits_for_its_end() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).ask().expect(state=Answering, asked=["Hola"])
    story.answers("Hola!").accepted().expect(state=Gathering)
    story.woken().expect(state=Idle, turns=["answered"])


def test_a_burst_is_answered_now_if_a_person_wants_it() -> None:
    story = Script()
    story.customer("Hola")
    story.clock("10:00:05").ask().expect(wakes="10:00:00")
    story.woken().expect(asked=["Hola", "answer"])


def test_a_colleague_who_writes_after_the_request_has_answered_it() -> None:
    story = held().clock("10:01:00").ask().woken().clock("10:01:05")
    story.agent("Ya le contesto yo")
    story.expect(state=Idle, outcome="answered_by_human", fates={"Hola": "answered_by_human"})
    late = held().clock("10:01:00").ask().clock("10:01:01")
    late.agent("Ya le contesto yo")
    late.woken().expect(
        outcome="answered_by_human", untold={"Hola": "context", "Ya le contesto yo": "context"}
    )


def test_a_hold_after_the_request_ends_its_turn() -> None:
    story = held().clock("10:01:00").ask().woken().clock("10:01:05").hold("23:59:59")
    story.expect(state=Idle, outcome="held", untold={"Hola": "held"})


def test_a_hold_after_a_request_that_nothing_came_of_yet_holds_again() -> None:
    story = held().clock("10:01:00").ask().hold("23:59:59").expect(state=Gathering)
    story.woken().expect(state=Idle, turns=[], untold={"Hola": "held"}, fates={"Hola": "held"})


def test_of_what_was_asked_for_a_colleague_may_answer_a_part_and_a_hold_keep_the_rest() -> None:
    story = held().clock("10:01:00").ask().clock("10:01:05")
    story.agent("Ya le contesto yo")
    story.clock("10:01:10").customer("Gracias", look=False)
    story.hold("23:59:59").woken()
    story.expect(
        state=Idle,
        turns=["answered_by_human"],
        fates={"Hola": "answered_by_human", "Gracias": "held"},
        untold={"Hola": "context", "Ya le contesto yo": "context", "Gracias": "held"},
    )


def test_what_was_written_before_a_request_and_came_after_a_hold_is_not_held() -> None:
    story = held().clock("10:01:00").ask().clock("10:01:05").hold("10:01:10")
    story.clock("10:01:20").customer("Alo?", event_at="10:00:59")
    story.woken().expect(asked=["Alo?", "answer"], missed=[("customer", "Hola")])


def test_who_asks_first_and_is_written_to_then_is_read_back_in_that_order() -> None:
    story = held().clock("10:01:00").ask().clock("10:01:05")
    story.customer("Alo?")
    story.woken().answers("Buenas").expect(state=Sending)
    in_memory = story.state
    assert story.restarts(interrupted=False).state == in_memory


def test_we_stay_silent_after_a_colleagues_message_for_as_long_as_is_set() -> None:
    story = Script(SILENT)
    story.agent("Buenas, soy Ana")
    story.clock("10:09:59").customer("Hola Ana")
    story.expect(state=Idle, fates={"Hola Ana": "held"})
    story.clock("10:10:00").customer("Sigue ahi?")
    story.expect(
        state=Gathering,
        untold={"Buenas, soy Ana": "context", "Hola Ana": "held", "Sigue ahi?": "unread"},
    )


def test_a_told_colleagues_message_keeps_us_silent_by_its_mark() -> None:
    story = Script(SILENT).remembers(marks=Marks(last_agent_at=at("09:55:00")))
    story.customer("Hola")
    story.expect(state=Idle, fates={"Hola": "held"})


def test_who_gives_the_chat_back_ends_the_silence() -> None:
    story = Script(SILENT)
    story.agent("Buenas, soy Ana")
    story.clock("10:01:00").customer("Hola Ana")
    story.clock("10:02:00").give_back()
    story.clock("10:03:00").customer("Y?")
    story.expect(
        state=Gathering, untold={"Buenas, soy Ana": "context", "Hola Ana": "held", "Y?": "unread"}
    )
    story.agent("Perdon, sigo yo")
    story.clock("10:04:00").customer("Gracias")
    story.woken().expect(
        state=Idle, fates={"Hola Ana": "held", "Y?": "answered_by_human", "Gracias": "held"}
    )


def test_a_colleague_whom_only_the_history_knows_keeps_us_silent_too() -> None:
    rules = Rules(ai_conversations=False, human_hold_seconds=1800)
    story = Script(rules).clock("10:30:00")
    story.customer("Hola")
    story.wait(35).recalled(item("10:20:00", Author.AGENT, "Le atiende Ana"))
    story.expect(state=Idle, outcome="held", fates={"Hola": "held"})


def test_what_comes_during_a_silence_that_a_recall_reveals_is_held_at_once() -> None:
    rules = Rules(ai_conversations=False, human_hold_seconds=600)
    story = Script(rules).clock("10:30:00")
    story.customer("Hola")
    story.wait(35).customer("Alo?")
    story.recalled(item("10:30:10", Author.AGENT, "Le atiende Ana"))
    story.expect(
        state=Idle,
        outcome="answered_by_human",
        fates={"Hola": "answered_by_human", "Alo?": "held"},
    )
    sending = Script(rules).clock("10:02:00")
    sending.customer("Hola")
    sending.wait(35).answers("uno").refused(SendFailure.UNKNOWN).customer("Alo?")
    sending.recalled(item("10:02:30", Author.AGENT, "Le atiende Ana"))
    sending.expect(state=Sending, untold={"Le atiende Ana": "context", "Alo?": "held"})


def test_a_colleague_who_is_silent_after_writing_has_answered_all_the_same() -> None:
    story = Script(SILENT)
    story.customer("Hola")
    story.wait(35).answers("uno").refused(SendFailure.NOT_SENT).agent("Buenas, soy Ana")
    story.woken().expect(outcome="answered_by_human", fates={"Hola": "answered_by_human"})


def test_of_a_burst_only_what_came_before_the_end_of_a_silence_is_held() -> None:
    rules = Rules(ai_conversations=False, human_hold_seconds=600)
    story = Script(rules).clock("10:30:00")
    story.customer("uno")
    story.clock("10:30:20").customer("dos")
    story.wait(35).recalled(item("10:20:10", Author.AGENT, "Un momento"))
    story.expect(
        state=Answering,
        asked=["dos"],
        missed=[("agent", "Un momento"), ("customer", "uno")],
        fates={"uno": "held", "dos": "in_flight"},
    )


def test_memory_and_rows_are_equal_during_a_hold() -> None:
    story = held()
    in_memory = story.state
    assert story.restarts(interrupted=False).state == in_memory
    asked = held().clock("10:01:00").ask().woken()
    in_memory = asked.state
    assert asked.restarts(interrupted=False).state == in_memory


def test_an_unavailable_history_does_not_answer_what_is_held() -> None:
    story = Script().clock("10:30:00")
    story.customer("Hola")
    story.wait(35).hold("23:59:59")
    story.expect(outcome="held", recall=RecallStatus.NOT_NEEDED.value, owed=True)
