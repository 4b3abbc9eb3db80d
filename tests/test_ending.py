"""How a turn ends (rules 9, 12, 13)."""

from collections.abc import Callable

import pytest

from relevo.ending import AI_REMEMBERS, FATES, later
from relevo.events import AnswerFailure, SendFailure
from relevo.messages import Fate
from relevo.states import Gathering, Idle
from relevo.turns import Outcome, Rules, Stage
from tests.script import Script, at

REMEMBERING = Rules(ai_conversations=True)


def asked() -> Script:
    story = Script(REMEMBERING)
    story.customer("Hola")
    return story.wait(35).ensured()


def answered(story: Script) -> Script:
    return story.answers("ok").accepted()


def silent(story: Script) -> Script:
    return story.answers()


def answered_by_human(story: Script) -> Script:
    story.agent("Buenas")
    return story


def refused(story: Script) -> Script:
    return story.answers("ok").refused(SendFailure.REFUSED)


def failed(story: Script) -> Script:
    return story.fails(AnswerFailure.PERMANENT)


@pytest.mark.parametrize(
    ("way", "outcome"),
    [
        (answered, Outcome.ANSWERED),
        (silent, Outcome.NO_REPLY),
        (answered_by_human, Outcome.ANSWERED_BY_HUMAN),
        (refused, Outcome.REFUSED),
        (failed, Outcome.FAILED),
    ],
)
def test_a_discarded_answer_leaves_no_trace_in_the_ai(
    way: Callable[[Script], Script], outcome: Outcome
) -> None:
    story = way(asked())
    story.expect(
        state=Idle,
        outcome=outcome.value,
        fates={"Hola": FATES[outcome].value},
        ai_conversation="conv_1" if outcome in AI_REMEMBERS else None,
    )
    assert story.turn.stage is Stage.ENDED
    assert story.turn.ended_at == story.now
    assert (story.turn.wait_until, story.turn.deadline_at) == (None, None)


def test_a_turn_that_never_asked_the_ai_leaves_its_conversation_alone() -> None:
    story = Script(REMEMBERING).remembers(ai_conversation="conv_0")
    story.customer("Hola")
    story.agent("Buenas")
    story.wait(0).expect(outcome="answered_by_human", ai_conversation="conv_0")


def test_messages_that_were_waiting_open_the_next_turn_at_once() -> None:
    story = asked()
    story.clock("10:01:00").customer("otra cosa")
    answered(story).expect(state=Gathering, wakes="10:01:35")


def test_the_messages_of_a_failed_turn_wait_for_the_next_and_open_none() -> None:
    story = failed(asked()).expect(state=Idle, untold={"Hola": "failed"})
    story.restarts().expect(state=Idle, effects=[])


def test_every_outcome_but_those_of_later_features_has_a_fate() -> None:
    assert set(Outcome) - set(FATES) == {Outcome.SENT, Outcome.MERGED}
    assert Fate.IN_FLIGHT not in FATES.values()


def test_marks_move_only_forward() -> None:
    assert later(None, None) is None
    assert later(at("10:00:00"), None) == later(None, at("10:00:00")) == at("10:00:00")
    assert later(at("10:00:00"), at("09:00:00")) == at("10:00:00")
