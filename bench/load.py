"""A child process that posts webhooks: as fast as they are answered, or so many a second.

Told: port, first, count, customers, connections, per_second (0: as fast as they are answered).
Says: seconds, statuses, and latencies in milliseconds, counted from when each request was due.
"""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import uvloop

from bench import bodies, children
from bench.callers import Callers


async def main() -> None:
    """Do what is told."""
    order = children.order_given()
    now = datetime.now(UTC)  # noqa: TID251  (the customers' own clocks)
    made = list(bodies.requests(order["first"], order["count"], order["customers"], now))
    all_answered = asyncio.Event()
    waiting = iter(made)

    def answered() -> None:
        if callers.count == len(made):
            all_answered.set()
        elif not order["per_second"]:
            _next(callers, waiting)

    callers = Callers(answered)
    await callers.connect(order["port"], order["connections"])
    loop = asyncio.get_running_loop()
    started = time.monotonic()  # the loop's own time, which uvloop counts in whole milliseconds
    if order["per_second"]:
        for number, request in enumerate(made):
            due_at = started + number / order["per_second"]
            loop.call_at(due_at, callers.post, request, due_at)
    else:
        for _ in range(order["connections"]):
            _next(callers, waiting)
    await all_answered.wait()
    children.say(_said(callers, time.monotonic() - started))


def _next(callers: Callers, waiting: Iterator[bytes]) -> None:
    request = next(waiting, None)
    if request is not None:
        callers.post(request, time.monotonic())


def _said(callers: Callers, seconds: float) -> dict[str, Any]:
    ordered = sorted(callers.latencies_seconds)
    return {
        "seconds": seconds,
        "statuses": {str(status): count for status, count in callers.statuses.items()},
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[len(ordered) * 99 // 100],
        "max_ms": 1000 * ordered[-1],
    }


if __name__ == "__main__":
    uvloop.run(main())
