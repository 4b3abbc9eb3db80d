"""Messages that are edited or taken back, at every moment of a turn (rule 11)."""

import pytest

from relevo.effects import Ask
from relevo.events import AnswerFailure, SendFailure
from relevo.messages import Author, Edit, Revocation
from relevo.prompt import build
from relevo.states import Answering, Ensuring, Gathering, Idle, Recalling, Reconciling, Sending
from relevo.turns import Marks, Rules
from tests.script import Script, at, item

REMEMBERS = Rules(ai_conversations=True)


def edit(number: int, text: str, author: Author = Author.CUSTOMER) -> Edit:
    return Edit(f"key-{number}", author, text, None)


def revocation(number: int, author: Author = Author.CUSTOMER) -> Revocation:
    return Revocation(f"key-{number}", author, None)


def asked(rules: Rules | None = None) -> Script:
    """Two messages are being asked, at 10:00:45."""
    story = Script(rules)
    story.customer("Hola")
    story.clock("10:00:10").customer("Para dos")
    story.wait(35)
    if rules is not None:
        story.expect(state=Ensuring).ensured()
    return story.expect(state=Answering, asked=["Hola", "Para dos"])


def test_an_edit_before_the_ai_is_asked_is_the_question_and_moves_no_deadline() -> None:
    story = Script()
    story.customer("Para dos")
    story.clock("10:00:20").changes(edit(1, "Para tres"))
    story.expect(state=Gathering, wakes="10:00:35", untold={"Para tres": "unread"})
    story.woken().expect(asked=["Para tres"])


def test_an_edit_while_the_history_is_asked_is_the_question() -> None:
    story = Script().clock("10:30:00")
    story.customer("Para dos")
    story.wait(35).expect(state=Recalling)
    story.changes(edit(1, "Para tres")).recalled().expect(asked=["Para tres"], missed=[])


def test_an_edit_before_the_ai_has_a_conversation_is_the_question() -> None:
    story = Script(REMEMBERS)
    story.customer("Para dos")
    story.wait(35).expect(state=Ensuring)
    story.changes(edit(1, "Para tres")).ensured().expect(asked=["Para tres"])


def test_an_edit_between_two_tries_is_asked_the_second_time() -> None:
    story = asked().fails(AnswerFailure.TRANSIENT)
    story.changes(edit(2, "Para tres")).expect(state=Answering)
    story.woken().expect(asked=["Hola", "Para tres"], missed=[])


def test_an_edit_of_what_the_ai_is_being_asked_is_told_with_the_next_turn() -> None:
    story = asked().changes(edit(2, "Para tres"))
    story.expect(state=Answering, asked=["Hola", "Para dos"], missed=[])
    story.answers("Mesa para dos").accepted().expect(untold={"Para tres": "context"})
    story.clock("10:01:00").customer("Gracias")
    story.woken().expect(asked=["Gracias"], missed=[("customer", "Para tres")])
    prompt = build(story.turn, (), story.wanted(Ask).missed, "UTC")
    (note, _) = prompt.items
    assert "1. customer, 2026-03-02 10:00, an earlier message as it was edited" in note.content
    story.answers("Para tres, entonces").accepted()
    fates = {"Hola": "answered", "Para dos": "answered", "Gracias": "answered"}
    story.expect(untold={}, fates={**fates, "Para tres": "context"})


def test_an_edit_of_what_may_have_been_asked_is_context() -> None:
    story = asked(REMEMBERS).fails(AnswerFailure.UNKNOWN, "timeout").expect(state=Reconciling)
    story.changes(edit(1, "Hola!")).answers("Hola").accepted()
    story.expect(outcome="answered", untold={"Hola!": "context"})


def test_an_edit_moves_no_window_and_opens_no_turn() -> None:
    story = asked().answers("Mesa para dos").accepted().clock("10:30:00").changes(edit(1, "Hey"))
    story.expect(state=Idle, effects=[], untold={"Hey": "context"})
    story.queue("Hasta luego").woken()
    (part,) = [p for p in story.thread.parts.values() if p.text == "Hasta luego"]
    assert part.window_ends_at == at("10:00:10").replace(day=3)


def test_what_a_colleague_edits_answers_nobody() -> None:
    story = Script()
    story.agent("Le espero")
    story.clock("10:00:05").customer("Gracias")
    story.wait(35).answers("De nada").accepted()
    story.clock("10:10:00").customer("Hola")
    story.clock("10:10:05").changes(edit(1, "Le espero el martes", Author.AGENT))
    story.expect(state=Gathering, wakes="10:10:35").woken().recalled()
    story.expect(asked=["Hola"], missed=[("agent", "Le espero el martes")])
    assert story.conversation.marks.last_agent_at == at("10:00:00")


