"""Delays, recalls that are owed, and what must survive both (rules 4 to 7)."""

import pytest

from relevo.events import AnswerFailure
from relevo.messages import Author
from relevo.states import Ensuring, Gathering, Idle, Recalling
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


@pytest.mark.xfail(reason="CORE-BUG 19")
def test_an_ai_that_makes_conversations_but_never_answers_is_given_up() -> None:
    # CORE-BUG 19: each new conversation forgets the tries before it, so they never end.
    story = asked(REMEMBERING)
    for number in range(4):
        if not isinstance(story.state, Ensuring):
            break
        story.ensured(f"conv_{number}").fails(AnswerFailure.UNKNOWN, "timeout")
        story.wait(4)
    story.expect(state=Idle, outcome="failed")


@pytest.mark.xfail(reason="CORE-BUG 2")
def test_turns_delayed_while_answering_look_again_before_they_answer() -> None:
    # CORE-BUG 2: `late` is judged only when the burst closes.
    story = asked()
    story.now = at("14:00:00")
    story.restarts().wait(1)
    story.expect(state=Recalling)
    story.recalled(item("11:00:00", Author.AGENT, "Confirmado"))
    story.expect(outcome="answered_by_human")


@pytest.mark.xfail(reason="CORE-BUG 2")
def test_a_turn_delayed_while_its_conversation_was_made_looks_again() -> None:
    # CORE-BUG 2: the same for a process that died in the stage before.
    story = asked(REMEMBERING)
    story.now = at("14:00:00")
    story.restarts().expect(state=Recalling, reasons=["late"])


@pytest.mark.xfail(reason="CORE-BUG 2")
def test_a_recall_that_was_cut_off_is_asked_again_however_late() -> None:
    # CORE-BUG 2: the old deadline has passed, so its timer gives the recall up at once.
    story = gap()
    story.now = at("14:00:00")
    story.restarts().wait(0)
    story.expect(state=Recalling)


@pytest.mark.xfail(reason="CORE-BUG 3")
def test_a_recall_that_a_colleague_made_needless_for_the_reply_is_still_owed() -> None:
    # CORE-BUG 3: what else happened in that gap is never asked for.
    story = gap()
    story.clock("10:30:40").agent("Le atiendo yo")
    story.expect(outcome="answered_by_human", owed=True)


@pytest.mark.xfail(reason="CORE-BUG 3")
def test_a_gap_that_a_colleague_closed_is_still_to_be_recalled() -> None:
    # CORE-BUG 3: the same, when the burst is answered whole before it closes.
    story = Script().clock("10:30:00")
    story.customer("Hola")
    story.agent("Le atiendo yo")
    story.wait(0).expect(outcome="answered_by_human", verdict="gap", owed=True)


@pytest.mark.xfail(reason="CORE-BUG 4")
def test_a_gap_that_nobody_could_be_asked_about_stays_open_without_any_complete_recall() -> None:
    # CORE-BUG 4: the reply moves the cut-off past the gap when there is no `known_to`.
    story = Script(stranger=True)
    story.customer("Hola")
    story.wait(35).recalled(status=RecallStatus.FAILED)
    story.answers("Hola!").accepted()
    story.clock("10:05:00").customer("Alo?")
    story.wait(35).expect(state=Recalling, reasons=["owed"])
    assert story.turn.recall_since is not None
    assert story.turn.recall_since < at("09:00:00")


@pytest.mark.xfail(reason="CORE-BUG 10")
def test_a_look_back_that_was_postponed_still_gives_way_to_gaps() -> None:
    # CORE-BUG 10
    story = Script(stranger=True)
    story.customer("Hola")
    story.wait(35).recalled(status=RecallStatus.FAILED)
    story.answers("Hola!").accepted()
    story.clock("10:02:00").customer("Alo?")
    story.wait(35).expect(state=Recalling, urgent=False)


@pytest.mark.xfail(reason="CORE-BUG 5")
def test_a_colleague_whom_only_the_history_knew_moves_the_agents_mark_when_told() -> None:
    # CORE-BUG 5: so a late message that he had answered is answered again.
    story = gap()
    story.recalled(item("10:10:00", Author.AGENT, "La 77"))
    story.answers("La 77").accepted()
    assert story.conversation.marks.last_agent_at == at("10:10:00")


