"""Killed with 20,000 open turns: how soon the first correct reply, and every deadline, is back.

* Every customer has written once, by webhook; nobody has been answered. Most bursts wait for an
  hour. Some customers have a tag that makes theirs end at once: at the restart they are overdue.
* Both figures count from the moment the process is made. A reply is correct if it answers what its
  customer wrote; the provider looks at its own clock. Deadlines are armed when the metrics page
  says so: timers that are pending, less one for every turn that is no longer gathering.
* Then the rest is answered too, by a life in which bursts end at once: everybody gets one reply.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from bench import bodies, children
from bench.rig import QUIET_FOR_GOOD_SECONDS, Outsides
from chaos.loop import STOP_SECONDS_MAX
from chaos.outsides import answers, provider_and_ai
from chaos.server import Server, Site, until
from relevo.clock import Clock, SystemClock
from tests.fakes.wati import FakeWati

OVERDUE_SHARE = 0.025
CONNECTIONS = 64
LOAD_SECONDS_MAX = 300
RECOVERY_SECONDS_MAX = 120
ANSWER_SECONDS_MAX = 600
LOOK_SECONDS = 0.05
RULES = "first_contact_lookback_seconds = 0\npriority = { hurry = { quiet_seconds = 0.1 } }\n"
"""No history is asked: the provider would allow one question a second."""

TAG = "UPDATE conversation SET tags = '{hurry}' WHERE canonical_key = ANY ($1)"
ENDED = "SELECT count(*) >= $1 FROM turn WHERE outcome = 'answered'"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was measured; seconds count from when the process was made."""

    open_turns: int
    overdue: int
    serving_seconds: float
    first_reply_seconds: float
    armed_seconds: float
    lost: int
    doubled: int
    wrong: int
    audited: int

    @property
    def sound(self) -> bool:
        """Tell whether everybody got one reply, and the right one."""
        return not (self.lost or self.doubled or self.wrong or self.audited)


async def recovery(open_turns: int, seed: int, site: Site, say: Callable[[str], None]) -> Recovery:
    """Open so many turns, kill, start, and measure."""
    clock = SystemClock()
    overdue = random.Random(f"{seed} overdue").sample(
        range(open_turns), max(1, round(open_turns * OVERDUE_SHARE))
    )
    async with provider_and_ai() as (wati, ai):
        outsides = Outsides(wati.base_url, ai.base_url, QUIET_FOR_GOOD_SECONDS, RULES)
        server = Server(site, outsides)
        try:
            say(f"{open_turns:,} customers write …")
            await server.start()
            await server.serving()
            await _write(server, open_turns)
            async with site.database() as connection:
                await connection.execute(TAG, [f"phone:hotel:+{bodies.phone(c)}" for c in overdue])
            await server.kill()
            say("killed; it starts again …")
            back = await _come_back(server, wati, clock, open_turns - len(overdue))
            say("everybody else is answered …")
            await server.stop(STOP_SECONDS_MAX)
            await _answer_all(site, outsides, open_turns)
            audited, _ = await server.ask("audit --json")
        finally:
            await server.close()
        replies = Counter(sent.address for sent in wati.sends)
        return Recovery(
            open_turns,
            len(overdue),
            *back,
            lost=open_turns - len(replies),
            doubled=sum(count > 1 for count in replies.values()),
            wrong=sum(not _is_right(sent.address, sent.text) for sent in wati.sends),
            audited=audited,
        )


async def _write(server: Server, customers: int) -> None:
    """Have every customer write once."""
    order = {
        "port": server.port,
        "first": 0,
        "count": customers,
        "customers": customers,
        "connections": CONNECTIONS,
        "per_second": 0,
    }
    said = await children.done("load", order, LOAD_SECONDS_MAX)
    assert said["statuses"] == {"200": customers}, said


async def _come_back(
    server: Server, wati: FakeWati, clock: Clock, waiting: int
) -> tuple[float, float, float]:
    """Start, and return after how many seconds it served, replied, and had every deadline armed."""
    made_at = clock.now()
    await server.start()
    await server.serving()
    serving_seconds = _since(made_at, clock.now())
    armed_seconds = None
    async with asyncio.timeout(RECOVERY_SECONDS_MAX):
        while armed_seconds is None or _first_right(wati) is None:
            page = await server.metrics()
            if page["relevo_timers_pending"] - page["relevo_turns_open"] >= waiting:
                armed_seconds = armed_seconds or _since(made_at, clock.now())
            await asyncio.sleep(LOOK_SECONDS)
    first_right_at = _first_right(wati)
    assert first_right_at is not None
    return serving_seconds, _since(made_at, first_right_at), armed_seconds


def _since(then: datetime, now: datetime) -> float:
    return (now - then).total_seconds()


def _first_right(wati: FakeWati) -> datetime | None:
    return next((sent.at for sent in wati.sends if _is_right(sent.address, sent.text)), None)


async def _answer_all(site: Site, outsides: Outsides, customers: int) -> None:
    """Let a life in which every burst ends at once answer everybody."""
    server = Server(site, replace(outsides, quiet_seconds=0.1))
    try:
        await server.start()
        await server.serving()
        async with asyncio.timeout(ANSWER_SECONDS_MAX), site.database() as connection:
            await until(connection, ENDED, customers)
        await server.stop(STOP_SECONDS_MAX)
    finally:
        await server.close()


def _is_right(phone: str, reply: str) -> bool:
    """Tell whether a customer was answered what it wrote: its first message, and nothing else."""
    return answers(reply, bodies.text(bodies.customer(phone)))
