"""What becomes of two conversations that are one person's, at every phase of a turn."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from relevo.conversation import resume, step
from relevo.events import AnswerFailure, SendFailure, TimerFired
from relevo.merging import (
    Merged,
    Parted,
    Past,
    Postponed,
    Side,
    Since,
    in_order,
    merged,
    on_the_wire,
    parted,
)
from relevo.messages import ConversationKey
from relevo.states import Gathering
from relevo.turns import Conversation, Marks, Outcome, Rules, Stage
from relevo.writes import Rows
from tests.script import Script, at

NOW = at("10:05:00")
REMEMBERING = Rules(ai_conversations=True)


def met(rules: Rules | None = None) -> Script:
    """A customer we know, without a mark but the default ones."""
    return Script(rules)


def side(story: Script, key: str = "phone:hotel:+1", closed_at: datetime | None = None) -> Side:
    return Side(story.book.rows(story.key), key, closed_at)


def row(number: int = 1, **columns: Any) -> Side:
    """A conversation between turns, of which only what is named matters."""
    conversation = Conversation(ConversationKey("hotel", number), **columns)
    return Side(Rows(conversation), f"phone:hotel:+{number}")


def both(survivor: Side, loser: Side) -> Merged:
    decided = merged(survivor, loser, NOW)
    assert isinstance(decided, Merged)
    return decided


def postponed(survivor: Side, loser: Side, now: datetime = NOW) -> str:
    decided = merged(survivor, loser, now)
    assert isinstance(decided, Postponed)
    return decided.reason


@pytest.mark.parametrize(
    ("keys", "survivor"),
    [
        (("phone:hotel:+1", "lead:hotel:L-7"), "lead:hotel:L-7"),
        (("bsuid:hotel:US.1", "phone:hotel:+1"), "phone:hotel:+1"),
        (("bsuid:hotel:US.1", "lid:hotel:1"), "bsuid:hotel:US.1"),
        (("lead:hotel:L-7", "lead:hotel:L-8"), "lead:hotel:L-7"),
    ],
)
def test_the_better_key_survives_and_of_equal_ones_the_older(
    keys: tuple[str, str], survivor: str
) -> None:
    one, other = (replace(row(n), canonical_key=key) for n, key in enumerate(keys, start=1))
    for pair in ((one, other), (other, one)):
        assert in_order(*pair)[0].canonical_key == survivor


def test_marks_are_the_newest_of_both_and_what_is_known_only_what_is_known_of_both() -> None:
    early, late = at("09:00:00"), at("09:30:00")
    decided = both(
        row(1, version=7, marks=Marks(early, late, early, late, early), owed_since=late),
        row(2, version=9, marks=Marks(late, early, late, early, late), owed_since=early),
    )
    conversation = decided.survivor.conversation
    assert conversation.key == ConversationKey("hotel", 1)
    assert conversation.version == 10
    assert conversation.marks == Marks(late, late, late, early, late)
    assert conversation.owed_since == early


def test_who_was_never_recalled_is_known_to_our_last_reply() -> None:
    """Else what a colleague wrote him since then would never be asked for."""
    replied, recalled = at("08:00:00"), at("09:30:00")
    known = row(1, marks=Marks(last_assistant_at=recalled, known_to=recalled))
    other = row(2, marks=Marks(last_assistant_at=replied))
    assert both(known, other).survivor.conversation.marks.known_to == replied
    stranger = row(3)
    assert both(known, stranger).survivor.conversation.marks.known_to == recalled


@pytest.mark.parametrize(("one", "other", "new"), [(True, True, True), (True, False, False)])
def test_a_contact_is_new_only_if_both_are(one: bool, other: bool, new: bool) -> None:  # noqa: FBT001  (parametrised)
    decided = both(row(1, new_contact=one), row(2, new_contact=other))
    assert decided.survivor.conversation.new_contact is new


def test_a_person_is_held_if_either_was_and_remembered_by_no_ai() -> None:
    held = row(2, hold_until=NOW, hold_released_at=at("09:00:00"), ai_conversation="conv_2")
    conversation = both(row(1, ai_conversation="conv_1"), held).survivor.conversation
    assert (conversation.hold_until, conversation.hold_released_at) == (NOW, at("09:00:00"))
    assert conversation.ai_conversation is None


def test_tags_are_those_of_both_and_who_is_open_stays_open() -> None:
    early, late = at("09:00:00"), at("09:30:00")
    one = replace(row(1), rows=replace(row(1).rows, tags=("vip", "de")), closed_at=early)
    other = replace(row(2), rows=replace(row(2).rows, tags=("de", "old")), closed_at=late)
    decided = both(one, other)
    assert decided.survivor.tags == ("vip", "de", "old")
    assert decided.survivor.closed_at == early
    assert both(one, replace(other, closed_at=None)).survivor.closed_at is None
    assert [past.tags for past in decided.pasts] == [("vip", "de"), ("de", "old")]
    assert [past.closed_at for past in decided.pasts] == [early, late]


def gathering(story: Script) -> Script:
    story.customer("Hola")
    return story


def recalling(story: Script) -> Script:
    story.clock("10:10:00")
    return gathering(story).wait(35)


def ensuring(story: Script) -> Script:
    return gathering(story).wait(35)


def answering(story: Script) -> Script:
    return ensuring(story).ensured()


def reconciling(story: Script) -> Script:
    return answering(story).fails(AnswerFailure.UNKNOWN)


def waiting_to_ask_again(story: Script) -> Script:
    return answering(story).fails(AnswerFailure.TRANSIENT)


UNANSWERED = [recalling, ensuring, answering, reconciling, waiting_to_ask_again]


@pytest.mark.parametrize("loses", [True, False])
@pytest.mark.parametrize("phase", UNANSWERED)
def test_a_turn_that_has_sent_nothing_ends_and_its_messages_open_another(
    phase: Callable[[Script], Script],
    loses: bool,  # noqa: FBT001  (parametrised)
) -> None:
    story = phase(met(REMEMBERING))
    before = story.book.rows(story.key)
    assert before.turn is not None
    pair = (row(99), side(story)) if loses else (side(story), row(99))
    decided = both(*pair)
    [(conversation_id, turn)] = decided.ended
    assert conversation_id == story.key.conversation_id
    assert (turn.id, turn.stage, turn.outcome) == (before.turn.id, Stage.ENDED, Outcome.MERGED)
    assert (turn.ended_at, turn.wait_until, turn.deadline_at) == (NOW, None, None)
    assert decided.survivor.conversation.marks.last_customer_at == at("09:58:00")
    assert decided.survivor.conversation.ai_conversation is None
    again = resume(replace(before, conversation=decided.survivor.conversation, turn=None), Rules())
    assert isinstance(again.state, Gathering)
    assert [m.body for m in again.state.untold] == ["Hola"]


def test_a_message_of_a_turn_that_was_merged_does_not_hide_its_own_gap() -> None:
    story = recalling(met())
    before = story.book.rows(story.key)
    assert str(story.turn.verdict) == "gap"
    survivor = both(side(story), row(99)).survivor.conversation
    state = resume(replace(before, conversation=survivor, turn=None), Rules()).state
    opened = step(state, TimerFired(), story.now).writes
    assert opened is not None
    assert opened.turn is not None
    assert (str(opened.turn.verdict), opened.turn.silence_seconds) == ("gap", 720)


def test_a_recall_that_was_under_way_is_owed() -> None:
    story = recalling(met())
    owed = both(side(story), row(99)).survivor.conversation.owed_since
    assert owed == story.turn.recall_since
    assert both(side(answering(met(REMEMBERING))), row(99)).survivor.conversation.owed_since is None


def test_a_reply_that_is_stored_goes_on_in_the_survivor() -> None:
    story = answering(met(REMEMBERING)).answers("ok")
    at_once = side(story)
    decided = merged(at_once, side(recalling(met())), story.now)
    assert isinstance(decided, Merged)
    assert [turn.stage for _, turn in decided.ended] == [Stage.ENDED]
    assert decided.pasts[0].conversation.marks == at_once.rows.conversation.marks


def test_what_is_on_the_wire_from_the_loser_is_waited_for_until_its_deadline() -> None:
    story = answering(met(REMEMBERING)).answers("ok")
    loser = side(story)
    assert postponed(row(99), loser, story.now) == "on_the_wire"
    assert on_the_wire(loser.rows, story.now + timedelta(seconds=19))
    assert isinstance(merged(row(99), loser, story.now + timedelta(seconds=20)), Merged)
    assert isinstance(merged(loser, row(99), story.now), Merged)


@pytest.mark.parametrize("failure", [SendFailure.UNKNOWN, SendFailure.NOT_SENT])
def test_a_part_of_the_losers_that_is_in_doubt_or_waits_goes_on_in_the_survivor(
    failure: SendFailure,
) -> None:
    story = answering(met(REMEMBERING)).answers("ok").refused(failure)
    decided = merged(row(99), side(story), story.now)
    assert isinstance(decided, Merged)
    assert decided.ended == ()


def test_two_replies_that_are_being_sent_cannot_be_one() -> None:
    one, other = (answering(met(REMEMBERING)).answers("ok") for _ in range(2))
    one.refused(SendFailure.UNKNOWN)
    other.refused(SendFailure.UNKNOWN)
    assert postponed(side(one), side(other)) == "two_sends"


# Undoing it.

EARLY, LATE = at("09:00:00"), at("09:30:00")
ONE = Past(
    Conversation(ConversationKey("hotel", 1), 7, Marks(EARLY, EARLY), hold_until=EARLY), ("vip",)
)
OTHER = Past(Conversation(ConversationKey("hotel", 2), 9, Marks(LATE, LATE)), ("old",))
NOTHING_SINCE = Since()


def as_merged() -> Side:
    decided = both(*(Side(Rows(p.conversation, p.tags), "phone:hotel:+1") for p in (ONE, OTHER)))
    return Side(
        Rows(decided.survivor.conversation, decided.survivor.tags),
        "phone:hotel:+1",
        decided.survivor.closed_at,
    )


def apart(current: Side, since: Since = NOTHING_SINCE, now: datetime = NOW) -> Parted:
    decided = parted(current, (ONE, OTHER), since, now)
    assert isinstance(decided, Parted)
    return decided


def with_columns(current: Side, **columns: Any) -> Side:
    conversation = replace(current.rows.conversation, **columns)
    return replace(current, rows=replace(current.rows, conversation=conversation))


def test_without_a_turn_since_both_are_as_they_were() -> None:
    current = with_columns(as_merged(), version=30, ai_conversation="conv_9")
    decided = apart(current)
    assert decided.survivor == replace(ONE, conversation=replace(ONE.conversation, version=31))
    assert decided.loser == replace(OTHER, conversation=replace(OTHER.conversation, version=31))
    assert decided.ended == ()


def test_what_a_turn_has_moved_since_stays_moved_for_whose_it_was() -> None:
    newest = at("10:00:00")
    moved = Marks(newest, newest)
    current = with_columns(as_merged(), marks=moved, owed_since=newest)
    decided = apart(current, Since(losers=True))
    assert decided.loser.conversation.marks == moved
    assert decided.loser.conversation.owed_since == newest
    assert decided.survivor.conversation.marks == ONE.conversation.marks
    assert apart(current, Since(survivors=True)).survivor.conversation.marks == moved


def test_a_hold_tags_and_a_closing_that_came_since_hold_for_both() -> None:
    until = at("12:00:00")
    current = with_columns(as_merged(), hold_until=until, hold_released_at=EARLY)
    current = replace(
        current, rows=replace(current.rows, tags=("vip", "old", "new")), closed_at=LATE
    )
    decided = apart(current)
    for past in (decided.survivor, decided.loser):
        assert past.conversation.hold_until == until
        assert past.conversation.hold_released_at == EARLY
        assert past.tags == ("vip", "old", "new")
        assert past.closed_at == LATE


def test_an_open_turn_that_has_sent_nothing_ends_when_they_part() -> None:
    story = answering(met(REMEMBERING))
    decided = apart(side(story))
    assert [turn.outcome for turn in decided.ended] == [Outcome.MERGED]
    sending = story.answers("ok")
    assert apart(side(sending), now=sending.now).ended == ()


def test_what_is_on_the_wire_to_the_loser_is_waited_for_before_they_part() -> None:
    story = answering(met(REMEMBERING)).answers("ok")
    leaves = Since(losers=True, open_is_losers=True)
    waits = parted(side(story), (ONE, OTHER), leaves, story.now)
    assert waits == Postponed("on_the_wire")
    assert isinstance(apart(side(story), leaves, story.now + timedelta(seconds=20)), Parted)
