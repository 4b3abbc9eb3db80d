"""Delays, recalls that are owed, and what must survive both (rules 4 to 7)."""

from dataclasses import replace

from relevo.events import AnswerFailure
from relevo.messages import Author
from relevo.states import Gathering, Recalling
from relevo.turns import RecallStatus, Rules
from tests.script import Script, at, item

REMEMBERING = Rules(ai_conversations=True)


def gap(rules: Rules | None = None) -> Script:
    """A customer writes after half an hour; the history is being asked."""
    story = Script(rules).clock("10:30:00")
    story.customer("Cual era mi reserva?")
    return story.wait(35).expect(state=Recalling)


def asked(rules: Rules | None = None) -> Script:
    story = Script(rules)
    story.customer("Hola")
    return story.wait(35)


def test_turns_delayed_while_answering_look_again_before_they_answer() -> None:
    story = asked()
    story.now = at("14:00:00")
    story.restarts().wait(1)
    story.expect(state=Recalling)
    story.recalled(item("11:00:00", Author.AGENT, "Confirmado"))
    story.expect(outcome="answered_by_human")


def test_an_answer_of_long_ago_is_not_looked_for_but_asked_anew_with_what_was_said_since() -> None:
    story = asked(REMEMBERING).ensured()
    story.now = at("14:00:00")
    story.restarts().expect(state=Recalling, ai_conversation=None)
    story.recalled(item("09:59:00", Author.AGENT, "Confirmado"))
    story.ensured("conv_2").expect(asked=["Hola"], missed=[("agent", "Confirmado")])


def test_a_turn_delayed_while_its_conversation_was_made_looks_again() -> None:
    story = asked(REMEMBERING)
    story.now = at("14:00:00")
    story.restarts().expect(state=Recalling, reasons=["late"])


def test_a_recall_that_was_cut_off_is_asked_again_however_late() -> None:
    story = gap()
    story.now = at("14:00:00")
    story.restarts().wait(0)
    story.expect(state=Recalling)


def test_a_recall_that_a_colleague_made_needless_for_the_reply_is_still_owed() -> None:
    story = gap()
    story.clock("10:30:40").agent("Le atiendo yo")
    story.expect(outcome="answered_by_human", owed=True)


def test_a_gap_that_a_colleague_closed_is_still_to_be_recalled() -> None:
    story = Script().clock("10:30:00")
    story.customer("Hola")
    story.agent("Le atiendo yo")
    story.wait(0).expect(outcome="answered_by_human", verdict="gap", owed=True)


def test_a_gap_that_nobody_could_be_asked_about_stays_open_without_any_complete_recall() -> None:
    story = Script(stranger=True)
    story.customer("Hola")
    story.wait(35).recalled(status=RecallStatus.FAILED)
    story.answers("Hola!").accepted()
    story.clock("10:05:00").customer("Alo?")
    story.wait(35).expect(state=Recalling, reasons=["owed"])
    assert story.turn.recall_since is not None
    assert story.turn.recall_since < at("09:00:00")


def test_a_look_back_that_was_postponed_still_gives_way_to_gaps() -> None:
    story = Script(stranger=True)
    story.customer("Hola")
    story.wait(35).recalled(status=RecallStatus.FAILED)
    story.answers("Hola!").accepted()
    story.clock("10:02:00").customer("Alo?")
    story.wait(35).expect(state=Recalling, urgent=False)


def test_a_colleague_whom_only_the_history_knew_moves_the_agents_mark_when_told() -> None:
    story = gap()
    story.recalled(item("10:10:00", Author.AGENT, "La 77"))
    story.answers("La 77").accepted()
    assert story.conversation.marks.last_agent_at == at("10:10:00")


def test_a_webhook_for_a_missed_message_the_ai_is_being_told_is_not_lost() -> None:
    story = gap()
    story.recalled(item("10:10:00", Author.CUSTOMER, "Llego a las 3", "h1"))
    story.customer("Llego a las 3", key="h1", event_at="10:10:00")
    story.answers("ok").accepted()
    story.expect(state=Gathering, untold={"Llego a las 3": "unread"})


