"""Messages, links, merges and undos in any order, on two processes: one conversation a person.

`HYPOTHESIS_PROFILE=deep .venv/bin/pytest --timeout=0 tests/test_merging_by_chance.py` plays many.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from relevo.messages import Author
from tests.merging_rig import books
from tests.merging_world import MergingWorld, merging_world
from tests.postgres import Cluster
from tests.store_rig import deadlocks

pytestmark = pytest.mark.postgres

EXAMPLES = 1000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 12
PEOPLE_MAX = 3


@dataclass(frozen=True, slots=True)
class Says:
    person: int
    way: int
    process: int
    author: Author = Author.CUSTOMER

    async def happens(self, world: MergingWorld) -> None:
        person = world.people[self.person % len(world.people)]
        await world.says(person, self.way, self.process, self.author)


@dataclass(frozen=True, slots=True)
class Links:
    person: int
    pair: tuple[int, int]
    process: int

    async def happens(self, world: MergingWorld) -> None:
        await world.links(world.people[self.person % len(world.people)], self.pair, self.process)


@dataclass(frozen=True, slots=True)
class Undoes:
    person: int
    process: int

    async def happens(self, world: MergingWorld) -> None:
        await world.undoes(world.people[self.person % len(world.people)], self.process)


@dataclass(frozen=True, slots=True)
class Waits:
    seconds: float

    async def happens(self, world: MergingWorld) -> None:
        await world.waits(self.seconds)


PERSON, PROCESS = st.integers(0, PEOPLE_MAX - 1), st.integers(0, 1)
WAY = st.integers(1, 7)
HAPPENING = st.one_of(
    st.builds(Says, PERSON, WAY, PROCESS),
    st.builds(Says, PERSON, WAY, PROCESS),
    st.builds(Says, PERSON, WAY, PROCESS, st.just(Author.AGENT)),
    st.builds(Links, PERSON, st.sampled_from([(0, 1), (1, 2), (2, 0)]), PROCESS),
    st.builds(Undoes, PERSON, PROCESS),
    st.builds(Waits, st.sampled_from([1.0, 20.0, 35.0, 400.0])),
)
HISTORY = st.lists(st.lists(HAPPENING, min_size=1, max_size=6), min_size=1, max_size=10)
"""Steps; what is in one step happens at once."""


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_any_history_ends_with_one_conversation_a_person_and_nothing_lost_or_doubled(
    loop: asyncio.Runner, cluster: Cluster
) -> None:
    fresh = cluster.fresh_database()
    urls = loop.run(fresh.__aenter__())
    opened = merging_world(urls)
    world = loop.run(opened.__aenter__())

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(1, PEOPLE_MAX), HISTORY, st.integers(0, 2**32))
    def played(people: int, history: list[list[Any]], seed: int) -> None:
        loop.run(play(world, people, history, seed))

    try:
        played()
    finally:
        loop.run(opened.__aexit__(None, None, None))
        met = loop.run(deadlocks(urls))
        loop.run(fresh.__aexit__(None, None, None))
    assert met == 0


async def play(world: MergingWorld, people: int, history: list[list[Any]], seed: int) -> None:
    world.begin(people, seed)
    sent_before = len(world.line.sent)
    for step in history:
        await asyncio.gather(*(happening.happens(world) for happening in step))
    await world.comes_to_rest()
    await world.everybody_is_whole()
    await world.comes_to_rest()
    homes = [await world.homes(person) for person in world.people]
    note(f"homes: {homes}, sent: {world.line.sent[sent_before:]}")
    for person, home in zip(world.people, homes, strict=True):
        thread = await world.thread(person)
        note(f"{person.name}: {thread}")
        assert [body for body, _, _ in thread] == sorted(person.said)
        assert {home for _, _, home in thread} <= home
        assert len(home) <= 1
        assert "in_flight" not in {fate for _, fate, _ in thread}
        assert await world.is_named_well(person)
    assert sum(len(home) for home in homes) == len(set().union(*homes))
    assert max(Counter(world.line.sent).values(), default=1) == 1
    assert (await books(world.processes[0].store)).sound
