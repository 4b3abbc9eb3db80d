"""Stopping within a bound, whatever hangs: what was started is stopped in reverse, each in time.

A step that takes longer is given up, also if it does not heed being cancelled, and named in the
log; what it would have finished is left to the next start, as after a crash. The same for a step
that fails.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

LOG = logging.getLogger(__name__)

STOP_SECONDS_MAX = 25.0
"""For all steps together: an orchestrator kills after 30 s if it is told nothing else."""

STEP_SECONDS_MIN = 0.25
"""What a step has even when the time of all is up."""

Stop = Callable[[], Awaitable[object] | None]


class Stops:
    """How to stop what has been started."""

    def __init__(self, total_seconds: float = STOP_SECONDS_MAX) -> None:
        self._total_seconds = total_seconds
        self._steps: list[tuple[str, float, Stop]] = []

    def add(self, name: str, stop: Stop, seconds: float = STEP_SECONDS_MIN) -> None:
        """Stop this before everything that was added earlier, within `seconds`."""
        self._steps.append((name, seconds, stop))

    async def run(self) -> None:
        """Stop everything, once; never raises for what a step does."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._total_seconds
        while self._steps:
            name, seconds, stop = self._steps.pop()
            left_seconds = max(STEP_SECONDS_MIN, min(seconds, ends_at - loop.time()))
            step = loop.create_task(_run(stop), name=f"stopping {name}")
            await asyncio.wait({step}, timeout=left_seconds)
            if not step.done():
                LOG.warning("stopping: %s took longer than %.3g s, given up", name, left_seconds)
                step.cancel()
                await asyncio.wait({step}, timeout=STEP_SECONDS_MIN)
            elif not step.cancelled() and (error := step.exception()) is not None:
                # Whatever one of them does, the others are stopped too.
                LOG.error("stopping: %s failed", name, exc_info=error)


async def _run(stop: Stop) -> None:
    if inspect.isawaitable(stopping := stop()):
        await stopping
