"""The network between Relevo and what it lives on fails in every way: one reply, a bounded number
of calls, and all is well once it is well again.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.fault_proxy import Fault, FaultProxy, before_database, before_server
from tests.house import House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
FIRST, SECOND = "Hola, ¿tienen habitación?", "¿Y con desayuno?"
STUCK_SECONDS = 0.05
"""A call that has not moved for so long in real time: only its time-out can go on."""
STORE_STUCK_SECONDS = 1.0
"""The same for a database that is well, and may just be slow."""

AI_CALLS_MAX = 12
PROVIDER_CALLS_MAX = 60
"""Two sends, a recall, and for each send a look every 10 s for 120 s. A look may be two requests,
for aiohttp asks again where the connection of a read breaks.
"""

FAULTS = {
    "latency": {"answers": Fault(latency_seconds=0.05)},
    "reset before the answer": {"answers": Fault(passes_bytes=0, resets=True)},
    "black hole": {"requests": Fault(swallows=True)},
    "slow close in the middle": {"answers": Fault(passes_bytes=40, close_seconds=0.1)},
    "cut within the answer": {"answers": Fault(passes_bytes=40)},
    "every other connection": {"answers": Fault(passes_bytes=40, probability=0.5)},
}
each_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


@dataclass(frozen=True, slots=True)
class Ways:
    """The proxies on Relevo's three ways out."""

    database: FaultProxy
    provider: FaultProxy
    ai: FaultProxy


@pytest.fixture
async def built(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[tuple[House, Ways]]:
    async with (
        before_database(database) as (urls, to_database),
        House(urls, tmp_path, NOON) as house,
    ):
        await house.stop()
        house.ai.before_answer = lambda body: repeat(house, body)
        house.assistant["timeout_seconds"] = "1"
        async with (
            before_server(house.wati.base_url) as (house.wati.base_url, to_provider),
            before_server(house.ai.base_url) as (house.ai.base_url, to_ai),
        ):
            await house.start()
            yield house, Ways(to_database, to_provider, to_ai)
            await house.stop()


async def repeat(house: House, body: Mapping[str, Any]) -> None:
    """The AI repeats what it is told of the customer."""
    told = [item["content"] for item in body["input"] if item["role"] == "user"]
    house.ai.answers.append(" / ".join(told))


@each_fault
async def test_between_relevo_and_the_ai(
    fault: dict[str, Fault], built: tuple[House, Ways]
) -> None:
    house, ways = built
    await say(house, FIRST)
    ways.ai.befall(**fault)
    await play(house, minutes=10)
    assert house.ai.responses <= AI_CALLS_MAX
    assert ways.ai.connections <= AI_CALLS_MAX
    calls = ways.ai.connections
    await play(house, minutes=10)
    assert ways.ai.connections == calls, "what is given up is not tried for ever"
    ways.ai.befall()
    await expect_both_answered_once(house)


@each_fault
async def test_between_relevo_and_the_provider(
    fault: dict[str, Fault], built: tuple[House, Ways]
) -> None:
    house, ways = built
    await say(house, FIRST)
    ways.provider.befall(**fault)
    await play(house, minutes=2)
    assert len(house.wati.sends) <= 1
    assert ways.provider.connections <= PROVIDER_CALLS_MAX
    ways.provider.befall()
    await expect_both_answered_once(house)


@pytest.mark.parametrize("way", ["requests", "answers"])
async def test_a_provider_that_is_never_heard_again_is_sent_to_once_more_and_given_up(
    way: str, built: tuple[House, Ways]
) -> None:
    """Where nobody can be asked for 120 s, there is one guarded re-send, and it is counted."""
    house, ways = built
    await say(house, FIRST)
    ways.provider.befall(**{way: Fault(passes_bytes=0, resets=True)})
    await play(house, minutes=10)
    assert len(house.wati.sends) == (2 if way == "answers" else 0)
    assert [row["resent"] for row in await house.rows("SELECT resent FROM outbox")] == [True]
    [turn] = await house.why(PHONE)
    assert (turn["outcome"], turn["reason"]) == ("failed", "send_unknown")
    calls = ways.provider.connections
    assert calls <= PROVIDER_CALLS_MAX
    await play(house, minutes=10)
    assert ways.provider.connections == calls


@each_fault
async def test_between_relevo_and_the_database(
    fault: dict[str, Fault], built: tuple[House, Ways]
) -> None:
    """Whoever gets no 200 repeats it, as providers do; whoever got one is answered."""
    house, ways = built
    ways.database.befall(**fault)
    said = house.wati.customer_message(PHONE, FIRST, house.clock.now())
    posting = asyncio.gather(house.post(said.webhook()))
    await asyncio.wait([posting], timeout=0.5)
    ways.database.befall()
    [status] = await posting
    assert status in {200, 503}
    while status != 200:
        status = await house.post(said.webhook())
    await house.advance(34)
    ways.database.befall(**fault)
    await play(house, minutes=1, store_seconds=STUCK_SECONDS)
    ways.database.befall()
    await expect_both_answered_once(house)


async def say(house: House, text: str) -> None:
    said = house.wati.customer_message(PHONE, text, house.clock.now())
    assert await house.post(said.webhook()) == 200


async def expect_both_answered_once(house: House) -> None:
    await say(house, SECOND)
    await play(house, minutes=5)
    replies = " / ".join(house.wati.texts_to(PHONE))
    assert sorted(replies.split(" / ")) == sorted([FIRST, SECOND])
    assert (await house.audit()).sound
    assert await house.rows("SELECT FROM turn WHERE stage <> 'ended'") == []


async def play(house: House, minutes: float, store_seconds: float = STORE_STUCK_SECONDS) -> None:
    """Let time pass, from alarm to alarm, each only when nothing moves without it."""
    ends_at = house.clock.now() + timedelta(minutes=minutes)
    while True:
        await at_rest(house, store_seconds)
        due = house.clock.next_alarm_at
        if due is None or due > ends_at:
            break
        house.clock.advance_to(due)
    house.clock.advance_to(ends_at)
    await at_rest(house, store_seconds)


async def at_rest(house: House, store_seconds: float) -> None:
    """Wait until nothing is under way, or nothing of it has moved for a while in real time."""
    supervisor, loop = house.relevo.supervisor, asyncio.get_running_loop()
    seen, since, bound_seconds = None, loop.time(), store_seconds
    while loop.time() - since < bound_seconds:
        now = (supervisor.settled, supervisor.performer.in_flight, moved(house))
        if now[:2] == (True, 0):
            return
        if now != seen:
            seen, since = now, loop.time()
            bound_seconds = STUCK_SECONDS if supervisor.settled else store_seconds
        await asyncio.wait([loop.create_future()], timeout=0.002)


def moved(house: House) -> tuple[int, ...]:
    return house.ai.responses, len(house.wati.sends), len(house.wati.asked)
