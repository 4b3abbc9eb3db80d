"""From the first unread message to the judged burst (rules 0 to 4, 8, 9 and 11)."""

from datetime import timedelta

import pytest

from relevo.messages import Author, InboundMessage
from relevo.states import Answering, Gathering, Idle, Recalling
from relevo.turns import Marks, RecallStatus, Rules
from tests.script import ADDRESSES, PHONE, Script, at, item


def test_a_burst_ends_after_silence_counted_from_its_newest_arrival() -> None:
    story = Script()
    story.customer("Hola")
    story.expect(state=Gathering, wakes="10:00:35", writes=False)
    story.clock("10:00:20").customer("una pregunta")
    story.expect(state=Gathering, wakes="10:00:55", writes=False)
    story.wait(34).expect(state=Gathering, writes=False)
    story.wait(1).expect(state=Answering, asked=["Hola", "una pregunta"])


def test_a_talker_cannot_postpone_the_reply_for_ever() -> None:
    story = Script(Rules(ai_conversations=False, gather_max_seconds=60))
    story.customer("a")
    story.clock("10:00:30").customer("b")
    story.clock("10:00:59").customer("c")
    story.expect(wakes="10:01:00")


def test_an_answering_burst_waits_for_a_place_at_the_ai_and_an_answered_one_does_not() -> None:
    story = Script()
    story.customer("Hola")
    assert [e.gated for e in story.last.effects] == [True]  # type: ignore[union-attr]  # a WakeAt
    story.clock("10:00:10").agent("Buenas")
    assert [e.gated for e in story.last.effects] == [False]  # type: ignore[union-attr]  # the same


def test_the_snapshot_is_of_the_marks_before_the_turn() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).answers("Hola!")
    assert story.turn.previous_customer_at == at("09:58:00")
    assert story.turn.previous_assistant_at == at("09:58:30")
    assert story.conversation.marks.last_customer_at == at("10:00:00")
    story.accepted()
    assert story.turn.previous_assistant_at == at("09:58:30")
    assert story.conversation.marks.last_assistant_at == at("10:00:35")


@pytest.mark.parametrize(
    ("first", "verdict", "silence"),
    [("10:03:00", "none", 300), ("10:03:01", "gap", 301)],
)
def test_a_gap_is_strictly_more_than_the_threshold(first: str, verdict: str, silence: int) -> None:
    story = Script().clock(first)
    story.customer("Hola")
    story.wait(35).expect(verdict=verdict, silence=silence)


def test_silence_is_measured_at_the_earliest_event_of_the_burst_and_never_negative() -> None:
    story = Script().clock("10:10:00")
    story.customer("segunda", event_at="10:09:50")
    story.customer("primera", event_at="09:57:00")
    story.wait(35)
    story.expect(verdict="none", silence=0, messages=["primera", "segunda"], reasons=["late"])


def test_a_stranger_is_a_first_contact_and_is_looked_back_at() -> None:
    story = Script(stranger=True)
    story.customer("Hola")
    story.wait(35).expect(
        state=Recalling,
        verdict="first_contact",
        silence=None,
        reasons=["first_contact"],
        urgent=False,
    )
    assert story.turn.recall_since is not None
    day = timedelta(days=1)
    assert at("10:00:00") - day <= story.turn.recall_since <= story.now - day


@pytest.mark.parametrize("new", [True, False])
def test_a_contact_the_provider_calls_new_is_not_looked_back_at(new: bool) -> None:  # noqa: FBT001  (pytest passes it)
    story = Script(stranger=True)
    story.book.meet(PHONE, new_contact=new)
    story.customer("Hola")
    story.wait(35).expect(state=Answering if new else Recalling)


def test_without_a_look_back_a_stranger_is_answered_at_once() -> None:
    story = Script(Rules(ai_conversations=False, first_contact_lookback_seconds=0), stranger=True)
    story.customer("Hola")
    story.wait(35).expect(state=Answering, verdict="first_contact", recall="not_needed")


