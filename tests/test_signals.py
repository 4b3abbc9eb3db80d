"""The real process is told to stop: politely, impatiently, while everything it needs hangs."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest

from relevo.clock import SystemClock
from relevo.commands.signals import EXIT_SECONDS_MAX
from relevo.store.embedded import DatabaseUrls
from tests.fakes.openai import FakeOpenAI
from tests.fakes.wati import FakeWati
from tests.fault_proxy import Fault, before_database
from tests.house import KEY, SECRET, TOKEN
from tests.lives import CONFIGURATION, ROOT

pytestmark = [pytest.mark.process, pytest.mark.postgres]

PHONE = "50370000101"
TERMINATED = 128 + signal.SIGTERM

SCRIPT = """
import asyncio, os, signal
from relevo.commands.signals import Signals

async def main():
    signals = Signals({exit_seconds})
    signals.listen()
    os.kill(os.getpid(), signal.SIGTERM)
    await signals.first()
    print("heard", flush=True)
    while True:
        pass

asyncio.run(main())
"""


class Served:
    """A `relevo serve` of its own, with its provider and its AI."""

    def __init__(self, folder: Path, urls: DatabaseUrls) -> None:
        self.clock = SystemClock()
        self.wati = FakeWati(self.clock, token=TOKEN)
        self.ai = FakeOpenAI(KEY)
        self.asked = asyncio.Event()
        self.told: list[str] = []
        self.url = ""
        self._folder = folder
        self._urls = urls
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        path = self._folder / "relevo.toml"
        path.write_text(CONFIGURATION.format(ai=self.ai.base_url, wati=self.wati.base_url))
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relevo", "--config", path, "serve", "--no-migrate"),
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "RELEVO_SERVER_PORT": "0",
                "RELEVO_SERVER_METRICS_PORT": "0",
                "RELEVO_DATABASE_URL": self._urls.url,
                "WATI_TOKEN": TOKEN,
                "WATI_SECRET": SECRET,
                "OPENAI_KEY": KEY,
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )

    async def says(self, words: str) -> str:
        """Read what it says until a line has these words, and return that line."""
        assert self.process.stderr is not None
        while words not in (line := (await self.process.stderr.readline()).decode()):
            assert line, f"it never said {words!r}"
            self.told.append(line)
        self.told.append(line)
        return line

    async def serves(self) -> None:
        self.url = (await self.says("is serving on")).split()[-1]
        await self.says("metrics")

    async def exits(self, seconds: float = EXIT_SECONDS_MAX) -> int:
        """Return the exit code and keep everything else it said."""
        assert self.process.stderr is not None
        async with asyncio.timeout(seconds):
            rest = await self.process.stderr.read()
            self.told += rest.decode().splitlines(keepends=True)
            return await self.process.wait()

    async def post(self, text: str) -> int:
        body = self.wati.customer_message(PHONE, text, self.clock.now()).webhook()
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{self.url}/webhooks/line",
                data=orjson.dumps(body),
                headers={"X-Relevo-Secret": SECRET},
            ) as answer,
        ):
            return answer.status

    async def hang(self, _body: Mapping[str, Any]) -> None:
        """Be an AI that never answers."""
        self.asked.set()
        await asyncio.Event().wait()


@asynccontextmanager
async def served(folder: Path, urls: DatabaseUrls) -> AsyncIterator[Served]:
    one = Served(folder, urls)
    async with one.wati, one.ai:
        try:
            yield one
        finally:
            if one.process.returncode is None:
                one.process.kill()
            await one.process.communicate()


async def test_while_it_stops_it_is_not_ready_and_still_stores_and_a_second_signal_ends_it(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with served(tmp_path, database) as relevo, aiohttp.ClientSession() as session:
        relevo.ai.before_answer = relevo.hang
        await relevo.start()
        await relevo.serves()
        assert await relevo.post("Hola") == 200
        async with asyncio.timeout(20):
            await relevo.asked.wait()
        relevo.process.terminate()
        await relevo.says("is stopping")
        async with session.get(f"{relevo.url}/readyz") as ready:
            assert (ready.status, (await ready.json())["checks"]["serving"]) == (503, False)
        assert await relevo.post("¿Hola?") == 200
        relevo.process.terminate()
        assert await relevo.exits(5) == TERMINATED
        assert relevo.told[-1].startswith("Relevo stops at once; the next start goes on")
    owner = await asyncpg.connect(database.owner_url)
    try:
        assert await owner.fetchval("SELECT count(*) FROM message") == 2
    finally:
        await owner.close()


async def test_nothing_under_way_is_nothing_to_wait_for(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with served(tmp_path, database) as relevo:
        await relevo.start()
        await relevo.serves()
        relevo.process.send_signal(signal.SIGINT)
        assert await relevo.exits(5) == 0
        assert [line for line in relevo.told if "Traceback" in line or "given up" in line] == []


async def test_a_database_that_went_silent_and_an_ai_that_hangs_hold_nobody_up(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with before_database(database) as (urls, network), served(tmp_path, urls) as relevo:
        relevo.ai.before_answer = relevo.hang
        await relevo.start()
        await relevo.serves()
        assert await relevo.post("Hola") == 200
        async with asyncio.timeout(20):
            await relevo.asked.wait()
        network.befall(requests=Fault(swallows=True), answers=Fault(swallows=True))
        relevo.process.terminate()
        assert await relevo.exits() == 0
        assert "Traceback" not in "".join(relevo.told)


async def test_it_stops_before_it_has_started(database: DatabaseUrls, tmp_path: Path) -> None:
    async with before_database(database) as (urls, network), served(tmp_path, urls) as relevo:
        network.befall(requests=Fault(swallows=True))
        reached = network.connections
        await relevo.start()
        async with asyncio.timeout(20):
            while network.connections == reached:
                await asyncio.to_thread(lambda: None)
        relevo.process.terminate()
        assert await relevo.exits(10) == 0
        assert relevo.told == ["Relevo stops before it has started\n"]


@pytest.mark.parametrize(
    ("exit_seconds", "signals", "code", "why"),
    [
        (60, 1, TERMINATED, b"Relevo stops at once"),
        (0.2, 0, 0, b"Relevo gave up waiting"),
    ],
    ids=["a_second_signal", "the_last_resort"],
)
async def test_a_loop_that_is_blocked_cannot_hold_up_the_end(
    exit_seconds: float, signals: int, code: int, why: bytes
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT.format(exit_seconds=exit_seconds)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"heard\n"
    for _ in range(signals):
        process.terminate()
    async with asyncio.timeout(10):
        _, told = await process.communicate()
    assert process.returncode == code
    assert told.startswith(why)
