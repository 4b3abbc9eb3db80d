"""`step` and `resume`: total, versioned, and the same from memory as from rows (rules 8, 9, 14)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from relevo.conversation import resume, step
from relevo.effects import WakeAt
from relevo.events import (
    Answered,
    AnswerFailed,
    AnswerFailure,
    ConversationEnsured,
    Event,
    HistoryRecalled,
    Interrupted,
    ReplyPart,
    SendAccepted,
    SendFailed,
    SendFailure,
    TimerFired,
)
from relevo.states import Answering, Ensuring, Gathering, Idle, Recalling, Sending, raised
from relevo.turns import RecallStatus, Rules
from relevo.writes import Rows
from tests.script import Script, at

REMEMBERING = Rules(ai_conversations=True)


def idle() -> Script:
    return Script(REMEMBERING)


def gathering() -> Script:
    story = idle().clock("10:30:00")
    story.customer("Hola")
    return story


def recalling() -> Script:
    return gathering().wait(35)


def ensuring() -> Script:
    return recalling().recalled()


def answering() -> Script:
    return ensuring().ensured()


def waiting() -> Script:
    return answering().fails(AnswerFailure.TRANSIENT)


def sending() -> Script:
    return answering().answers("uno", "dos")


def doubting() -> Script:
    return sending().refused(SendFailure.UNKNOWN)


STAGES: list[tuple[Callable[[], Script], type]] = [
    (idle, Idle),
    (gathering, Gathering),
    (recalling, Recalling),
    (ensuring, Ensuring),
    (answering, Answering),
    (waiting, Answering),
    (sending, Sending),
    (doubting, Sending),
]


def late(turn_id: int, attempt: int) -> list[Event]:
    """Return every kind of result, for this turn and attempt."""
    return [
        HistoryRecalled(turn_id, attempt, RecallStatus.COMPLETE, at("10:40:00")),
        ConversationEnsured(turn_id, attempt, "conv_9"),
        Answered(turn_id, attempt, (ReplyPart(99, "late"),)),
        AnswerFailed(turn_id, attempt, AnswerFailure.PERMANENT, "late"),
        SendAccepted(turn_id, attempt, at("10:40:00"), ("k",)),
        SendFailed(turn_id, attempt, SendFailure.REJECTED, "late"),
        Interrupted(frozenset({("ask", turn_id, attempt), ("send", turn_id, attempt)})),
    ]


@pytest.mark.parametrize(("reach", "state"), STAGES)
def test_results_of_another_turn_or_try_change_nothing(
    reach: Callable[[], Script], state: type
) -> None:
    story = reach()
    before, effects = story.state, story.last.effects
    attempt = before.turn.attempt if not isinstance(before, Idle | Gathering) else 1
    for event in (*late(77, attempt), *late(1, attempt + 50), TimerFired()):
        story.does(event)
        assert type(story.state) is state
        assert (story.state, story.last.effects, story.writes) == (before, effects, None)


@pytest.mark.parametrize(("reach", "state"), STAGES)
def test_memory_is_rebuilt_from_the_rows(reach: Callable[[], Script], state: type) -> None:
    story = reach()
    before, effects = story.state, story.last.effects
    story.last = resume(story.book.rows(story.key), story.rules)
    assert (type(story.state), story.state, story.last.effects) == (state, before, effects)
    story.look()
    assert (story.state, story.writes) == (before, None)


@pytest.mark.parametrize(("reach", "state"), STAGES)
def test_what_is_wanted_has_a_bound(reach: Callable[[], Script], state: type) -> None:
    story = reach()
    wakes = [effect for effect in story.last.effects if isinstance(effect, WakeAt)]
    assert len(wakes) == (0 if state is Idle else 1)


@pytest.mark.parametrize(
    ("reach", "ends"),
    [(recalling, True), (ensuring, True), (answering, True), (waiting, True), (sending, False)],
)
def test_a_colleague_ends_a_turn_until_its_reply_has_left(
    reach: Callable[[], Script], *, ends: bool
) -> None:
    story = reach()
    story.agent("Le atiendo yo")
    story.expect(state=Idle if ends else Sending)


@pytest.mark.parametrize("reach", [recalling, ensuring, answering, waiting])
def test_messages_that_came_during_a_turn_wait_for_the_next(reach: Callable[[], Script]) -> None:
    story = reach()
    story.customer("otra cosa")
    state = story.state
    story.expect(state=type(state), messages=["Hola"])
    story.agent("Le atiendo yo", event_at="10:30:20")
    story.expect(
        state=Gathering,
        untold={"Hola": "context", "otra cosa": "unread", "Le atiendo yo": "context"},
    )


def test_every_commit_names_the_version_that_memory_has() -> None:
    story = recalling()
    version = story.state.conversation.version
    story.recalled()
    assert story.writes is not None
    assert story.writes.conversation.version == version
    assert story.state.conversation.version == story.conversation.version == version + 1
    assert raised(story.state).conversation.version == version + 2


def test_a_commit_past_a_colleagues_message_loses_its_race() -> None:
    story = answering()
    story.agent("Le atiendo yo", look=False)
    version = story.conversation.version
    event = Answered(story.turn.id, story.turn.attempt, (ReplyPart(99, "ok"),))
    decided = step(story.state, event, story.now)
    assert decided.writes is not None
    assert not story.book.write(decided.writes)
    assert story.conversation.version == version
    story.look().expect(state=Idle, outcome="answered_by_human")
    story.does(event).expect(state=Idle, writes=False)


def test_an_event_repeated_after_its_commit_changes_nothing() -> None:
    story = answering()
    event = Answered(story.turn.id, story.turn.attempt, (ReplyPart(99, "ok"),))
    story.does(event).expect(writes=True)
    before = story.state
    story.does(event).expect(writes=False)
    assert story.state == before


def test_a_message_that_vanished_from_the_rows_ends_its_turn_and_nothing_else() -> None:
    story = gathering()
    empty = replace(story.book.rows(story.key), untold=())
    assert resume(empty, story.rules).effects == ()


def test_a_conversation_without_rows_is_idle() -> None:
    story = idle()
    rows = Rows(story.conversation)
    assert resume(rows, story.rules).state == Idle(story.rules, story.conversation)


def test_a_business_may_keep_no_conversation_at_the_ai() -> None:
    story = Script(Rules(ai_conversations=False))
    story.customer("Hola")
    story.wait(35).expect(state=Answering)
    story.fails(AnswerFailure.CONVERSATION_UNUSABLE).expect(state=Idle, outcome="failed")


def test_a_timer_of_a_former_life_leaves_nothing_in_doubt() -> None:
    story = gathering()
    before = story.state
    timer = frozenset(effect.key for effect in story.last.effects)
    story.does(Interrupted(timer)).expect(state=Gathering, writes=False)
    assert story.state == before


def test_an_interrupted_effect_that_nobody_wants_any_more_changes_nothing() -> None:
    story = answering()
    story.does(Interrupted(frozenset({("ask", 99, 1)}))).expect(state=Answering, writes=False)