def test_a_gap_asks_for_everything_since_the_last_complete_recall() -> None:
    story = Script().clock("10:30:00")
    story.customer("Hola")
    story.wait(35).expect(
        state=Recalling,
        reasons=["gap"],
        recalls_since="09:56:10",
        urgent=True,
        effects=["Recall", "WakeAt"],
        wakes="10:30:45",
    )


def test_without_a_complete_recall_a_gap_asks_since_the_last_reply() -> None:
    story = Script()
    story.remembers(marks=Marks(last_customer_at=at("09:50:00"), last_assistant_at=at("09:51:00")))
    story.customer("Hola")
    story.wait(35).expect(reasons=["gap"], recalls_since="09:49:00", urgent=True)


def test_a_turn_that_starts_too_late_looks_again_however_short_the_silence() -> None:
    story = Script()
    story.customer("Me confirma?")
    story.wait(4 * 3600)
    story.expect(state=Recalling, verdict="none", reasons=["late"], urgent=True)


def test_a_recall_that_is_owed_is_made_up_for() -> None:
    story = Script().remembers(owed_since=at("09:00:00"))
    story.customer("Alo?")
    story.wait(35).expect(state=Recalling, verdict="none", reasons=["owed"])
    story.recalled(item("09:59:00", Author.AGENT, "Su reserva es la 77", "w1"))
    story.expect(owed=False, missed=[("agent", "Su reserva es la 77")])


def test_a_colleague_who_answers_the_whole_burst_ends_it_at_once() -> None:
    story = Script()
    story.customer("Puedo cambiar la fecha?")
    story.clock("10:00:20").agent("Claro, al 14?")
    story.wait(0).expect(
        state=Idle,
        outcome="answered_by_human",
        fates={"Puedo cambiar la fecha?": "answered_by_human"},
        untold={"Puedo cambiar la fecha?": "context", "Claro, al 14?": "context"},
    )
    story.clock("10:02:00").customer("Si, al 14 por favor")
    story.wait(35).expect(
        state=Answering,
        silence=120,
        asked=["Si, al 14 por favor"],
        missed=[("customer", "Puedo cambiar la fecha?"), ("agent", "Claro, al 14?")],
    )


def test_what_follows_a_colleague_is_answered_and_what_came_before_is_context() -> None:
    story = Script()
    story.customer("uno", look=False)
    story.clock("10:00:10").agent("Ya le atiendo", look=False)
    story.clock("10:00:20").customer("dos")
    story.wait(35).expect(
        state=Answering,
        asked=["dos"],
        missed=[("customer", "uno"), ("agent", "Ya le atiendo")],
        fates={"uno": "context", "dos": "in_flight"},
    )


def test_automations_and_unknown_senders_silence_nobody() -> None:
    story = Script()
    story.customer("Hola")
    story.clock("10:00:01").automation("En unos momentos responderemos")
    story.unknown("quien sabe")
    story.clock("10:00:35").wait(0).expect(
        state=Answering, missed=[("automation", "En unos momentos responderemos")]
    )


def test_a_message_before_one_the_colleague_has_answered_stays_answered_when_it_comes_late() -> (
    None
):
    story = Script()
    story.customer("uno")
    story.clock("10:01:00").agent("Listo")
    story.wait(0).expect(turns=["answered_by_human"])
    story.clock("10:05:00").customer("dos")
    story.wait(35).answers("ok").accepted()
    story.clock("10:06:00").customer("cero", event_at="10:00:30")
    story.wait(0).expect(state=Idle, outcome="answered_by_human", messages=["cero"])


def test_a_message_much_older_than_what_was_told_since_is_context_only() -> None:
    story = Script().clock("10:30:00")
    story.customer("viejo", event_at="09:57:00")
    story.expect(state=Idle, fates={"viejo": "context"}, untold={"viejo": "context"})


@pytest.mark.parametrize("event_at", ["09:58:01", "09:57:30"])
def test_a_message_is_late_only_when_it_is_both_old_and_overtaken(event_at: str) -> None:
    story = Script().clock("10:28:00" if event_at == "09:58:01" else "10:00:00")
    story.customer("tarde", event_at=event_at)
    story.expect(state=Gathering)


