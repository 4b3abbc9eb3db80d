"""Random histories against the oracle, and against what must hold at any time."""

from typing import Any

from hypothesis import given, note

from relevo.messages import Fate
from relevo.turns import PartState, Purpose, Turn
from tests.expected import Expected, Known
from tests.histories import histories
from tests.oracle import Oracle
from tests.plans import History
from tests.world import World


def played(history: History) -> World:
    world = World(history)
    try:
        return world.run()
    finally:
        for fact in world.facts:
            note(repr(fact))


@given(histories)
def test_every_step_of_every_history_holds_what_must_hold(history: History) -> None:
    """`World` checks the table, memory against the rows, conservation and totality at each step."""
    played(history)


@given(histories)
def test_a_quiet_world_has_answered_for_every_message_and_sent_nothing_twice(
    history: History,
) -> None:
    world = played(history)
    thread = world.book.thread(world.key)
    assert Fate.IN_FLIGHT not in world.book.fates().values()
    assert all(turn.outcome is not None for turn in world.turns)
    assert all(len(times) == 1 for times in world.outside.sent.values())
    terminal = {PartState.ACCEPTED, PartState.DEAD, PartState.CANCELLED}
    assert {part.state for part in thread.parts.values()} <= terminal


@given(histories)
def test_verdicts_missed_fates_and_replies_are_those_of_the_oracle(history: History) -> None:
    world = played(history)
    oracle = Oracle(history.rules, world.outside.chat, new_contact=history.new_contact).run(
        world.facts
    )
    thread = world.book.thread(world.key)
    bodies = world.bodies
    turns = [turn for turn in world.turns if turn.purpose is Purpose.REPLY]
    assert [_seen(turn, bodies) for turn in turns] == [_expected(turn) for turn in oracle.turns]
    fates = {bodies[message_id]: fate for message_id, fate in world.book.fates().items()}
    assert fates == oracle.fates
    replies = [
        sum(p.turn_id == t.id and p.state is PartState.ACCEPTED for p in thread.parts.values())
        for t in turns
    ]
    assert replies == [turn.accepted for turn in oracle.turns]
    sends = [turn for turn in world.turns if turn.purpose is Purpose.SEND]
    assert [(turn.message_ids, bodies[turn.id], turn.outcome) for turn in sends] == [
        ((), errand.message.said.body, errand.outcome) for errand in oracle.errands
    ]
    assert _marks(world) == {
        "last_customer_at": oracle.last_customer_at,
        "last_assistant_at": oracle.last_assistant_at,
        "known_to": oracle.known_to,
        "told_to": oracle.told_to,
    }
    untold = {bodies[message_id]: str(why) for message_id, why in thread.untold.items()}
    assert untold == oracle.untold


def _seen(turn: Turn, bodies: dict[int, str]) -> dict[str, Any]:
    return {
        "messages": sorted(bodies[i] for i in turn.message_ids),
        "previous_customer_at": turn.previous_customer_at,
        "previous_assistant_at": turn.previous_assistant_at,
        "verdict": turn.verdict,
        "silence_seconds": turn.silence_seconds,
        "reasons": set(turn.recall_reasons),
        "since": turn.recall_since,
        "recall": turn.recall,
        "missed": [bodies[i] for i in turn.missed_ids],
        "outcome": turn.outcome,
    }


def _marks(world: World) -> dict[str, Any]:
    marks = world.book.thread(world.key).conversation.marks
    names = ("last_customer_at", "last_assistant_at", "known_to", "told_to")
    return {name: getattr(marks, name) for name in names}


def _expected(turn: Expected) -> dict[str, Any]:
    return {
        "messages": sorted(_bodies(turn.own)),
        "previous_customer_at": turn.previous_customer_at,
        "previous_assistant_at": turn.previous_assistant_at,
        "verdict": turn.verdict,
        "silence_seconds": turn.silence_seconds,
        "reasons": set(turn.reasons),
        "since": turn.since,
        "recall": turn.recall,
        "missed": _bodies(turn.missed),
        "outcome": turn.outcome,
    }


def _bodies(messages: list[Known]) -> list[str]:
    return [k.said.body for k in messages]