def test_what_is_taken_back_before_its_turn_is_as_if_it_had_not_been_said() -> None:
    story = Script()
    story.customer("uno")
    story.clock("10:00:30").customer("dos")
    story.changes(revocation(2)).expect(
        wakes="10:00:35", fates={"uno": "in_flight", "dos": "revoked"}
    )
    story.changes(revocation(1)).expect(state=Idle, turns=[], untold={})
    assert story.conversation.marks.last_customer_at == at("09:58:00")


def test_what_is_taken_back_leaves_its_turn() -> None:
    story = asked().changes(revocation(1)).expect(state=Answering, messages=["Para dos"])
    story.answers("Mesa para dos").accepted()
    story.expect(outcome="answered", fates={"Hola": "revoked", "Para dos": "answered"}, untold={})


def test_what_was_missed_and_is_taken_back_is_not_told() -> None:
    story = Script()
    story.automation("Oferta")
    story.agent("Le espero")
    story.clock("10:00:05").customer("Gracias")
    story.wait(35).fails(AnswerFailure.TRANSIENT)
    story.changes(revocation(1, Author.AGENT)).woken()
    story.expect(asked=["Gracias"], missed=[("agent", "Le espero")])
    assert len(story.turn.missed_ids) == 1


@pytest.mark.parametrize("while_asked", [True, False])
def test_a_turn_of_which_nothing_is_left_ends_and_the_ai_forgets_it(
    while_asked: bool,  # noqa: FBT001
) -> None:
    story = asked(REMEMBERS) if while_asked else Script(REMEMBERS)
    if not while_asked:
        story.remembers(ai_conversation="conv_0").clock("10:30:00")
        story.customer("Hola")
        story.customer("Para dos")
        story.wait(35).expect(state=Recalling)
    story.changes(revocation(1)).changes(revocation(2))
    story.expect(state=Idle, outcome="no_reply", reason="revoked", messages=[], untold={})
    story.expect(fates={"Hola": "revoked", "Para dos": "revoked"}, dead_letters=[], effects=[])
    story.expect(ai_conversation=None if while_asked else "conv_0", owed=not while_asked)


def test_whoever_asked_for_an_answer_to_what_is_taken_back_gets_none() -> None:
    story = Script().hold("23:59:59")
    story.customer("Hola")
    story.ask().woken().expect(state=Answering, asked=["Hola", "answer"])
    story.changes(revocation(1)).expect(state=Idle, outcome="no_reply", untold={})


def test_what_is_taken_back_after_the_answer_was_stored_is_only_marked() -> None:
    story = asked().answers("Mesa para dos").changes(revocation(1)).expect(state=Sending)
    story.accepted().expect(outcome="answered", fates={"Hola": "answered", "Para dos": "answered"})
    assert [m.body for m in story.book.told(story.key, 10)] == ["Para dos", "Mesa para dos"]


def test_what_is_taken_back_while_a_reply_fails_is_not_offered_again() -> None:
    story = asked().answers("Mesa para dos").changes(revocation(1))
    story.refused(SendFailure.REJECTED)
    story.expect(fates={"Hola": "revoked", "Para dos": "dead"}, untold={"Para dos": "failed"})


def test_a_dead_letter_about_nothing_else_is_closed() -> None:
    story = asked().fails_for_good().changes(revocation(1))
    story.expect(dead_letters=[("answering", "http_401")])
    story.changes(revocation(2)).expect(state=Idle, dead_letters=[], untold={})


def test_what_a_colleague_takes_back_before_it_ended_a_turn_has_answered_nobody() -> None:
    story = Script(Rules(ai_conversations=False, human_hold_seconds=600))
    story.customer("Hola")
    story.clock("10:00:10").agent("Equivocado", look=False)
    story.changes(revocation(2, Author.AGENT)).expect(state=Gathering, wakes="10:00:35")
    story.woken().expect(asked=["Hola"], missed=[])


def test_what_a_colleague_takes_back_after_it_ended_a_turn_has_ended_it() -> None:
    story = Script()
    story.customer("Hola")
    story.clock("10:00:10").agent("Claro")
    story.woken().expect(outcome="answered_by_human")
    story.changes(revocation(2, Author.AGENT)).expect(state=Idle, untold={"Hola": "context"})
    assert story.conversation.marks == Marks(
        last_customer_at=at("10:00:00"),
        last_assistant_at=at("09:58:30"),
        last_agent_at=at("10:00:10"),
        known_to=at("09:58:10"),
        told_to=at("09:58:00"),
    )


def test_the_history_does_not_bring_back_what_was_edited_or_taken_back() -> None:
    story = Script().clock("10:30:00")
    story.customer("Para dos")
    story.customer("Adios")
    story.wait(35).changes(edit(1, "Para tres")).changes(revocation(2))
    story.recalled(
        item("10:30:00", Author.CUSTOMER, "Para dos", "key-1"),
        item("10:30:00", Author.CUSTOMER, "Adios", "key-2"),
    )
    story.expect(asked=["Para tres"], missed=[], messages=["Para tres"])
