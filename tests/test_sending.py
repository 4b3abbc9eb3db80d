"""From a stored answer to the end of its turn (rules 9 and 12)."""

import pytest

from relevo.effects import Recall, Send, WakeAt
from relevo.events import HistoryRecalled, Looked, SendAccepted, SendFailed, SendFailure
from relevo.messages import Author
from relevo.states import Gathering, Idle, Sending
from relevo.turns import PartState, RecallStatus, Rules
from tests.script import Script, at, item


def replying(*texts: str, rules: Rules | None = None) -> Script:
    """A reply of these parts is stored, and its first part is on its way since 10:00:35."""
    story = Script(rules)
    story.customer("Hola")
    story.wait(35)
    if rules is not None and rules.ai_conversations:
        story.ensured()
    return story.answers(*texts).expect(state=Sending)


def in_doubt() -> Script:
    """Whether the one part was sent is not known; it was begun at 10:00:35."""
    story = replying("Hola!").wait(5)
    return story.refused(SendFailure.UNKNOWN, "timeout").expect(parts=["unknown"])


def test_parts_leave_one_after_the_other() -> None:
    story = replying("uno", "dos", "tres").expect(sends="uno", effects=["Send", "WakeAt"])
    story.accepted("s1").expect(sends="dos", parts=["accepted", "sending", "pending"])
    story.wait(3).accepted().expect(sends="tres")
    story.wait(3).accepted()
    story.expect(state=Idle, outcome="answered", fates={"Hola": "answered"}, parts=["accepted"] * 3)
    assert story.conversation.marks.last_assistant_at == at("10:00:41")


def test_a_colleague_cancels_the_parts_that_have_not_left() -> None:
    story = replying("uno", "dos", "tres")
    story.agent("Ya le atiendo")
    story.expect(state=Sending, sends="uno", parts=["sending", "cancelled", "cancelled"])
    story.accepted().expect(state=Idle, outcome="answered", fates={"Hola": "answered"})


def test_a_colleague_who_is_not_later_cancels_nothing() -> None:
    story = replying("uno", "dos")
    story.agent("tarde", event_at="09:59:00")
    story.expect(parts=["sending", "pending"])


def test_a_colleague_during_the_only_part_changes_nothing() -> None:
    story = replying("uno")
    story.agent("Ya le atiendo")
    story.expect(writes=False, parts=["sending"])
    story.accepted().expect(outcome="answered", untold={"Ya le atiendo": "context"})
    assert story.conversation.marks.last_agent_at == at("10:00:35")


def test_a_part_that_cannot_have_left_is_tried_again_a_few_times() -> None:
    story = replying("uno")
    for seconds in (1, 2, 4):
        story.refused(SendFailure.NOT_SENT, "http_429").expect(
            parts=["pending"], effects=["WakeAt"]
        )
        story.wait(seconds / 2).expect(writes=False)
        story.wait(seconds / 2).expect(parts=["sending"], sends="uno")
    story.refused(SendFailure.NOT_SENT, "http_429")
    story.expect(
        state=Idle,
        outcome="failed",
        reason="http_429",
        parts=["dead"],
        fates={"Hola": "dead"},
        untold={"Hola": "failed"},
        dead_letters=[("sending", "http_429")],
    )


def test_a_colleague_before_a_retry_leaves_nothing_to_send() -> None:
    story = replying("uno", rules=Rules(ai_conversations=True))
    story.refused(SendFailure.NOT_SENT)
    story.agent("Ya le atiendo")
    story.expect(state=Sending, parts=["pending"])
    story.wait(1).expect(
        state=Idle,
        outcome="answered_by_human",
        parts=["cancelled"],
        fates={"Hola": "answered_by_human"},
        untold={"Hola": "context", "Ya le atiendo": "context"},
        ai_conversation=None,
    )


def test_a_withdrawn_reply_leaves_what_came_after_the_colleague_to_the_next_turn() -> None:
    story = replying("uno").refused(SendFailure.NOT_SENT)
    story.agent("Ya le atiendo")
    story.clock("10:00:36").customer("gracias")
    story.wait(0).expect(state=Gathering, outcome="answered_by_human", wakes="10:01:11")