@pytest.mark.xfail(reason="CORE-BUG 6")
def test_a_webhook_for_a_missed_message_the_ai_is_being_told_is_not_lost() -> None:
    # CORE-BUG 6: the answer marks it as told, and it stays in flight for ever.
    story = gap()
    story.recalled(item("10:10:00", Author.CUSTOMER, "Llego a las 3", "h1"))
    story.customer("Llego a las 3", key="h1", event_at="10:10:00")
    story.answers("ok").accepted()
    story.expect(state=Gathering, untold={"Llego a las 3": "unread"})


@pytest.mark.xfail(reason="CORE-BUG 7")
def test_what_became_late_by_the_answer_is_context_in_memory_as_in_the_rows() -> None:
    # CORE-BUG 7: memory opens a turn with it, a process that resumes does not.
    story = asked()
    story.clock("10:29:00").customer("viejo", event_at="09:58:30")
    story.answers("ok").accepted()
    in_memory = story.state
    story.look()
    assert story.state == in_memory


@pytest.mark.xfail(reason="CORE-BUG 11")
def test_an_unavailable_history_does_not_settle_what_another_owes() -> None:
    # CORE-BUG 11
    story = Script().remembers(recall_owed=True)
    story.customer("Hola")
    story.wait(35).recalled(status=RecallStatus.UNAVAILABLE).expect(owed=True)


@pytest.mark.xfail(reason="CORE-BUG 13")
def test_what_was_left_out_is_not_told_before_there_is_an_answer() -> None:
    # CORE-BUG 13: a turn that fails forgets what it left out.
    story = gap()
    minutes = [item(f"10:{n // 2:02}:{n % 2 * 30:02}", Author.AGENT, f"m{n}") for n in range(40)]
    story.recalled(*minutes).fails_for_good()
    assert len(story.thread.untold) == 41


@pytest.mark.xfail(reason="CORE-BUG 14")
def test_a_dead_letter_closes_when_its_messages_are_told_as_context() -> None:
    # CORE-BUG 14
    story = asked().fails_for_good()
    story.clock("10:01:00").agent("Le atiendo")
    story.clock("10:02:00").customer("Gracias")
    story.wait(35).expect(asked=["Gracias"]).answers("De nada").accepted()
    story.expect(dead_letters=[])


@pytest.mark.xfail(reason="CORE-BUG 12")
def test_a_late_turn_looks_at_least_as_far_back_as_its_own_beginning() -> None:
    # CORE-BUG 12
    rules = Rules(ai_conversations=False, first_contact_lookback_seconds=600)
    story = Script(rules, stranger=True)
    story.customer("Hola")
    story.wait(4 * 3600)
    assert story.turn.recall_since is not None
    assert story.turn.recall_since <= at("10:00:00")


@pytest.mark.xfail(reason="CORE-BUG 21")
def test_a_row_that_a_webhook_has_confirmed_is_so_in_memory_too() -> None:
    # CORE-BUG 21: memory goes on taking it for known from history only.
    story = gap()
    story.recalled(item("10:10:00", Author.AGENT, "La 77", "h1"))
    story.agent("La 77", key="w1", event_at="10:10:01")
    in_memory = story.state
    story.look()
    assert story.state == in_memory


@pytest.mark.xfail(reason="CORE-BUG 22")
def test_a_missed_message_stays_missed_when_a_webhooks_row_takes_its_place() -> None:
    # CORE-BUG 22: the turn names the row that is gone, so a second try does not tell it.
    story = gap()
    story.recalled(item("10:10:00", Author.CUSTOMER, "Llego a las 3", "h1"))
    story.customer("Llego a las 3", key="w1", event_at="10:10:01")
    story.fails(AnswerFailure.TRANSIENT).wait(1)
    story.expect(missed=[("customer", "Llego a las 3")])


@pytest.mark.xfail(reason="CORE-BUG 23")
def test_memory_and_rows_are_equal_also_after_a_recall() -> None:
    # CORE-BUG 23: memory keeps the ids of what it recalled, a process that resumes reads none.
    story = gap()
    story.recalled(item("10:10:00", Author.AGENT, "La 77", "h1"))
    in_memory = story.state
    story.restarts(interrupted=False)
    assert story.state == in_memory
