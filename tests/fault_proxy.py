"""A TCP proxy that does to connections what networks do; what it does is switched while it runs.

    async with FaultProxy("127.0.0.1", port) as proxy:
        proxy.befall(answers=Fault(latency_seconds=0.2))        # from now on, open connections too
        proxy.befall(requests=Fault(passes_bytes=100, resets=True, probability=0.5))
        proxy.befall(answers=Fault(after=b"COMMIT", passes_bytes=0, times=1))
        proxy.befall()                                          # the network is well again

Requests are what the client writes, answers what it reads. TCP itself loses nothing it has
promised, and neither does this: a connection whose bytes were swallowed is cut when that ends.
"""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlencode, urlsplit

from relevo.store.embedded import DatabaseUrls
from relevo.tasks import Tasks

PIECE_BYTES = 65_536
LINGER_NOT = struct.pack("ii", 1, 0)
"""A socket closed like this says RST instead of FIN."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls one direction of a connection. Without arguments: nothing."""

    latency_seconds: float = 0.0
    """So much later each piece is passed on."""
    swallows: bool = False
    """Black hole: whatever comes is taken and goes nowhere, and nobody is told."""
    passes_bytes: int | None = None
    """After so many more bytes the whole connection is cut."""
    resets: bool = False
    """It is cut by RST, not by FIN."""
    close_seconds: float = 0.0
    """So long the other side is not told that this one has closed."""
    after: bytes = b""
    """It befalls a connection only once a request of it has held this, in one piece."""
    probability: float = 1.0
    """Of befalling a connection, drawn once for each."""
    times: int | None = None
    """How many connections it befalls at most."""


NOTHING = Fault()


