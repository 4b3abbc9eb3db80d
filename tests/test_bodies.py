"""Bodies are read within bounds, however they come: whole, in pieces, too slow, too many."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from aiohttp import web

from relevo.http.bodies import BODY_BYTES_MAX, BODY_SECONDS_MAX, Bodies, TooMuchError
from relevo.http.encodings import TooLargeError
from tests.fakes.clock import ManualClock, until
from tests.store_rig import NOON

HALF_READ_BYTES_MAX = 1_000_000


@dataclass
class Counter:
    """Where bodies are handed in, and how each of them came."""

    clock: ManualClock
    bodies: Bodies
    outcomes: list[bytes | str] = field(default_factory=list)
    reading: int = 0
    host: str = ""
    port: int = 0

    async def take(self, request: web.Request) -> web.Response:
        self.reading += 1
        try:
            self.outcomes.append(await self.bodies.read(request))
        except (TooLargeError, TooMuchError, TimeoutError) as error:
            self.outcomes.append(type(error).__name__)
        finally:
            self.reading -= 1
        return web.Response()

    async def send(self, head: bytes, *pieces: bytes) -> asyncio.StreamWriter:
        """Send a request as it stands, piece by piece; it may be only the beginning of one."""
        _, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: relevo\r\n" + head + b"\r\n\r\n")
        for piece in pieces:
            await writer.drain()
            writer.write(piece)
        return writer


@pytest.fixture
async def counter() -> AsyncIterator[Counter]:
    clock = ManualClock(NOON)
    counter = Counter(clock, Bodies(clock, HALF_READ_BYTES_MAX))
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/", counter.take)
    runner = web.AppRunner(app)  # which, like the product's, cancels nobody whose sender hangs up
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, reuse_address=True).start()
    counter.host, counter.port = runner.addresses[0][:2]
    yield counter
    await runner.cleanup()


def length(count: int) -> bytes:
    return b"Content-Length: %d" % count


async def test_a_body_is_the_same_whole_and_in_pieces(counter: Counter) -> None:
    writers = [
        await counter.send(length(4), b"hola"),
        await counter.send(length(4), b"ho"),
        await counter.send(b"Transfer-Encoding: chunked", b"2\r\nho\r\n"),
        await counter.send(length(0)),
    ]
    await until(lambda: counter.reading == 2)
    writers[1].write(b"la")
    writers[2].write(b"2\r\nla\r\n0\r\n\r\n")
    await until(lambda: len(counter.outcomes) == 4)
    assert sorted(map(str, counter.outcomes)) == ["b''", *["b'hola'"] * 3]
    assert counter.bodies.half_read_bytes == 0
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("head", [length(BODY_BYTES_MAX + 1), b"Transfer-Encoding: chunked"])
async def test_a_body_that_is_too_large_is_not_read_to_its_end(
    counter: Counter, head: bytes
) -> None:
    counter.bodies = Bodies(counter.clock)
    piece = b"x" * 65_536
    if b"chunked" in head:
        piece = b"10000\r\n" + piece + b"\r\n"
    writer = await counter.send(head, *[piece] * 64, piece)
    await until(lambda: counter.outcomes == ["TooLargeError"])
    assert counter.bodies.half_read_bytes == 0
    writer.close()


async def test_a_body_whose_rest_does_not_come_is_given_up(counter: Counter) -> None:
    writer = await counter.send(length(100), b"only this")
    await until(lambda: counter.bodies.half_read_bytes == 9)
    counter.clock.advance_to(NOON + timedelta(seconds=BODY_SECONDS_MAX))
    await until(lambda: counter.outcomes == ["TimeoutError"])
    assert counter.bodies.half_read_bytes == 0
    writer.close()


async def test_what_is_half_read_is_bounded_and_small_bodies_pass_all_the_same(
    counter: Counter,
) -> None:
    half = b"x" * (HALF_READ_BYTES_MAX // 2)
    first = await counter.send(length(len(half) + 1), half)
    await until(lambda: counter.bodies.half_read_bytes == len(half))
    second = await counter.send(length(2 * len(half)), half, half[:-1])
    await until(lambda: counter.outcomes == ["TooMuchError"])
    assert counter.bodies.half_read_bytes == len(half)
    small = await counter.send(length(4), b"hola")
    await until(lambda: counter.outcomes[1:] == [b"hola"])
    first.write(b"y")
    await until(lambda: counter.outcomes[2:] == [half + b"y"])
    for writer in (first, second, small):
        writer.close()


async def test_who_goes_away_in_the_middle_leaves_nothing_behind(counter: Counter) -> None:
    writer = await counter.send(length(100), b"only this")
    await until(lambda: counter.bodies.half_read_bytes == 9)
    writer.transport.abort()
    await until(lambda: counter.reading == 0)
    assert counter.bodies.half_read_bytes == 0
    assert counter.outcomes == ["TimeoutError"]