@pytest.mark.parametrize(
    ("failure", "outcome", "fate", "untold"),
    [
        (SendFailure.REFUSED, "refused", "refused", {}),
        (SendFailure.REJECTED, "failed", "dead", {"Hola": "failed"}),
    ],
)
def test_a_refusal_for_good_ends_the_turn_and_empties_the_mind(
    failure: SendFailure, outcome: str, fate: str, untold: dict[str, str]
) -> None:
    story = replying("uno", "dos", rules=Rules(ai_conversations=True))
    story.refused(failure, "window_closed")
    story.expect(
        state=Idle,
        outcome=outcome,
        reason="window_closed",
        fates={"Hola": fate},
        untold=untold,
        parts=["dead", "cancelled"],
        ai_conversation=None,
    )
    assert story.conversation.marks.last_assistant_at == at("09:58:30")


def test_what_was_sent_before_a_refusal_still_answers_the_turn() -> None:
    story = replying("uno", "dos", "tres").accepted().refused(SendFailure.REJECTED)
    story.expect(outcome="answered", parts=["accepted", "dead", "cancelled"], dead_letters=[])


def test_a_part_in_doubt_is_looked_for_before_anything_is_repeated() -> None:
    story = in_doubt().expect(
        effects=["Recall", "WakeAt"], recalls_since="09:58:35", urgent=True, wakes="10:01:05"
    )
    story.recalled(item("10:00:36", Author.AGENT, "Hola! ", "s1"))
    story.expect(state=Idle, outcome="answered", parts=["accepted"])
    assert story.writes is not None
    assert [key for _, key in story.writes.keys] == ["s1"]
    assert story.conversation.marks.last_assistant_at == at("10:00:36")


def test_a_look_that_is_too_early_proves_nothing() -> None:
    story = in_doubt().recalled().expect(effects=["WakeAt"], wakes="10:00:55", parts=["unknown"])
    story.clock("10:00:50").wait(0).expect(writes=False)
    story.clock("10:00:55").wait(0).expect(effects=["Recall", "WakeAt"], wakes="10:01:05")
    story.recalled().expect(parts=["sending"], sends="Hola!")
    assert story.wanted(Send).part.resent
    story.accepted().expect(outcome="answered")


def test_a_part_is_sent_again_only_once() -> None:
    story = in_doubt().clock("10:00:56").recalled().expect(parts=["sending"])
    story.refused(SendFailure.UNKNOWN).clock("10:01:20").recalled()
    story.expect(
        state=Idle,
        outcome="failed",
        reason="send_unknown",
        parts=["dead"],
        dead_letters=[("sending", "send_unknown")],
    )


@pytest.mark.parametrize("status", [RecallStatus.UNAVAILABLE, RecallStatus.TRUNCATED])
def test_where_nobody_can_be_asked_a_doubt_lasts_two_minutes(status: RecallStatus) -> None:
    story = in_doubt().recalled(status=status)
    while [p.state for p in story.thread.parts.values()] == [PartState.UNKNOWN]:
        wake: WakeAt = story.wanted(WakeAt)
        story.wait((wake.at - story.now).total_seconds()).recalled(status=status)
    assert at("10:02:35") <= story.now <= at("10:02:45")
    story.expect(parts=["sending"])


def test_a_look_that_never_comes_back_is_repeated() -> None:
    story = in_doubt().clock("10:01:00").wait(0).expect(writes=False)
    story.clock("10:01:05").wait(0).expect(effects=["WakeAt"], wakes="10:01:15")
    story.wait(10).expect(effects=["Recall", "WakeAt"], wakes="10:01:25")


def test_a_colleague_while_a_part_is_in_doubt_stops_the_repetition() -> None:
    story = in_doubt()
    story.agent("Ya le atiendo")
    story.expect(parts=["unknown"])
    story.clock("10:00:56").recalled()
    story.expect(state=Idle, outcome="answered_by_human", parts=["cancelled"])


