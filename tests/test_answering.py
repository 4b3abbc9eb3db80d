"""From a judged burst to a stored answer (rules 5 to 9, 13)."""

from datetime import timedelta

import pytest

from relevo.effects import Ask
from relevo.messages import Author
from relevo.states import Answering, Ensuring, Gathering, Idle, Recalling, Sending
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


def test_what_the_history_knows_is_stored_and_told_in_order() -> None:
    story = gap()
    story.recalled(
        item("10:12:00", Author.CUSTOMER, "Gracias"),
        item("10:10:00", Author.AGENT, "Su reserva es la 77", "h1"),
        item("10:11:00", Author.AUTOMATION, "Califiquenos"),
    )
    story.expect(
        state=Answering,
        asked=["Cual era mi reserva?"],
        missed=[
            ("agent", "Su reserva es la 77"),
            ("automation", "Califiquenos"),
            ("customer", "Gracias"),
        ],
        recall="complete",
    )
    assert story.turn.recalled == 3
    assert story.conversation.marks.known_to == at("10:30:35")
    story.answers("La 77").expect(untold={}, state=Sending)


def test_a_recalled_customer_message_not_older_than_the_first_joins_the_turn() -> None:
    story = gap()
    story.recalled(
        item("10:30:00", Author.CUSTOMER, "perdon"),
        item("10:29:59", Author.CUSTOMER, "antes"),
    )
    story.expect(
        messages=["Cual era mi reserva?", "perdon"],
        asked=["Cual era mi reserva?", "perdon"],
        missed=[("customer", "antes")],
    )
    assert story.conversation.marks.last_customer_at == at("10:30:00")
    story.answers("ok").accepted()
    story.expect(
        fates={"Cual era mi reserva?": "answered", "perdon": "answered", "antes": "context"}
    )


def test_an_item_without_a_time_is_stored_and_never_missed() -> None:
    story = gap()
    story.recalled(item("", Author.AGENT, "sin hora"), item("10:10:00", Author.UNKNOWN, "quien?"))
    story.expect(state=Answering, missed=[], untold={"Cual era mi reserva?": "unread"})
    assert {m.body for m in story.thread.messages.values()} >= {"sin hora", "quien?"}


def test_history_that_we_know_already_is_not_stored_again() -> None:
    story = gap()
    story.recalled(
        item("10:30:00", Author.CUSTOMER, "Cual era mi reserva?", "h1"),
        item("10:30:01", Author.CUSTOMER, "Cual era mi reserva?", "h2"),
    )
    story.expect(asked=["Cual era mi reserva?", "Cual era mi reserva?"])
    assert (story.turn.recalled, story.turn.matched_by_content) == (1, 1)
    assert story.writes is not None
    assert story.writes.matched == 1
    assert (1, "h1") in story.writes.keys


@pytest.mark.parametrize("status", [RecallStatus.FAILED, RecallStatus.TRUNCATED])
def test_a_recall_that_is_not_complete_moves_nothing_and_is_owed(status: RecallStatus) -> None:
    story = gap()
    story.recalled(item("10:10:00", Author.AGENT, "La 77"), status=status)
    story.expect(state=Answering, recall=status.value, owed=True, missed=[("agent", "La 77")])
    assert story.conversation.marks.known_to == at("09:58:10")


def test_a_channel_without_history_owes_nothing() -> None:
    story = gap().recalled(status=RecallStatus.UNAVAILABLE)
    story.expect(state=Answering, recall="unavailable", owed=False)


def test_a_recall_never_blocks_a_reply_longer_than_its_time_out() -> None:
    story = gap().wait(9).expect(state=Recalling, writes=False)
    story.wait(1).expect(state=Answering, recall="failed", owed=True)


def test_a_colleague_whom_only_the_history_knows_ends_the_turn() -> None:
    story = gap()
    story.recalled(item("10:30:10", Author.AGENT, "La 77"))
    story.expect(
        state=Idle,
        outcome="answered_by_human",
        fates={"Cual era mi reserva?": "answered_by_human"},
        untold={"Cual era mi reserva?": "context", "La 77": "context"},
    )
    assert story.conversation.marks.last_agent_at == at("10:30:10")


def test_what_was_said_before_a_recalled_colleague_is_context() -> None:
    story = Script().clock("10:30:00")
    story.customer("uno")
    story.clock("10:30:20").customer("dos")
    story.wait(35).recalled(item("10:30:10", Author.AGENT, "Si?"))
    story.expect(
        asked=["dos"],
        messages=["dos"],
        missed=[("customer", "uno"), ("agent", "Si?")],
        fates={"uno": "context", "dos": "in_flight"},
    )


