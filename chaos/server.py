"""The server that is killed: one life after the other, always on the same ports."""

import asyncio
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson

from bench import bodies, children
from bench.rig import Outsides, configuration, environment
from relevo.clock import SystemClock
from relevo.store.embedded import DatabaseUrls, EmbeddedServer

QUERY_SECONDS_MAX = 30
REQUEST_SECONDS_MAX = 60
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Site:
    """Where a server lives; without urls it brings a PostgreSQL of its own, with fsync on."""

    folder: Path
    urls: DatabaseUrls | None = None

    @property
    def data_dir(self) -> Path:
        """Return the folder of its own PostgreSQL."""
        return self.folder / "data"

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """Connect as the owner, beside the server; its own PostgreSQL runs as long at least."""
        own = None if self.urls else EmbeddedServer(self.data_dir, SystemClock())
        urls = self.urls or await _started(own)
        connection = await asyncpg.connect(urls.owner_url, command_timeout=QUERY_SECONDS_MAX)
        try:
            yield connection
        finally:
            await connection.close()
            if own is not None:
                await own.stop()


class Server:
    """`relevo serve` at a site, started and ended as often as one likes."""

    def __init__(self, site: Site, outsides: Outsides, name: str = "relevo") -> None:
        """Servers of different names live at one site together."""
        self._config = site.folder / f"{name}.toml"
        self._config.write_text(configuration(outsides))
        self._port, self._metrics_port = _free_port(), _free_port()
        self._environ = environment(
            site.urls,
            server_port=self._port,
            server_metrics_port=self._metrics_port,
            database_data_dir=site.data_dir,
        )
        self._process: Process | None = None
        self._serves = False

    @property
    def port(self) -> int:
        """Return where webhooks are taken."""
        return self._port

    @property
    def webhooks(self) -> str:
        """Return the url of the line's webhooks."""
        return f"http://127.0.0.1:{self._port}{bodies.PATH}"

    @property
    def log(self) -> bytes:
        """Return what it has logged, in all lives."""
        return self._config.with_suffix(".log").read_bytes()

    async def start(self) -> None:
        """Begin a life; it serves a little later."""
        self._serves = False
        self._process = await children.started(self._config, self._environ)

    async def serving(self) -> None:
        """Wait until it serves.

        Raises:
            ChildFailedError: if it ends instead, with what it said.
        """
        assert self._process is not None
        if not self._serves:
            await children.port_of(self._process)
            self._serves = True

    async def kill(self) -> None:
        """End its life as the kernel does."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        await self._process.communicate()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP freezes it, SIGCONT wakes it."""
        assert self._process is not None
        assert self._process.returncode is None, "it died by itself"
        self._process.send_signal(number)

    async def stop(self, seconds_max: float) -> tuple[int | None, float]:
        """Tell it to stop; return its exit code, None after so many seconds, and how long it took.

        Whatever does not stop is killed.
        """
        assert self._process is not None
        clock = SystemClock()
        asked_at = clock.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds_max):
                await self._process.communicate()
        except TimeoutError:
            await self.kill()
            return None, seconds_max
        return self._process.returncode, clock.monotonic() - asked_at

    async def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None:
            if self._process.returncode is None:
                self.signal(signal.SIGCONT)
            await children.ended(self._process)

    async def post(self, body: object) -> int:
        """Deliver a webhook once, and return how it was answered; 0: not at all."""
        headers = {"X-Relevo-Secret": bodies.SECRET}
        return await _status("POST", self.webhooks, data=orjson.dumps(body), headers=headers)

    async def ready(self) -> int:
        """Return the status of its readiness; 0: it does not answer."""
        return await _status("GET", f"http://127.0.0.1:{self._port}/readyz")

    async def ask(self, command: str) -> tuple[int, bytes]:
        """Run another command with the same configuration; return its exit code and its words."""
        process = await asyncio.create_subprocess_exec(
            *children.relevo_command(self._config, command),
            stdout=asyncio.subprocess.PIPE,
            cwd=children.ROOT,
            env=self._environ,
        )
        said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said

    async def metrics(self) -> Mapping[str, float]:
        """Return the metrics page's samples by their whole name; none while it is not there."""
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                lines = (await response.text()).splitlines()
        except aiohttp.ClientError:
            return {}
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


async def until(connection: asyncpg.Connection, statement: str, *arguments: object) -> None:
    """Wait until a question to the database is answered with true."""
    while not await connection.fetchval(statement, *arguments):  # noqa: ASYNC110  (nobody tells)
        await asyncio.sleep(LOOK_SECONDS)


async def until_so(condition: Callable[[], bool | Awaitable[bool]], seconds_max: float) -> None:
    """Wait until something is so that nobody tells us of."""
    async with asyncio.timeout(seconds_max):
        while not (so if isinstance(so := condition(), bool) else await so):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)


async def _status(method: str, url: str, **request: Any) -> int:
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, **request) as answer,
        ):
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


async def _started(server: EmbeddedServer | None) -> DatabaseUrls:
    assert server is not None
    return await server.start(watch=False, make=False)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