def test_what_became_late_by_the_answer_is_context_in_memory_as_in_the_rows() -> None:
    story = asked()
    story.clock("10:29:00").customer("viejo", event_at="09:58:30")
    story.answers("ok").accepted()
    in_memory = story.state
    story.look()
    assert story.state == in_memory


def test_an_unavailable_history_does_not_settle_what_another_owes() -> None:
    story = Script().remembers(owed_since=at("09:00:00"))
    story.customer("Hola")
    story.wait(35).recalled(status=RecallStatus.UNAVAILABLE).expect(owed=True)


def test_what_was_left_out_is_not_told_before_there_is_an_answer() -> None:
    story = gap()
    minutes = [item(f"10:{n // 2:02}:{n % 2 * 30:02}", Author.AGENT, f"m{n}") for n in range(40)]
    story.recalled(*minutes).fails_for_good()
    assert len(story.thread.untold) == 41


def test_a_dead_letter_closes_when_its_messages_are_told_as_context() -> None:
    story = asked().fails_for_good()
    story.clock("10:01:00").agent("Le atiendo")
    story.clock("10:02:00").customer("Gracias")
    story.wait(35).expect(asked=["Gracias"]).answers("De nada").accepted()
    story.expect(dead_letters=[])


def test_a_late_turn_looks_at_least_as_far_back_as_its_own_beginning() -> None:
    rules = Rules(ai_conversations=False, first_contact_lookback_seconds=600)
    story = Script(rules, stranger=True)
    story.customer("Hola")
    story.wait(4 * 3600)
    assert story.turn.recall_since is not None
    assert story.turn.recall_since <= at("10:00:00")


def test_a_row_that_a_webhook_has_confirmed_is_so_in_memory_too() -> None:
    story = gap()
    story.recalled(item("10:10:00", Author.AGENT, "La 77", "h1"))
    story.agent("La 77", key="w1", event_at="10:10:01")
    in_memory = story.state
    story.look()
    assert story.state == in_memory


def test_a_missed_message_stays_missed_when_a_webhooks_row_takes_its_place() -> None:
    story = gap()
    story.recalled(item("10:10:00", Author.CUSTOMER, "Llego a las 3", "h1"))
    story.customer("Llego a las 3", key="w1", event_at="10:10:01")
    story.fails(AnswerFailure.TRANSIENT).woken()
    story.expect(missed=[("customer", "Llego a las 3")])


def test_memory_and_rows_are_equal_also_after_a_recall() -> None:
    story = gap()
    story.recalled(item("10:10:00", Author.AGENT, "La 77", "h1"))
    in_memory = story.state
    story.restarts(interrupted=False)
    assert story.state == in_memory


def test_a_history_from_the_future_silences_nobody_for_long() -> None:
    story = gap()
    story.recalled(item("23:59:00", Author.AGENT, "La 77", "h1"))
    story.expect(outcome="answered_by_human")
    assert story.conversation.marks.last_agent_at == at("10:31:35")
    story.clock("10:33:00").customer("Sigue ahi?")
    story.wait(35).expect(asked=["Sigue ahi?"])


def test_reactions_in_the_history_are_neither_told_nor_answers() -> None:
    story = gap()
    thumbs = [item("10:30:10", author, "👍", key) for author, key in WHO.items()]
    story.recalled(*(replace(one, kind="reaction") for one in thumbs))
    story.expect(asked=["Cual era mi reserva?"], missed=[])


def test_a_voice_message_and_a_bare_picture_are_known_under_their_other_names() -> None:
    story = Script().clock("10:30:00")
    story.customer("", kind="voice")
    story.customer("", kind="image")
    story.wait(35)
    voice = replace(item("10:30:00", Author.CUSTOMER, "", "h1"), kind="audio")
    image = replace(item("10:30:00", Author.CUSTOMER, "photo.jpg", "h2"), kind="image")
    story.recalled(voice, image).expect(asked=["", ""], missed=[])


WHO = {Author.AGENT: "h1", Author.CUSTOMER: "h2"}
