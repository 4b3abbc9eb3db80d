"""The whole product in a test: real PostgreSQL, real sockets, fake outsides, a clock that waits."""

import asyncio
import io
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import aiohttp
import asyncpg
import orjson

from relevo.actors.ports import Probe
from relevo.actors.supervisor import Bounds, Supervisor
from relevo.app import Options, Relevo
from relevo.config import load
from relevo.http.api_limits import Limits
from relevo.settings import Config
from relevo.store.embedded import DatabaseUrls
from relevo.store.inspection import Balance, audit, why
from tests.fakes.clock import ManualClock, until
from tests.fakes.openai import FakeOpenAI
from tests.fakes.wati import FakeWati

SECRET = "a-made-up-webhook-secret"
TOKEN = "wati-token"
KEY = "a-made-up-key"
NEVER = 10_000_000.0

DRAIN_PASSES = 50
"""Turns of the loop between two looks of a drain: real sockets need some, at any time."""

DRAIN_LOOKS_EVERY = timedelta(seconds=0.05)


class House:
    """Relevo with one WATI line, its provider, its AI and its database.

    `advance_to` moves the clock from alarm to alarm and lets everything come to rest at each.
    """

    def __init__(self, urls: DatabaseUrls, folder: Path, start: datetime, **settings: Any) -> None:
        self.urls = urls
        self.folder = folder
        self.clock = ManualClock(start)
        self.wati = FakeWati(self.clock, token=TOKEN)
        self.ai = FakeOpenAI(KEY)
        self.settings = settings
        self.assistant: dict[str, str] = {}
        self.more_configuration = ""
        self.bounds = Bounds(sweep_seconds=NEVER, idle_seconds=NEVER)
        self.api_limits = Limits()
        self.observe: Callable[[Probe], Probe] = lambda probe: probe
        self.logs = io.BytesIO()
        self._stack = AsyncExitStack()
        self._relevo: Relevo | None = None
        self._held = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())
        await self._stack.enter_async_context(self.wati)
        await self._stack.enter_async_context(self.ai)
        self._stack.push_async_callback(self.stop)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.wati.release()
        await self._stack.aclose()

    @property
    def relevo(self) -> Relevo:
        assert self._relevo is not None, "stopped"
        return self._relevo

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.relevo.port}"

    async def start(self) -> None:
        """Start a process; after `stop`, another one on the same database."""
        options = Options(
            migrate=False,
            clock=self.clock,
            bounds=self.bounds,
            api_limits=self.api_limits,
            observe=self.observe,
            log_stream=self.logs,
        )
        self._relevo = Relevo(self.config(), options)
        await self._relevo.start()

    async def stop(self) -> None:
        """Stop the process. Time passes only as far as its drain has something to wait for."""
        if self._relevo is None:
            return
        relevo, self._relevo = self._relevo, None
        stopping = asyncio.gather(relevo.stop())
        drain_ends_at: datetime | None = None
        while not stopping.done():
            for _ in range(DRAIN_PASSES):
                await asyncio.sleep(0)
            if not stopping.done() and relevo.supervisor.draining:
                bound = timedelta(seconds=self.bounds.drain_seconds)
                drain_ends_at = drain_ends_at or self.clock.now() + bound
                self._let_drain_wait(relevo.supervisor, drain_ends_at)
        await stopping

    def config(self) -> Config:
        environ = {
            "RELEVO_SERVER_PORT": "0",
            "RELEVO_SERVER_METRICS_PORT": "0",
            "RELEVO_DATABASE_URL": self.urls.url,
            "RELEVO_DATABASE_OWNER_URL": self.urls.owner_url,
            "WATI_TOKEN": TOKEN,
            "WATI_SECRET": SECRET,
            "OPENAI_KEY": KEY,
        }
        return load(self._file(), environ)

    async def post(self, body: Any, *, secret: str | None = SECRET, channel: str = "line") -> int:
        """Deliver a webhook and return the status it was answered with."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {"X-Relevo-Secret": secret} if secret is not None else {}
        url = f"{self.url}/webhooks/{channel}"
        async with self.session.post(url, data=raw, headers=headers) as response:
            await response.read()
            return response.status

    async def quiet(self) -> None:
        """Wait until nothing moves but what waits for the clock or is held outside."""
        await until(self._is_quiet)

    async def hold(self, seconds: float) -> None:
        """Keep an outside request waiting; it is under way again the instant its time has come."""
        released = asyncio.get_running_loop().create_future()
        self._held += 1

        def release() -> None:
            self._held -= 1
            released.set_result(None)

        self.clock.call_at(self.clock.now() + timedelta(seconds=seconds), release)
        await released

    async def advance_to(self, when: datetime) -> None:
        await self.quiet()
        while (due := self.clock.next_alarm_at) is not None and due <= when:
            self.clock.advance_to(due)
            await self.quiet()
        self.clock.advance_to(when)
        await self.quiet()

    async def advance(self, seconds: float) -> None:
        await self.advance_to(self.clock.now() + timedelta(seconds=seconds))

    async def why(self, phone: str) -> list[dict[str, Any]]:
        """Return the customer's turns, oldest first, as `relevo why --json` has them."""
        found = await self.conversations(phone)
        return [turn for conversation in found for turn in reversed(conversation["turns"])]

    async def conversations(self, phone: str) -> list[dict[str, Any]]:
        database = self.relevo.database
        return await why(database.pools, "hotel", phone, "SV")

    async def audit(self) -> Balance:
        return next(b for b in await audit(self.urls.owner_url) if b.business_id == "hotel")

    async def know(self, phone: str, tags: list[str]) -> None:
        """Have a customer with tags from before, as the API will one day set them."""
        [row] = await self.rows(
            "INSERT INTO conversation (business_id, canonical_key, tags, created_at)"
            " VALUES ('hotel', $1, $2, $3) RETURNING id",
            f"phone:hotel:+{phone}",
            tags,
            self.clock.now(),
        )
        await self.rows(
            "INSERT INTO address VALUES ('hotel', 'phone', '', $1, $2)", f"+{phone}", row["id"]
        )

    async def rows(self, statement: str, *arguments: Any) -> list[Any]:
        """Ask the database as its owner."""
        connection = await asyncpg.connect(self.urls.owner_url)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    async def metrics(self) -> dict[str, float]:
        """Return the metrics port's samples, by their whole name."""
        url = f"http://127.0.0.1:{self.relevo.metrics_port}/metrics"
        async with self.session.get(url) as response:
            lines = (await response.text()).splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def _let_drain_wait(self, supervisor: Supervisor, ends_at: datetime) -> None:
        """Move the clock on to when a drain looks again; it sleeps on this clock.

        Also if nothing is left by now: it may have looked before that, and be asleep.
        """
        if supervisor.settled and not supervisor.performer.in_flight:
            ends_at = min(ends_at, self.clock.now() + DRAIN_LOOKS_EVERY)
        due = self.clock.next_alarm_at
        if due is not None and due <= ends_at:
            self.clock.advance_to(due)

    def _is_quiet(self) -> bool:
        supervisor = self.relevo.supervisor
        held = self.wati.holding + self._held
        merger, schedule = self.relevo.merger, self.relevo.schedule
        if (merger is not None and merger.busy) or (schedule is not None and not schedule.at_rest):
            return False
        return supervisor.settled and supervisor.performer.in_flight <= held

    def _file(self) -> Path:
        assistant = {
            "kind": "openai",
            "base_url": f"{self.ai.base_url}",
            "api_key_env": "OPENAI_KEY",
            "model": "made-up-model",
            **self.assistant,
        }
        line = {
            "id": "line",
            "business": "hotel",
            "kind": "wati",
            "base_url": self.wati.base_url,
            "token_env": "WATI_TOKEN",
            "webhook_secret_env": "WATI_SECRET",
        }
        business = {"id": "hotel", "region": "SV", **self.settings}
        path = self.folder / "relevo.toml"
        path.write_text(
            f"[assistant]\n{_toml(assistant)}\n[[business]]\n{_toml(business)}\n"
            f"[[channel]]\n{_toml(line)}\n{self.more_configuration}"
        )
        return path


def _toml(table: dict[str, Any]) -> str:
    return "\n".join(f"{key} = {_value(value)}" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    return orjson.dumps(value).decode()
