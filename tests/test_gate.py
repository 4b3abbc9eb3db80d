"""The gate to the AI: so many at once, the most overdue first, and every place given back."""

import heapq
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from relevo.actors.gate import Gate
from relevo.messages import ConversationKey

START = datetime.fromisoformat("2026-03-02T10:00:00+00:00")


def customer(number: int) -> ConversationKey:
    return ConversationKey("hotel", number)


class Doorkeeper:
    """A gate and who was let in, in order. Who is `gone` takes no place."""

    def __init__(self, places_max: int) -> None:
        self.let_in: list[int] = []
        self.gone: set[int] = set()
        self.gate = Gate(places_max, self._let_in)

    def ask(self, number: int, due: float = 0) -> None:
        self.gate.ask(customer(number), START + timedelta(seconds=due))

    def leaves(self, number: int) -> None:
        self.gate.hold(customer(number), inside=False)

    def stays(self, number: int) -> None:
        self.gate.hold(customer(number), inside=True)

    def _let_in(self, key: ConversationKey) -> bool:
        if key.conversation_id in self.gone:
            return False
        self.let_in.append(key.conversation_id)
        return True


def test_who_finds_a_place_is_let_in_at_once() -> None:
    door = Doorkeeper(2)
    door.ask(1)
    door.ask(2)
    assert door.let_in == [1, 2]
    assert (door.gate.inside, door.gate.waiting) == (2, 0)


def test_the_most_overdue_is_let_in_first() -> None:
    door = Doorkeeper(1)
    door.ask(1)
    door.ask(2, due=30)
    door.ask(3, due=10)
    door.ask(4, due=20)
    assert (door.gate.inside, door.gate.waiting) == (1, 3)
    for number in (1, 3, 4):
        door.leaves(number)
    assert door.let_in == [1, 3, 4, 2]
    assert (door.gate.inside, door.gate.waiting) == (1, 0)


def test_a_place_is_given_back_once() -> None:
    door = Doorkeeper(1)
    for number in (1, 2, 3):
        door.ask(number, due=number)
    door.leaves(1)
    door.leaves(1)
    assert door.let_in == [1, 2]
    door.leaves(9)
    assert door.let_in == [1, 2]


def test_who_is_at_the_ai_without_having_asked_takes_a_place() -> None:
    door = Doorkeeper(2)
    door.stays(7)
    door.stays(8)
    door.stays(9)
    door.ask(1)
    assert door.let_in == []
    assert door.gate.inside == 3
    door.leaves(7)
    assert door.let_in == []
    door.leaves(8)
    assert door.let_in == [1]


def test_staying_inside_takes_no_second_place() -> None:
    door = Doorkeeper(2)
    door.ask(1)
    door.stays(1)
    door.stays(1)
    door.ask(2)
    assert door.let_in == [1, 2]


def test_asking_again_while_waiting_is_waiting_once() -> None:
    door = Doorkeeper(1)
    door.ask(1)
    for due in range(1000):
        door.ask(2, due)
    assert door.gate.waiting == 1
    door.leaves(1)
    door.leaves(2)
    assert door.let_in == [1, 2]
    door.ask(2, due=2000)
    assert door.let_in == [1, 2, 2]


def test_who_is_gone_when_called_takes_no_place() -> None:
    door = Doorkeeper(1)
    door.ask(1)
    numbers = range(2, 20_002)
    door.gone.update(numbers)
    for number in numbers:
        door.ask(number, due=number)
    door.ask(99_999, due=99_999)
    door.leaves(1)
    assert door.let_in == [1, 99_999]
    assert (door.gate.inside, door.gate.waiting) == (1, 0)


def test_a_closed_gate_lets_nobody_in() -> None:
    door = Doorkeeper(1)
    door.ask(1)
    door.ask(2)
    door.gate.close()
    door.leaves(1)
    door.ask(3)
    assert door.let_in == [1]
    assert door.gate.inside == 0


@given(st.lists(st.tuples(st.sampled_from(["ask", "leave"]), st.integers(0, 9)), max_size=60))
def test_places_are_never_exceeded_nor_left_empty(story: list[tuple[str, int]]) -> None:
    door = Doorkeeper(3)
    inside: set[int] = set()
    waiting: list[tuple[int, int]] = []
    let_in: list[int] = []
    for due, (what, number) in enumerate(story):
        if what == "ask" and number not in inside:
            door.ask(number, due)
            if number not in [n for _, n in waiting]:
                heapq.heappush(waiting, (due, number))
        elif what == "leave":
            door.leaves(number)
            inside.discard(number)
        while waiting and len(inside) < 3:
            _, first = heapq.heappop(waiting)
            inside.add(first)
            let_in.append(first)
        assert door.let_in == let_in
        assert (door.gate.inside, door.gate.waiting) == (len(inside), len(waiting))
