"""Line 3: tells a second through the mailboxes of many actors, ours against pykka's threads.

* As many actors of each kind as a business has customers writing at once; threads can be had for no
  more. With fewer actors threads do better: at 1,000 of them the ratio is about 5.
* They are told in turn, without pause, until each has been told so often; the time runs until the
  last message is handled. Each kind is measured in a process of its own.
"""

import asyncio
import threading
import time
from collections.abc import Callable

import pykka
import uvloop

from bench import children
from bench.results import Promise, Result
from relevo.actors.runtime import AsyncioActor
from relevo.tasks import Tasks

RATIO = Promise("tells/s through mailboxes, against pykka.ThreadingActor", 25, 10, "times")

ACTORS = 5_000
ROUNDS = {"asyncio": 40, "threads": 10}
SECONDS_MAX = 60


async def against_threads() -> list[Result]:
    """Measure line 3."""
    per_second = {}
    for kind, rounds in ROUNDS.items():
        said = await children.done("mailboxes", {"kind": kind, "rounds": rounds}, SECONDS_MAX)
        per_second[kind] = ACTORS * rounds / said["seconds"]
    how = (
        f"{per_second['asyncio']:,.0f} against {per_second['threads']:,.0f} tells/s, "
        f"{ACTORS:,} actors of each kind"
    )
    return [Result(3, RATIO, per_second["asyncio"] / per_second["threads"], how)]


class _Ours(AsyncioActor):
    """Calls `ended` when it has handled as much as it ever will."""

    def __init__(self, rounds: int, ended: Callable[[], object]) -> None:
        super().__init__()
        self._rounds = rounds
        self._ended = ended

    async def on_receive(self, message: object) -> None:
        """Count."""
        del message
        self._rounds -= 1
        if not self._rounds:
            self._ended()


class _Threaded(pykka.ThreadingActor):  # noqa: TID251  (what ours is measured against)
    """Calls `ended` when it has handled as much as it ever will."""

    def __init__(self, rounds: int, ended: Callable[[], object]) -> None:
        super().__init__()
        self._rounds = rounds
        self._ended = ended

    def on_receive(self, message: object) -> None:
        """Count."""
        del message
        self._rounds -= 1
        if not self._rounds:
            self._ended()


async def _asyncio_seconds(rounds: int) -> float:
    tasks, ended = Tasks(_raise), asyncio.Semaphore(0)
    actors = [_Ours.start_on(tasks, rounds, ended.release) for _ in range(ACTORS)]
    refs = [actor.actor_ref for actor in actors]
    started = time.perf_counter()
    for number in range(rounds):
        for ref in refs:
            ref.tell(number)
    for _ in range(ACTORS):
        await ended.acquire()
    return time.perf_counter() - started


def _threads_seconds(rounds: int) -> float:
    ended = threading.Semaphore(0)
    refs = [_Threaded.start(rounds, ended.release) for _ in range(ACTORS)]
    started = time.perf_counter()
    for number in range(rounds):
        for ref in refs:
            ref.tell(number)
    for _ in range(ACTORS):
        ended.acquire()
    seconds = time.perf_counter() - started
    pykka.ActorRegistry.stop_all(block=False)
    return seconds


def _raise(error: BaseException) -> None:
    raise error


def _main() -> None:
    order = children.order_given()
    if order["kind"] == "asyncio":
        seconds = uvloop.run(_asyncio_seconds(order["rounds"]))
    else:
        seconds = _threads_seconds(order["rounds"])
    children.say({"seconds": seconds})


if __name__ == "__main__":
    _main()
