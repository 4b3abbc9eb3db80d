"""The proxy does what it says: to bytes, to one direction of them, and from when it is told."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.fault_proxy import Fault, FaultProxy

SECONDS_MAX = 5
QUESTION = b"who is there?"


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that says what it hears; it tells its port, and what it has heard."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65_536):
            heard.append(piece)
            writer.write(piece)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], heard


@pytest.fixture
async def server() -> AsyncIterator[tuple[int, list[bytes]]]:
    async with echo() as server:
        yield server


@pytest.fixture
async def proxy(server: tuple[int, list[bytes]]) -> AsyncIterator[FaultProxy]:
    async with FaultProxy("127.0.0.1", server[0]) as proxy:
        yield proxy


class Client:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, question: bytes = QUESTION) -> bytes:
        """Say something, and return what comes back."""
        self.writer.write(question)
        return await self.rest()

    async def rest(self) -> bytes:
        """Return what comes next; nothing: it was closed."""
        async with asyncio.timeout(SECONDS_MAX):
            return await self._reader.read(65_536)


class Clients:
    """The clients of one test; they hang up in its end."""

    def __init__(self) -> None:
        self._all: list[Client] = []

    async def connect(self, proxy: FaultProxy) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
        self._all.append(client)
        return client

    def hang_up(self) -> None:
        for client in self._all:
            client.writer.close()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    clients.hang_up()


async def test_without_a_fault_everything_passes(proxy: FaultProxy, clients: Clients) -> None:
    client = await clients.connect(proxy)
    assert await client.ask() == QUESTION
    assert await client.ask(b"x" * 1000) == b"x" * 1000


async def test_latency_is_added_to_each_answer_and_ends_when_it_is_lifted(
    proxy: FaultProxy, clients: Clients
) -> None:
    client, loop = await clients.connect(proxy), asyncio.get_running_loop()
    proxy.befall(answers=Fault(latency_seconds=0.2))
    asked_at = loop.time()
    assert await client.ask() == QUESTION
    assert loop.time() - asked_at >= 0.2
    proxy.befall()
    asked_at = loop.time()
    assert await client.ask() == QUESTION
    assert loop.time() - asked_at < 0.2


async def test_a_reset_is_a_reset_and_the_next_connection_is_well(
    proxy: FaultProxy, clients: Clients
) -> None:
    client = await clients.connect(proxy)
    proxy.befall(answers=Fault(passes_bytes=0, resets=True))
    with pytest.raises(ConnectionResetError):
        await client.ask()
    proxy.befall()
    assert await (await clients.connect(proxy)).ask() == QUESTION


@pytest.mark.parametrize("way", ["requests", "answers"])
async def test_a_cut_lets_exactly_so_many_bytes_through_on_the_way_it_is_on(
    way: str, proxy: FaultProxy, server: tuple[int, list[bytes]], clients: Clients
) -> None:
    client = await clients.connect(proxy)
    assert await client.ask() == QUESTION
    proxy.befall(**{way: Fault(passes_bytes=5)})
    answer = await client.ask()
    assert answer == (QUESTION[:5] if way == "answers" else b"")
    assert server[1] == [QUESTION, QUESTION[:5] if way == "requests" else QUESTION]
    assert proxy.cuts == 1


async def test_a_black_hole_takes_everything_and_tells_nobody(
    proxy: FaultProxy, clients: Clients
) -> None:
    client = await clients.connect(proxy)
    proxy.befall(requests=Fault(swallows=True))
    asking = asyncio.gather(client.ask())
    while proxy.swallowed_bytes < len(QUESTION):
        await asyncio.wait([asking], timeout=0.01)
    assert not asking.done()
    proxy.befall()
    [answer] = await asking
    assert answer == b"", "what was swallowed is not made up for: the connection is cut"
    assert await (await clients.connect(proxy)).ask() == QUESTION


async def test_a_slow_close_is_heard_of_later(proxy: FaultProxy, clients: Clients) -> None:
    client, loop = await clients.connect(proxy), asyncio.get_running_loop()
    assert await client.ask() == QUESTION
    proxy.befall(answers=Fault(close_seconds=0.2))
    closed_at = loop.time()
    client.writer.write_eof()
    assert await client.rest() == b""
    assert loop.time() - closed_at >= 0.2


async def test_a_fault_may_wait_for_words_and_befall_one_connection_only(
    proxy: FaultProxy, clients: Clients
) -> None:
    client = await clients.connect(proxy)
    proxy.befall(answers=Fault(after=b"COMMIT", passes_bytes=0, times=1))
    assert await client.ask(b"INSERT") == b"INSERT"
    assert await client.ask(b"COMMIT") == b""
    assert await (await clients.connect(proxy)).ask(b"COMMIT") == b"COMMIT"
    assert proxy.cuts == 1


async def test_the_same_seed_befalls_the_same_connections(clients: Clients) -> None:
    async def befallen(seed: int) -> list[bool]:
        async with echo() as (port, _), FaultProxy("127.0.0.1", port, random.Random(seed)) as proxy:
            proxy.befall(answers=Fault(passes_bytes=0, probability=0.5))
            return [await (await clients.connect(proxy)).ask() == b"" for _ in range(20)]

    first = await befallen(7)
    assert await befallen(7) == first
    assert set(first) == {True, False}


async def test_a_server_that_is_not_there_is_a_reset(unused: int, clients: Clients) -> None:
    async with FaultProxy("127.0.0.1", unused) as proxy:
        with pytest.raises(ConnectionResetError):
            await (await clients.connect(proxy)).ask()


@pytest.fixture
async def unused() -> int:
    async with echo() as (port, _):
        return port