def test_beyond_the_budget_the_oldest_are_left_out_with_their_number() -> None:
    story = gap()
    story.recalled(*(item(f"10:{n:02}:00", Author.AGENT, f"m{n}") for n in range(29)))
    story.expect(state=Answering)
    many = gap()
    minutes = [item(f"10:{n // 2:02}:{n % 2 * 30:02}", Author.AGENT, f"m{n}") for n in range(40)]
    many.recalled(*minutes)
    assert many.turn.missed_left_out == 10
    assert len(many.turn.missed_ids) == 30
    assert many.wanted(Ask).missed[0].body == "m10"
    many.answers("ok").expect(untold={})


def test_what_arrives_while_we_answer_gathers_into_the_next_turn() -> None:
    story = asked()
    story.clock("10:00:45").customer("perdon, somos cinco")
    story.expect(state=Answering, asked=["Hola"])
    story.clock("10:00:55").answers("Claro")
    story.clock("10:00:56").accepted().expect(state=Gathering, wakes="10:01:20")
    story.clock("10:01:20").wait(0).expect(asked=["perdon, somos cinco"], silence=45, missed=[])


def test_an_agent_seen_by_webhook_is_told_without_any_gap() -> None:
    story = Script()
    story.agent("Le reservo la 12?", event_at="09:59:00")
    story.clock("10:01:00").customer("Si, perfecto")
    story.wait(35).expect(verdict="none", missed=[("agent", "Le reservo la 12?")])


def test_a_colleague_who_answers_while_the_ai_thinks_ends_the_turn_and_empties_its_mind() -> None:
    story = asked(REMEMBERING).ensured()
    story.expect(state=Answering, ai_conversation="conv_1")
    story.clock("10:00:40").agent("Buenas")
    story.expect(
        state=Idle,
        outcome="answered_by_human",
        ai_conversation=None,
        fates={"Hola": "answered_by_human"},
    )


def test_a_colleague_who_is_not_later_than_the_newest_changes_nothing() -> None:
    story = asked()
    story.agent("tarde", event_at="09:59:59")
    story.expect(state=Answering, missed=[], untold={"Hola": "unread", "tarde": "context"})


def test_silence_of_the_ai_is_an_outcome() -> None:
    story = asked(REMEMBERING).ensured().answers()
    story.expect(
        state=Idle,
        outcome="no_reply",
        fates={"Hola": "no_reply"},
        untold={},
        parts=[],
        ai_conversation="conv_1",
    )
    assert story.conversation.marks.last_assistant_at == at("09:58:30")
    assert story.conversation.marks.told_to == at("10:00:00")


def test_a_conversation_is_ensured_before_the_ai_is_asked_and_kept_afterwards() -> None:
    story = asked(REMEMBERING).expect(state=Ensuring, effects=["EnsureConversation", "WakeAt"])
    story.ensured("conv_7").expect(state=Answering, effects=["Ask", "WakeAt"])
    story.answers("ok").accepted().expect(ai_conversation="conv_7", outcome="answered")
    story.clock("10:02:00").customer("y?")
    story.wait(35).expect(state=Answering)


def test_a_failing_turn_ends_in_gathering_when_more_has_come() -> None:
    story = asked()
    story.clock("10:00:50").customer("Alo?")
    story.fails_for_good().expect(
        state=Gathering, untold={"Hola": "failed", "Alo?": "unread"}, wakes="10:01:25"
    )


def test_a_reply_may_have_parts_and_the_first_leaves_with_its_commit() -> None:
    story = asked().answers("uno", "dos")
    story.expect(
        state=Sending, sends="uno", parts=["sending", "pending"], fates={"Hola": "in_flight"}
    )
    assert story.writes is not None
    assert story.writes.answers
    names = {p.correlation_id for p in story.thread.parts.values()}
    assert names == {"relevo-hotel-1-1", "relevo-hotel-1-2"}


def test_an_answer_after_the_providers_window_never_leaves() -> None:
    story = Script(REMEMBERING).clock("10:30:00")
    story.customer("Hola")
    story.wait(35).recalled().ensured()
    story.now += timedelta(hours=24)
    story.answers("Hola!").expect(
        state=Idle,
        outcome="refused",
        reason="window_closed",
        parts=["dead"],
        fates={"Hola": "refused"},
        untold={},
        dead_letters=[],
        ai_conversation=None,
    )
    assert story.conversation.marks.last_assistant_at == at("09:58:30")