def test_reactions_open_no_turn() -> None:
    story = Script()
    story.customer("👍", kind="reaction")
    story.expect(state=Idle, fates={"👍": "context"}, untold={})


def test_one_message_delivered_twice_is_one() -> None:
    story = Script()
    story.customer("Hola", key="w1")
    story.customer("Hola", key="w1")
    story.wait(35).expect(asked=["Hola"])
    assert story.thread.accepted == 1


def test_a_webhook_for_a_message_that_history_brought_makes_it_unread() -> None:
    story = Script().clock("10:30:00")
    story.customer("Esta bien?")
    story.wait(35).recalled(item("10:20:00", Author.CUSTOMER, "Llego a las 3", "h1"))
    story.fails_for_good()
    story.customer("Llego a las 3", key="w1", event_at="10:20:01")
    story.expect(state=Gathering, untold={"Llego a las 3": "unread", "Esta bien?": "failed"})
    assert story.thread.fates.keys() == {1, 3}, "the row from history gave way"


def test_a_webhook_for_a_message_that_was_told_changes_nothing() -> None:
    story = Script().clock("10:30:00")
    story.customer("Esta bien?")
    story.wait(35).recalled(item("10:20:00", Author.CUSTOMER, "Llego a las 3", "h1"))
    story.answers("Si").accepted()
    story.clock("10:40:00").customer("Llego a las 3", key="w1", event_at="10:20:01")
    story.expect(
        state=Idle, fates={"Esta bien?": "answered", "Llego a las 3": "context"}, untold={}
    )
    story.clock("10:41:00").customer("Llego a las 3", key="w1", event_at="10:20:01")
    story.clock("10:42:00").customer("Llego a las 3", key="h1", event_at="10:20:01")
    story.expect(state=Idle, untold={})
    assert story.thread.accepted == 2


def test_the_echo_of_our_own_reply_is_no_colleague() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35).answers("Hola!")
    story.clock("10:00:36").agent("Hola!", key="echo")
    story.accepted("sent-1").expect(state=Idle, outcome="answered", untold={})
    story.clock("10:00:40").agent("Hola!", key="sent-1")
    story.expect(state=Idle, untold={})


def test_a_failed_turn_joins_the_next_one() -> None:
    story = Script()
    story.customer("uno")
    story.wait(35).fails_for_good().expect(state=Idle, untold={"uno": "failed"})
    story.clock("10:01:00").customer("dos")
    story.wait(35).expect(asked=["uno", "dos"], messages=["uno", "dos"])
    assert story.turn.id == story.turn.message_ids[-1]
    story.answers("ok").accepted()
    story.expect(fates={"uno": "answered", "dos": "answered"}, dead_letters=[])


def test_what_the_recall_of_a_gap_cannot_tell_stays_owed() -> None:
    story = Script().clock("10:30:00")
    story.customer("Cual era mi reserva?")
    story.wait(35).recalled(status=RecallStatus.FAILED)
    story.expect(verdict="gap", recall="failed", owed=True)
    story.answers("No se").accepted()
    story.clock("10:32:00").customer("Alo?")
    story.wait(35).expect(verdict="none", reasons=["owed"], recalls_since="09:56:10")


def test_a_failed_message_that_nobody_answered_survives_a_late_one_that_somebody_did() -> None:
    story = Script()
    story.clock("10:01:00").customer("uno")
    story.wait(35).fails_for_good()
    story.clock("10:05:00").agent("Listo", event_at="10:00:30")
    story.customer("cero", event_at="10:00:00")
    story.wait(0)
    assert story.thread.fates[1] != "answered_by_human"


def test_the_marks_are_never_moved_by_what_merely_arrives() -> None:
    story = Script()
    before = story.conversation.marks
    story.customer("Hola")
    story.agent("Buenas", event_at="09:59:00")
    story.automation("Promo")
    story.book.deliver(
        PHONE,
        InboundMessage(("x",), ADDRESSES, Author.CUSTOMER, "text", "Y?", at("10:00:00")),
        story.now,
    )
    story.look().expect(marks=before)
