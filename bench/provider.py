"""A child process that is WATI, and all its customers: a closed loop of single messages.

So many customers wait for a reply at any time; whenever one gets it, the next one writes. Told:
token; and, once Relevo runs: port, waiting, customers, connections, seconds. Says: base_url; then
statuses, and replies.
"""

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import Any

import orjson
import uvloop

from bench import bodies, children
from bench.callers import Callers
from relevo.clock import SystemClock
from tests.fakes.wati import FakeWati

LOOK_SECONDS = 0.005
"""How often new replies are looked for."""


async def main() -> None:
    """Serve until ended; write when told to."""
    token = children.order_given()["token"]
    async with FakeWati(SystemClock(), token=token) as wati:
        children.say({"base_url": wati.base_url})
        order = orjson.loads(await asyncio.to_thread(sys.stdin.buffer.readline))
        children.say(await _write(wati, order))
        await asyncio.Event().wait()


async def _write(wati: FakeWati, order: dict[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    callers = Callers(lambda: None)
    await callers.connect(order["port"], order["connections"])
    ends_at, written = loop.time() + order["seconds"], 0
    while loop.time() < ends_at:
        wanted = min(len(wati.sends) + order["waiting"], order["customers"])
        for customer in range(written, wanted):
            callers.post(bodies.request(customer, customer, _now()), time.monotonic())
        written = max(written, wanted)
        await asyncio.sleep(LOOK_SECONDS)
    statuses = {str(status): count for status, count in callers.statuses.items()}
    return {"statuses": statuses, "replies": len(wati.sends), "histories": len(wati.asked)}


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  (the customers' own clocks)


if __name__ == "__main__":
    uvloop.run(main())