def test_a_send_that_does_not_come_back_is_in_doubt() -> None:
    story = replying("Hola!").wait(19).expect(writes=False)
    story.wait(1).expect(parts=["unknown"], effects=["Recall", "WakeAt"])


def test_a_send_that_was_cut_off_is_in_doubt() -> None:
    story = replying("Hola!").clock("10:00:40").restarts()
    story.expect(state=Sending, parts=["unknown"], effects=["Recall", "WakeAt"])
    story.clock("10:00:45").restarts(interrupted=False).expect(parts=["unknown"], writes=False)


def test_a_colleague_who_answered_before_the_crash_ends_the_turn_that_was_cut_off() -> None:
    story = Script()
    story.customer("Hola")
    story.wait(35)
    story.agent("Le atiendo yo", look=False)
    story.restarts().expect(state=Idle, outcome="answered_by_human")


def test_a_wait_is_not_cut_off_by_a_crash() -> None:
    story = replying("Hola!").refused(SendFailure.NOT_SENT).restarts()
    story.expect(parts=["pending"], effects=["WakeAt"], writes=False)


def test_results_of_an_earlier_try_change_nothing() -> None:
    story = replying("Hola!")
    first = story.wanted(Send).part
    story.refused(SendFailure.NOT_SENT).wait(1)
    for event in (
        SendAccepted(first.message_id, first.attempt, story.now),
        SendFailed(first.message_id, first.attempt, SendFailure.REJECTED, "late"),
        SendAccepted(99, 2, story.now),
        HistoryRecalled(story.turn.id, story.turn.attempt, RecallStatus.COMPLETE, story.now),
    ):
        story.does(event).expect(writes=False, parts=["sending"])


def test_what_arrives_while_we_send_gathers_into_the_next_turn() -> None:
    story = replying("Hola!")
    story.customer("otra cosa")
    story.expect(state=Sending, writes=False)
    story.accepted().expect(state=Gathering, wakes="10:01:10")


def test_messages_of_a_turn_whose_sending_failed_join_the_next_although_they_were_told() -> None:
    story = replying("Hola!").refused(SendFailure.REJECTED)
    story.clock("10:02:00").customer("Alo?")
    story.wait(35).expect(asked=["Hola", "Alo?"])
    assert story.thread.dead_letters.keys() == {1}
    story.answers("ok").accepted().expect(dead_letters=[], turns=["failed", "answered"])


def test_a_crash_does_not_lose_whom_the_reply_answers() -> None:
    story = replying("uno", "dos")
    before = story.state
    story.restarts(interrupted=False)
    assert story.state == before


def test_a_part_in_doubt_for_long_is_looked_for_before_it_is_repeated() -> None:
    story = replying("Hola!")
    story.now = at("10:05:00")
    story.restarts().expect(parts=["unknown"], effects=["Recall", "WakeAt"])
    story.wait(0).expect(parts=["unknown"])


def test_a_look_that_was_cut_off_is_begun_again() -> None:
    story = in_doubt()
    story.now = at("10:05:00")
    story.restarts().wait(0).expect(parts=["unknown"])


def test_a_looked_event_without_rows_is_taken_as_it_is() -> None:
    story = replying("uno", "dos").does(Looked(()))
    story.expect(state=Sending, parts=["sending", "pending"])
    assert story.wanted(Send)
    assert not [e for e in story.last.effects if isinstance(e, Recall)]


def test_a_message_that_a_webhook_confirms_while_it_is_answered_is_so_in_memory_too() -> None:
    story = Script().clock("10:30:00")
    story.customer("Cual era mi reserva?")
    story.wait(35).recalled(item("10:30:01", Author.CUSTOMER, "La del lunes", "h1"))
    story.answers("La 77").expect(messages=["Cual era mi reserva?", "La del lunes"])
    story.customer("La del lunes", key="w1", event_at="10:30:01")
    in_memory = story.state
    story.restarts(interrupted=False)
    assert story.state == in_memory