@dataclass(eq=False, slots=True)
class Way:
    """One direction of one connection, and what it has met."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    fault: Fault = NOTHING
    drawn: Fault | None = None
    """The fault that was in force when it was drawn whether it befalls this."""
    passed_bytes: int = 0


@dataclass(eq=False, slots=True)
class Link:
    """One connection: both of its ways."""

    requests: Way
    answers: Way
    heard: set[bytes] = field(default_factory=set)
    """The words of faults that its requests have held."""
    lost: bool = False
    """Bytes of it were swallowed, so nothing may follow them."""


class FaultProxy:
    """Passes connections on to one server; what befalls them is chosen by `befall`."""

    def __init__(
        self,
        host: str,
        port: int,
        chance: random.Random | None = None,
        bound: socket.socket | None = None,
    ) -> None:
        """`host` may be the folder of a PostgreSQL's socket; it listens on `bound` if given."""
        self._host = host
        self._target_port = port
        self._bound = bound
        self._chance = chance or random.Random(0)
        self._requests = self._answers = NOTHING
        self._links: set[Link] = set()
        self._tasks = Tasks(self._failed)
        self.failures: list[BaseException] = []
        """What this proxy itself has done wrong."""
        self._left: dict[Fault, int] = {}
        self._server: asyncio.Server | None = None
        self.connections = 0
        self.cuts = 0
        self.swallowed_bytes = 0

    async def __aenter__(self) -> Self:
        bound = self._bound or socket.create_server(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._connected, sock=bound)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._tasks.cancel()
        await self._server.wait_closed()
        if self.failures:
            raise self.failures[0]

    @property
    def port(self) -> int:
        assert self._server is not None, "enter first"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def befall(self, requests: Fault = NOTHING, answers: Fault = NOTHING) -> None:
        """Have this happen from now on, instead of what happened before."""
        self._requests, self._answers = requests, answers
        self._left = {f: f.times for f in (requests, answers) if f.times is not None}
        for link in list(self._links):
            if link.lost and not (requests.swallows or answers.swallows):
                self._cut(link, resets=False)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.spawn(self._serve(reader, writer), "connection")

    def _failed(self, error: BaseException) -> None:
        self.failures.append(error)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await self._reach()
        except OSError:
            _close(writer, resets=True)
            return
        link = Link(Way(reader, requests), Way(answers, writer))
        self._links.add(link)
        try:
            await asyncio.gather(self._ask(link), self._answer(link))
        except ConnectionError:
            self._cut(link, resets=True)  # as it came: whoever is left hears of it
        finally:
            self._links.discard(link)
            self._cut(link, resets=False)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._host.startswith("/"):
            path = f"{self._host}/.s.PGSQL.{self._target_port}"
            return await asyncio.open_unix_connection(path)
        return await asyncio.open_connection(self._host, self._target_port)

    async def _ask(self, link: Link) -> None:
        while piece := await link.requests.reader.read(PIECE_BYTES):
            link.heard |= {f.after for f in (self._requests, self._answers) if f.after in piece}
            if not await self._pass(link, link.requests, self._requests, piece):
                return
        await self._closed(link, link.requests, self._requests)

    async def _answer(self, link: Link) -> None:
        while piece := await link.answers.reader.read(PIECE_BYTES):
            if not await self._pass(link, link.answers, self._answers, piece):
                return
        await self._closed(link, link.answers, self._answers)

    async def _pass(self, link: Link, way: Way, fault: Fault, piece: bytes) -> bool:
        """Do to a piece what is to befall it; False: the connection is cut."""
        fault = self._met(link, way, fault)
        if fault.latency_seconds:
            await asyncio.sleep(fault.latency_seconds)
        if fault.swallows:
            self.swallowed_bytes += len(piece)
            link.lost = True
            return True
        if link.lost:
            self._cut(link, resets=False)
            return False
        if fault.passes_bytes is not None:
            piece = piece[: fault.passes_bytes - way.passed_bytes]
        way.passed_bytes += len(piece)
        way.writer.write(piece)
        await way.writer.drain()
        if fault.passes_bytes is not None and way.passed_bytes >= fault.passes_bytes:
            self.cuts += 1
            self._cut(link, resets=fault.resets)
            return False
        return True

    async def _closed(self, link: Link, way: Way, fault: Fault) -> None:
        await asyncio.sleep(self._met(link, way, fault).close_seconds)
        way.writer.close()

    def _met(self, link: Link, way: Way, fault: Fault) -> Fault:
        """Return what befalls this way now."""
        if fault.after not in link.heard and fault.after:
            return NOTHING
        if way.drawn is not fault:
            way.drawn, way.passed_bytes = fault, 0
            way.fault = fault if self._befalls(fault) else NOTHING
        return way.fault

    def _befalls(self, fault: Fault) -> bool:
        if self._left.get(fault, 1) == 0 or self._chance.random() >= fault.probability:
            return False
        if fault in self._left:
            self._left[fault] -= 1
        return True

    def _cut(self, link: Link, *, resets: bool) -> None:
        for way in (link.requests, link.answers):
            _close(way.writer, resets=resets)


def _close(writer: asyncio.StreamWriter, *, resets: bool) -> None:
    if not resets:
        writer.close()
        return
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() != -1 and raw.family != socket.AF_UNIX:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    writer.transport.abort()


@asynccontextmanager
async def before_database(
    urls: DatabaseUrls, chance: random.Random | None = None
) -> AsyncIterator[tuple[DatabaseUrls, FaultProxy]]:
    """Return urls whose server role works through a proxy; the owner's goes straight."""
    url = urlsplit(urls.url)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    async with FaultProxy(query["host"], int(query["port"]), chance) as proxy:
        here = {"host": "127.0.0.1", "port": proxy.port}
        through = url._replace(query=urlencode(query | here))
        yield DatabaseUrls(through.geturl(), urls.owner_url), proxy


@asynccontextmanager
async def before_server(
    base_url: str, chance: random.Random | None = None
) -> AsyncIterator[tuple[str, FaultProxy]]:
    """Return the base url that leads to a loopback HTTP server through a proxy."""
    url = urlsplit(base_url)
    assert url.hostname is not None
    assert url.port is not None
    async with FaultProxy(url.hostname, url.port, chance) as proxy:
        yield url._replace(netloc=f"127.0.0.1:{proxy.port}").geturl(), proxy
