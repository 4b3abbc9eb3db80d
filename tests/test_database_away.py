"""The database goes away and comes back: nothing is acknowledged meanwhile, nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson
import pytest

from relevo.store.embedded import DatabaseUrls
from tests.fakes.clock import until
from tests.fakes.wati import Sending
from tests.house import SECRET, House
from tests.postgres import Cluster
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
LOOKS_MAX = 5000
RETRIES_WITHIN = timedelta(seconds=5)
"""Whoever waits for the database looks again within this; everything else waits for longer."""

Under = Callable[[House], Awaitable[None]]


class Door:
    """Shuts everyone out of one database of the shared server, and lets them in again."""

    def __init__(self, cluster: Cluster, database: DatabaseUrls) -> None:
        self._cluster = cluster
        self._name = urlsplit(database.url).path[1:]

    async def cut(self) -> None:
        """Break every connection there is."""
        await self._run(
            self._cluster.urls.url,
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            f" WHERE datname = '{self._name}' AND backend_type = 'client backend'",
        )

    async def shut(self) -> None:
        await self._allow("false")
        await self.cut()

    async def open(self) -> None:
        await self._allow("true")

    async def _allow(self, allowed: str) -> None:
        statement = f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS {allowed}"
        await self._run(self._cluster.urls.owner_url, statement)

    async def _run(self, url: str, statement: str) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON) as house:
        yield house


@pytest.fixture
async def door(cluster: Cluster, database: DatabaseUrls, house: House) -> AsyncIterator[Door]:
    door = Door(cluster, database)
    yield door
    await door.open()
    await recovered(house)


async def test_nothing_is_acknowledged_while_the_database_is_away(house: House, door: Door) -> None:
    body = orjson.dumps(house.wati.customer_message(PHONE, "Hola", NOON).webhook())
    await door.shut()
    for content in (body, b"{", b"[]"):
        async with post(house, content) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert await response.text() == "the database is away; nothing was stored"
    metrics = await house.metrics()
    assert metrics['relevo_webhook_requests_total{outcome="unavailable"}'] == 3
    assert metrics['relevo_webhook_requests_total{outcome="accepted"}'] == 0
    await door.open()
    assert await house.rows("SELECT FROM message") == []
    assert await house.rows("SELECT FROM quarantine") == []


async def test_readiness_goes_and_comes_back_and_life_stays(house: House, door: Door) -> None:
    assert await probed(house, "/readyz") == (
        200,
        {"serving": True, "database": True, "memory": True},
    )
    await door.shut()
    assert await probed(house, "/readyz") == (
        503,
        {"serving": True, "database": False, "memory": True},
    )
    async with house.session.get(f"{house.url}/livez") as response:
        assert response.status == 200
    await door.open()
    await recovered(house)
    assert await probed(house, "/readyz") == (
        200,
        {"serving": True, "database": True, "memory": True},
    )


async def test_who_says_ready_stores_what_comes(house: House, door: Door) -> None:
    await door.shut()
    await door.open()
    body = house.wati.customer_message(PHONE, "Hola", NOON).webhook()
    ready, _ = await probed(house, "/readyz")
    assert (ready, await house.post(body)) in {(200, 200), (503, 503)}
    await recovered(house)
    assert await house.post(body) == 200


async def test_what_comes_after_the_recovery_is_answered(house: House, door: Door) -> None:
    body = house.wati.customer_message(PHONE, "Hola", NOON).webhook()
    await door.shut()
    assert await house.post(body) == 503
    await door.open()
    await recovered(house)
    assert await house.post(body) == 200
    await house.advance(60)
    assert house.wati.texts_to(PHONE) == ["ok"]
    assert (await house.audit()).sound


async def asking_the_history(house: House) -> None:
    house.wati.history.hang = True
    house.clock.advance_to(house.clock.now().replace(minute=1))
    await until(lambda: house.wati.holding == 1)


async def asking_the_ai(house: House) -> None:
    async def think(_question: Any) -> None:
        await house.hold(4)

    house.ai.before_answer = think
    house.clock.advance_to(house.clock.now().replace(minute=1))
    await until(lambda: house.ai.holding == 1)


async def sending_the_reply(house: House) -> None:
    house.wati.send_next(Sending(recorded=True, hang=True))
    house.clock.advance_to(house.clock.now().replace(minute=1))
    await until(lambda: house.wati.holding == 1)


async def gathering(house: House) -> None:
    await house.quiet()


@pytest.mark.parametrize(
    "under_way", [gathering, asking_the_history, asking_the_ai, sending_the_reply]
)
async def test_a_turn_that_was_under_way_still_ends_in_one_reply(
    house: House, door: Door, under_way: Under
) -> None:
    assert await house.post(house.wati.customer_message(PHONE, "Hola", NOON).webhook()) == 200
    await house.quiet()
    await under_way(house)
    await door.shut()
    house.wati.history.hang = False
    house.wati.release()
    while house.ai.holding or house.wati.holding:
        try_again(house)
        assert (await probed(house, "/readyz"))[0] == 503
    for _ in range(8):
        try_again(house)
        assert (await probed(house, "/readyz"))[0] == 503
    await door.open()
    await recovered(house)
    await house.advance(200)
    [turn] = await house.why(PHONE)
    assert turn["outcome"] == "answered"
    assert len(house.wati.texts_to(PHONE)) == 1
    assert (await house.audit()).sound


async def test_broken_connections_cost_a_repetition_and_nothing_else(
    house: House, door: Door
) -> None:
    bodies = [
        house.wati.customer_message(f"503700{n:05}", f"Hola {n}", NOON).webhook() for n in range(40)
    ]
    posts = asyncio.gather(*(house.post(body) for body in bodies))
    await door.cut()
    statuses = await posts
    assert set(statuses) <= {200, 503}
    await recovered(house)
    kept = await house.rows("SELECT body FROM message")
    assert {f"Hola {n}" for n, status in enumerate(statuses) if status == 200} <= {
        row["body"] for row in kept
    }
    assert set(await asyncio.gather(*(house.post(body) for body in bodies))) == {200}
    assert len(await house.rows("SELECT FROM message")) == 40
    assert (await house.audit()).sound


def post(house: House, body: bytes) -> Any:
    headers = {"X-Relevo-Secret": SECRET}
    return house.session.post(f"{house.url}/webhooks/line", data=body, headers=headers)


async def probed(house: House, path: str) -> tuple[int, dict[str, bool]]:
    async with house.session.get(f"{house.url}{path}") as response:
        return response.status, (await response.json())["checks"]


async def recovered(house: House) -> None:
    """Wait until the server is ready and at rest; time passes only for who tries again."""
    supervisor = house.relevo.supervisor
    for _ in range(LOOKS_MAX):
        ready, _checks = await probed(house, "/readyz")
        if ready == 200 and supervisor.settled and not supervisor.performer.in_flight:
            return
        try_again(house)
    raise AssertionError("it does not recover by itself")


def try_again(house: House) -> None:
    now, due = house.clock.now(), house.clock.next_alarm_at
    if due is not None and due - now <= RETRIES_WITHIN:
        house.clock.advance_to(due)
