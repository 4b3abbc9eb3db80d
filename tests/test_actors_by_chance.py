"""Whatever meets whatever: messages, wakes, results, deadlines and lost commits in random order.

Every call outside takes a random number of turns of the loop, so that rows, results and alarms come
to a mailbox in every order. A seed that fails is a story that can be told again.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from relevo.errors import StoreUnavailableError
from relevo.messages import Author, ConversationKey, Untold
from relevo.turns import PARTS_TERMINAL
from tests.actors_outside import RULES
from tests.actors_rig import Hotel, Outside, passes, phone

HAPPENINGS = 150
STORE_FAILURES = 0.05
SETTLING_SECONDS = 400
"""The longest doubt lasts 120 s; a turn with two parts may have two of them."""


class Chance:
    """A hotel in which things happen at random."""

    def __init__(self, seed: int, hotel: Hotel, *, lossy: bool) -> None:
        self.random = Random(seed)
        self.hotel = hotel
        self.lossy = lossy
        self.keys: set[ConversationKey] = set()
        for door in hotel.outside.far_doors:
            door.passes = self._passes
        for door in hotel.outside.store_doors:
            door.passes = self._store_passes

    async def happens(self) -> None:
        what = self.random.choices(self._happenings, weights=(50, 10, 8, 8, 4, 20, 4))[0]
        what()
        await passes(self.random.choice((0, 1, 2, 3, 4, 6)))

    @property
    def _happenings(self) -> tuple[Callable[[], None], ...]:
        return (
            *(self._customer, self._agent, self._raise, self._unheard, self._look),
            *(self._time_passes, self._store_fails),
        )

    def _passes(self) -> int:
        return self.random.choice((1, 1, 2, 3, 5, 8, 13))

    def _store_passes(self) -> int:
        if self.lossy and self.random.random() < STORE_FAILURES:
            raise StoreUnavailableError("for a moment")
        return self._passes()

    def _customer(self) -> None:
        self.keys.add(self.hotel.customer("Hola", self._somebody()))

    def _agent(self) -> None:
        self.keys.add(self.hotel.agent("Yo le ayudo", self._somebody()))

    def _raise(self) -> None:
        """Raise the version, and wake nobody."""
        outside = self.hotel.outside
        self.keys.add(outside.says("¿quién?", author=Author.UNKNOWN, phone=self._somebody()))

    def _unheard(self) -> None:
        self.keys.add(self.hotel.outside.says("¿Hola?", phone=self._somebody()))

    def _look(self) -> None:
        for key in sorted(self.keys):
            self.hotel.supervisor.look(key)

    def _time_passes(self) -> None:
        seconds = self.random.choice((0.1, 0.5, 0.5, 1, 3, 5))
        self.hotel.clock.advance_to(self.hotel.clock.now() + timedelta(seconds=seconds))

    def _store_fails(self) -> None:
        if self.lossy:
            self.hotel.journal.answers_lost += 1

    def _somebody(self) -> str:
        return phone(self.random.randrange(2))


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("lossy", [False, True], ids=["sound", "lossy"])
async def test_everything_comes_to_rest_and_nothing_is_done_twice(
    seed: int, *, lossy: bool
) -> None:
    outside = Outside()
    random = Random(seed)
    outside.configured.own_rules = replace(
        RULES,
        first_contact_lookback_seconds=random.choice((0, 3600)),
        ai_conversations=random.choice((True, False)),
        quiet_seconds=random.choice((0.5, 3)),
        gap_seconds=10,
    )
    bounds = {"answering_max": random.choice((1, 2, 100)), "read_batch_max": random.choice((1, 9))}
    async with Hotel(outside, idle_seconds=random.choice((1, 300)), **bounds) as hotel:
        hotel.tasks.spawn(hotel.supervisor.sweep_for_ever(), "sweep")
        chance = Chance(seed, hotel, lossy=lossy)
        for _ in range(HAPPENINGS):
            await chance.happens()
        chance.lossy = False
        hotel.journal.answers_lost = 0
        await hotel.advance(5)
        await hotel.advance(SETTLING_SECONDS)
        expect_rest(hotel)
        for key in chance.keys:
            expect_done(hotel, key)
        expect_once(hotel, lossy=lossy)


def expect_rest(hotel: Hotel) -> None:
    """Nobody waits for anything, and nothing was left lying about."""
    supervisor = hotel.supervisor
    assert supervisor.settled
    assert (supervisor.turns_open, supervisor.mailbox_messages()) == (0, 0)
    assert (supervisor.performer.in_flight, len(supervisor.alarms)) == (0, 0)
    assert (supervisor.gate.inside, supervisor.gate.waiting) == (0, 0)
    assert (hotel.probe.restarts, hotel.probe.given_up) == (0, 0)
    assert hotel.probe.under_way == []


def expect_done(hotel: Hotel, key: ConversationKey) -> None:
    """Every message was taken up, every turn has ended, every part has come to its end."""
    thread = hotel.book.thread(key)
    assert Untold.UNREAD not in thread.untold.values()
    assert thread.open_turn is None
    assert set(hotel.parts(key)) <= PARTS_TERMINAL


def expect_once(hotel: Hotel, *, lossy: bool) -> None:
    """An effect has a key, and a key is started once; a sound store makes every send one send."""
    outside_recalls = [e for e in hotel.probe.started if type(e).__name__ in {"Ask", "Send"}]
    started = Counter(effect.key for effect in outside_recalls)
    assert [key for key, times in started.items() if times > 1] == []
    if not lossy:
        assert [text for text, times in Counter(hotel.line.sent).items() if times > 1] == []
