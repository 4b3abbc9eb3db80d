"""The table, and the picture drawn from it."""

from pathlib import Path
from typing import get_args

from relevo.events import Event
from relevo.states import State
from relevo.transitions import TRANSITIONS, mermaid

PICTURE = Path(__file__).parents[1] / "docs" / "conversation.mmd"

STATES = {kind.__name__ for kind in get_args(State)}
EVENTS = {kind.__name__ for kind in get_args(Event)}


def test_the_picture_is_the_table() -> None:
    assert PICTURE.read_text() == mermaid(), "write mermaid() to docs/conversation.mmd"


def test_the_table_names_nothing_that_does_not_exist() -> None:
    for (state, event), afters in TRANSITIONS.items():
        assert {state, *afters} <= STATES
        assert event in EVENTS


def test_whatever_can_happen_may_also_change_nothing() -> None:
    assert all(state in afters for (state, _), afters in TRANSITIONS.items())


def test_every_state_is_reached_and_left() -> None:
    moves = {(state, after) for (state, _), afters in TRANSITIONS.items() for after in afters}
    for state in STATES:
        assert any(a != state and b == state for a, b in moves)
        assert any(a == state and b != state for a, b in moves)


def test_staying_is_not_drawn_and_each_move_is_drawn_once() -> None:
    lines = [line.split(":")[0].split() for line in mermaid().splitlines()[2:]]
    moves = [(a, b) for a, _, b in lines]
    assert len(moves) == len(set(moves))
    assert all(a != b for a, b in moves)
    assert ("Answering", "Sending") in moves
