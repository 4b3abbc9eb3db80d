"""Line 4: what an idle actor, and an idle customer in memory, cost.

Growth of the resident set after a collection, in a process of its own for each kind.

* An idle actor has handled a message and has none waiting.
* An idle customer is known to its supervisor and holds its conversation as an answered turn leaves
  it: every mark, each an instant of its own, and the id of its conversation at the AI.
"""

import gc
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import psutil
import structlog
import uvloop
from prometheus_client import CollectorRegistry

from bench import children
from bench.results import Promise, Result
from relevo.actors.performer import World
from relevo.actors.ports import Assistant, Channel
from relevo.actors.runtime import AsyncioActor
from relevo.actors.supervisor import Bounds, Supervisor
from relevo.clock import SystemClock
from relevo.messages import ConversationKey
from relevo.metrics.instruments import Instruments
from relevo.metrics.probe import MeteringProbe
from relevo.tasks import Tasks
from relevo.turns import Conversation, Marks, Rules
from relevo.writes import Rows
from tests.fakes.clock import until
from tests.fakes.journal import MemoryJournal

COUNT = 100_000
AT_WORK = 1_000
"""So many have something to do at once while they are made; a task costs, and then goes."""
SECONDS_MAX = 90
KIB = 1024
START = datetime(2026, 3, 2, 10, tzinfo=UTC)

PROMISES = {
    "actors": Promise(
        f"memory of an idle actor, {COUNT:,} of them", 3, 6, "KiB", more_is_better=False
    ),
    "customers": Promise(
        f"memory of an idle customer, {COUNT:,} of them", 6, 12, "KiB", more_is_better=False
    ),
}


async def of_idle_ones() -> list[Result]:
    """Measure line 4."""
    results = []
    for kind, promise in PROMISES.items():
        said = await children.done("memory", {"kind": kind}, SECONDS_MAX)
        how = f"{said['grown_kib'] / KIB:,.0f} MiB more resident memory, {said['resident']:,} alive"
        results.append(Result(4, promise, said["grown_kib"] / COUNT, how))
    return results


class _Idle(AsyncioActor):
    """Does nothing, without a task."""

    async def on_receive(self, message: object) -> None:
        """Take it."""


class _AnsweredLongAgo(MemoryJournal):
    """Rows of customers whose last turn is answered, made as they are read."""

    async def load(self, keys: Sequence[ConversationKey]) -> Mapping[ConversationKey, Rows]:
        return {key: _answered(key) for key in keys}


class _OneHotel:
    """The rules of every customer; nothing else is asked for."""

    def __init__(self) -> None:
        self._rules = Rules()

    def rules(self, business_id: str, tags: Sequence[str]) -> Rules:
        del business_id, tags
        return self._rules

    def channel(self, business_id: str, channel_id: str) -> Channel:
        raise AssertionError(business_id, channel_id)

    def assistant(self, business_id: str) -> Assistant:
        raise AssertionError(business_id)


def _answered(key: ConversationKey) -> Rows:
    at = START + timedelta(seconds=key.conversation_id)
    marks = Marks(
        last_customer_at=at,
        last_assistant_at=at + timedelta(seconds=41),
        last_agent_at=at - timedelta(hours=5),
        known_to=at - timedelta(seconds=7),
        told_to=at + timedelta(0),
    )
    ai_conversation = f"conv_{key.conversation_id:048x}"
    return Rows(Conversation(key, 9, marks, ai_conversation=ai_conversation))


async def _actors() -> tuple[int, int]:
    tasks = Tasks(_raise)
    before = _resident_bytes()
    actors = [_Idle.start_on(tasks) for _ in range(COUNT)]
    for actor in actors:
        actor.actor_ref.tell(None)
        if len(tasks) == AT_WORK:
            await until(lambda: not len(tasks))
    await until(lambda: not len(tasks))
    return _resident_bytes() - before, sum(actor.actor_ref.is_alive() for actor in actors)


async def _customers() -> tuple[int, int]:
    tasks, clock = Tasks(_raise), SystemClock()
    probe = MeteringProbe(Instruments(CollectorRegistry()), structlog.get_logger(), {})
    world = World(_AnsweredLongAgo(), _OneHotel(), clock, probe)
    supervisor = Supervisor(world, tasks, Bounds(idle_max=COUNT))
    before = _resident_bytes()
    for number in range(COUNT):
        supervisor.look(ConversationKey("hotel", number))
        if number % AT_WORK == 0:
            await until(lambda: supervisor.settled)
    await until(lambda: supervisor.settled and not len(tasks))
    return _resident_bytes() - before, supervisor.resident


def _resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def _raise(error: BaseException) -> None:
    raise error


async def _main() -> None:
    kind = children.order_given()["kind"]
    grown_bytes, resident = await (_actors() if kind == "actors" else _customers())
    children.say({"grown_kib": grown_bytes / KIB, "resident": resident})


if __name__ == "__main__":
    uvloop.run(_main())
