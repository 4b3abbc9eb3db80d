"""`python -m tests.killable`: the real server, which kills itself at a point of its work.

It is configured as `relevo serve` is. `KILL_AT` names the point, and which passing of it is the
last thing it does: `after:effect:Send#2`; without it the process lives. It says on stdout:

    {"port": 8080, "metrics_port": 9464}    it serves
    {"passed": "before:commit:answering"}   it passes a point (or dies there)
    {"stopping": true}                      it was told to stop

The points are generated from the core: before and after every commit, by the stage it leaves the
turn in, and before and after every effect, by its class. An alarm is no effect that comes back, so
`WakeAt` has the ring of its timer instead: before the clock rings, and after the customer was told.
"""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast, get_args

import orjson
import uvloop

from relevo.actors.alarms import Alarms
from relevo.actors.ports import Probe
from relevo.app import Options, Relevo
from relevo.clock import Alarm, SystemClock
from relevo.config import load
from relevo.effects import Effect, WakeAt
from relevo.turns import Stage
from relevo.writes import Writes

TURNLESS = "turnless"
"""The stage of a commit that concerns no turn."""

TIMER = "timer"


def commit_place(stage: str) -> str:
    return f"commit:{stage}"


def effect_place(kind: type[Effect]) -> str:
    return TIMER if kind is WakeAt else f"effect:{kind.__name__}"


PLACES = (
    *(commit_place(stage) for stage in (*Stage, TURNLESS)),
    *(effect_place(kind) for kind in get_args(Effect)),
)
"""Everything that has a point before it and one after it."""


class Passing:
    """Counts the points that are passed, says so, and dies at the one it was told."""

    def __init__(self, kill_at: str) -> None:
        self._last = kill_at
        self._passed: Counter[str] = Counter()

    def before(self, place: str) -> None:
        self._pass(f"before:{place}")

    def after(self, place: str) -> None:
        self._pass(f"after:{place}")

    def _pass(self, point: str) -> None:
        self._passed[point] += 1
        say(passed=point)
        if self._last == f"{point}#{self._passed[point]}":
            os.kill(os.getpid(), signal.SIGKILL)


class PassingProbe:
    """A probe's points; everything else is the probe's own."""

    def __init__(self, probe: Probe, passing: Passing) -> None:
        self._probe = probe
        self._passing = passing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._probe, name)

    def committing(self, writes: Writes) -> None:
        self._passing.before(_place_of(writes))
        self._probe.committing(writes)

    def committed(self, writes: Writes) -> None:
        self._probe.committed(writes)
        self._passing.after(_place_of(writes))

    def effect_starting(self, effect: Effect) -> None:
        self._passing.before(effect_place(type(effect)))
        self._probe.effect_starting(effect)

    def effect_finished(self, effect: Effect, seconds: float, outcome: str) -> None:
        self._probe.effect_finished(effect, seconds, outcome)
        self._passing.after(effect_place(type(effect)))

    def timer_fired(self, lateness_seconds: float) -> None:
        self._probe.timer_fired(lateness_seconds)
        self._passing.after(TIMER)


class PassingClock(SystemClock):
    """The real clock; it passes a point before it rings for the customers' alarms."""

    def __init__(self, passing: Passing) -> None:
        self._passing = passing

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Alarm:
        def ring() -> None:
            self._passing.before(TIMER)
            callback()

        of_customers = isinstance(getattr(callback, "__self__", None), Alarms)
        return super().call_at(when, ring if of_customers else callback)


def say(**line: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
    sys.stdout.buffer.flush()


def _place_of(writes: Writes) -> str:
    return commit_place(writes.turn.stage if writes.turn is not None else TURNLESS)


async def serve() -> None:
    passing = Passing(os.environ.get("KILL_AT", ""))
    options = Options(
        clock=PassingClock(passing),
        # what it does not define itself, it takes from the probe it was given
        observe=lambda probe: cast("Probe", PassingProbe(probe, passing)),
        log_stream=sys.stderr.buffer,
    )
    relevo = Relevo(load(None, os.environ), options)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await relevo.start()
    say(port=relevo.port, metrics_port=relevo.metrics_port)
    await stop.wait()
    say(stopping=True)
    await relevo.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
