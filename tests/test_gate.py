"""The gate to the AI: so many at once, the most overdue first, and every place given back."""

import heapq
from collections import Counter
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from relevo.actors.gate import Gate
from relevo.messages import ConversationKey

HOTEL, BAKERY, CLINIC = "hotel", "bakery", "clinic"
START = datetime.fromisoformat("2026-03-02T10:00:00+00:00")


def customer(number: int, business: str = HOTEL) -> ConversationKey:
    return ConversationKey(business, number)


class Doorkeeper:
    """A gate and who was let in, in order. Who is `gone` takes no place."""

    def __init__(self, places_max: int, **places_of: int) -> None:
        self.let_in: list[int] = []
        self.gone: set[int] = set()
        self.inside: set[ConversationKey] = set()
        self.gate = Gate(places_max, self._let_in, lambda name: places_of.get(name, places_max))

    def ask(self, number: int, due: float = 0, business: str = HOTEL) -> None:
        self.gate.ask(customer(number, business), START + timedelta(seconds=due))

    def leaves(self, number: int, business: str = HOTEL) -> None:
        self.inside.discard(customer(number, business))
        self.gate.hold(customer(number, business), inside=False)

    def stays(self, number: int, business: str = HOTEL) -> None:
        self.gate.hold(customer(number, business), inside=True)

    def _let_in(self, key: ConversationKey) -> bool:
        if key.conversation_id in self.gone:
            return False
        self.let_in.append(key.conversation_id)
        self.inside.add(key)
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


def test_a_business_that_floods_makes_another_wait_for_one_place_only() -> None:
    door = Doorkeeper(1)
    for number in range(10_000):
        door.ask(number, due=-number)
    door.ask(20_001, due=99, business=BAKERY)
    door.ask(20_002, due=98, business=BAKERY)
    door.leaves(0)
    door.leaves(20_002, BAKERY)
    door.leaves(9_999)
    door.leaves(20_001, BAKERY)
    assert door.let_in == [0, 20_002, 9_999, 20_001, 9_998]


def test_each_business_that_waits_has_its_turn_and_then_the_first_again() -> None:
    door = Doorkeeper(1)
    door.stays(0)
    for due in range(3):
        for place, business in enumerate((HOTEL, BAKERY, CLINIC), start=1):
            door.ask(10 * place + due, due, business)
    door.leaves(0)
    for number in (20, 30, 10, 21, 31, 11):
        business = {1: HOTEL, 2: BAKERY, 3: CLINIC}[number // 10]
        door.leaves(number, business)
    assert door.let_in == [20, 30, 10, 21, 31, 11, 22]


def test_a_business_at_its_own_bound_leaves_the_other_places_to_others() -> None:
    door = Doorkeeper(4, hotel=3)
    for number in range(10):
        door.ask(number, due=number)
    assert door.let_in == [0, 1, 2]
    door.ask(50, business=BAKERY)
    assert door.let_in == [0, 1, 2, 50]
    door.ask(51, business=BAKERY)
    door.leaves(50, BAKERY)
    assert door.let_in[4:] == [51], "the hotel waits for a place of its own"
    door.leaves(1)
    assert door.let_in[5:] == [3]
    assert (door.gate.inside, door.gate.waiting) == (4, 6)


def test_who_came_in_without_asking_counts_for_its_business_too() -> None:
    door = Doorkeeper(4, hotel=2)
    door.stays(8)
    door.stays(9)
    door.ask(1)
    door.ask(50, business=BAKERY)
    assert door.let_in == [50]
    door.leaves(8)
    assert door.let_in == [50, 1]


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "leave"]), st.sampled_from("abc"), st.integers(0, 6)),
        max_size=80,
    )
)
def test_no_place_stays_empty_that_anybody_may_have(story: list[tuple[str, str, int]]) -> None:
    own_max = {"a": 1, "b": 2, "c": 4}
    door = Doorkeeper(4, **own_max)
    waiting: set[tuple[str, int]] = set()
    inside: set[tuple[str, int]] = set()
    for due, (what, business, number) in enumerate(story):
        name = (business, number)
        seen = len(door.let_in)
        if what == "ask" and name not in inside:
            door.ask(number, due, business)
            waiting.add(name)
        elif what == "leave":
            door.leaves(number, business)
            inside.discard(name)
        came = {name for name in waiting if customer(name[1], name[0]) in door.inside}
        assert len(came) == len(door.let_in) - seen
        waiting -= came
        inside |= came
        taken = Counter(of for of, _ in inside)
        assert all(taken[of] <= own_max[of] for of in own_max)
        assert len(inside) <= 4
        assert len(inside) == 4 or all(taken[of] == own_max[of] for of, _ in waiting)
        assert (door.gate.inside, door.gate.waiting) == (len(inside), len(waiting))


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
