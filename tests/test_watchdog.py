"""The watchdog tells of a loop that is blocked, once, by what, and when it runs again."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Mapping
from types import FunctionType

import pytest
import pytest_asyncio

from relevo.clock import SystemClock
from relevo.watchdog import Watchdog
from tests.fakes.clock import until

BLOCKED_SECONDS = 0.05
PATIENCE_SECONDS = 20
PLACE = re.compile(r"\S+:\d+ \S+")


class Kennel:
    """A watchdog of this loop, and what it has told."""

    def __init__(self) -> None:
        self.blocks: list[tuple[float, str, Mapping[str, list[str]]]] = []
        self.over: list[float] = []
        self.barked = threading.Event()
        self.watchdog = Watchdog(SystemClock(), self._bark, self.over.append, BLOCKED_SECONDS)

    def _bark(self, seconds: float, task: str, stacks: Mapping[str, list[str]]) -> None:
        self.blocks.append((seconds, task, stacks))
        self.barked.set()


@pytest_asyncio.fixture
async def kennel() -> AsyncIterator[Kennel]:
    kennel = Kennel()
    kennel.watchdog.start()
    yield kennel
    kennel.watchdog.stop()


def wait_for_somebody(kennel: Kennel) -> None:
    """Block the loop, as a call does that waits for the outside."""
    assert kennel.barked.wait(PATIENCE_SECONDS)


def compute_without_end(kennel: Kennel, secret: str = "secreto-5037") -> int:
    """Block the loop, as long Python code does: it keeps the interpreter all the time."""
    steps = 0
    while not kennel.barked.is_set():
        steps += len(secret)
    return steps


@pytest.mark.parametrize("block", [wait_for_somebody, compute_without_end])
async def test_a_blocked_loop_is_told_with_what_blocks_it(
    kennel: Kennel, block: FunctionType
) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.set_name("the-blocking-one")
    block(kennel)
    [(seconds, name, stacks)] = kennel.blocks
    assert seconds > BLOCKED_SECONDS
    assert name == "the-blocking-one"
    of_the_loop = next(iter(stacks.values()))
    assert any(block.__name__ in place for place in of_the_loop)
    await until(lambda: len(kennel.over) == 1)
    assert kennel.over[0] >= BLOCKED_SECONDS


async def test_frames_are_told_and_no_values(kennel: Kennel) -> None:
    compute_without_end(kennel)
    [(_, _, stacks)] = kennel.blocks
    places = [place for stack in stacks.values() for place in stack]
    assert all(PLACE.fullmatch(place) for place in places)
    assert not any("secreto" in place for place in places)
    assert not any("relevo/watchdog.py" in place for place in places), "not by itself"


async def test_other_threads_are_told_too(kennel: Kennel) -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, name="a-bystander")
    thread.start()
    wait_for_somebody(kennel)
    go_on.set()
    thread.join()
    [(_, _, stacks)] = kennel.blocks
    assert [name for name in stacks if name.startswith("a-bystander-")]


async def test_one_block_is_told_once_and_the_next_one_again(kennel: Kennel) -> None:
    for count in (1, 2):
        kennel.barked.clear()
        wait_for_somebody(kennel)
        quietly = threading.Event()
        quietly.wait(4 * BLOCKED_SECONDS)  # longer, in the same block
        assert len(kennel.blocks) == count
        await until(lambda count=count: len(kennel.over) == count)  # type: ignore[misc]


async def test_a_loop_that_runs_is_left_alone(kennel: Kennel) -> None:
    watched = asyncio.Event()
    asyncio.get_running_loop().call_later(6 * BLOCKED_SECONDS, watched.set)
    await watched.wait()
    assert (kennel.blocks, kennel.over) == ([], [])


async def test_a_stopped_watchdog_has_left_and_says_nothing_more(kennel: Kennel) -> None:
    kennel.watchdog.stop()
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}
    assert not kennel.barked.wait(3 * BLOCKED_SECONDS)
    kennel.watchdog.stop()


def test_one_that_was_never_started_can_be_stopped() -> None:
    Kennel().watchdog.stop()
