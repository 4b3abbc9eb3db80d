"""Two processes on one database: one is frozen in the middle of a send, and wakes up much later.

The other one takes over when the send's deadline has passed. However far the request had come, the
customer has one reply in the end:

* taken: the provider has it, and its answer waits in the frozen process's socket.
* swallowed: the request is on its way, and never arrives.
* connecting: the connection is asked for; it stands while the process sleeps, so the process wakes
  up with a way to the provider before it and the other's reply behind it.
"""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bench import bodies
from bench.rig import Outsides
from chaos.loop import RULES, STOP_SECONDS_MAX
from chaos.outsides import answers, provider_and_ai
from chaos.server import Server, Site, until, until_so
from relevo.clock import SystemClock
from tests.fakes.wati import FakeWati
from tests.fault_proxy import Fault, FaultProxy, before_server

How = Literal["taken", "swallowed", "connecting"]

QUIET_SECONDS = 0.3
FIRST, SECOND = "Hola, ¿tienen habitación?", "Perfecto, gracias"
TAKE_OVER_SECONDS_MAX = 60
"""20 s until the send's deadline, and what it takes to look."""

ENDED = "SELECT count(*) = 1 FROM turn WHERE outcome = 'answered'"


@dataclass(frozen=True, slots=True)
class Woken:
    """What the customer got, and whether the processes and the books were well in the end."""

    how: How
    seconds: float
    """How long the process was frozen."""
    first_replies: int
    second_replies: int
    exit_codes: tuple[int | None, ...]
    audited: int

    @property
    def sound(self) -> bool:
        """Tell whether each message has one reply, and all else is well."""
        once = (self.first_replies, self.second_replies) == (1, 1)
        return once and set(self.exit_codes) == {0} and self.audited == 0


async def stopped_while_sending(how: How, seconds_min: float, site: Site) -> Woken:
    """Freeze a process while it sends, for so long and until the other has taken over."""
    async with provider_and_ai() as (wati, ai), WAYS[how](wati) as way:
        outsides = Outsides(way.url, ai.base_url, QUIET_SECONDS, RULES)
        sleeper = Server(site, outsides, "sleeper")
        other = Server(site, replace(outsides, wati_url=wati.base_url), "other")
        try:
            await sleeper.start()
            await sleeper.serving()
            await _say(FIRST, wati, sleeper)
            await until_so(way.is_sending, TAKE_OVER_SECONDS_MAX)
            seconds = await _sleep(sleeper, other, way, seconds_min, site)
            await _say(SECOND, wati, sleeper)
            await until_so(lambda: _replies(wati, SECOND) > 0, TAKE_OVER_SECONDS_MAX)
            stops = [await server.stop(STOP_SECONDS_MAX) for server in (sleeper, other)]
            audited, _ = await other.ask("audit --json")
        finally:
            await sleeper.close()
            await other.close()
        codes = tuple(code for code, _ in stops)
        return Woken(how, seconds, _replies(wati, FIRST), _replies(wati, SECOND), codes, audited)


async def _sleep(
    sleeper: Server, other: Server, way: "Way", seconds_min: float, site: Site
) -> float:
    """Freeze one until the other has ended the turn, and so long; return how long it was."""
    clock = SystemClock()
    sleeper.signal(signal.SIGSTOP)
    stopped_at = clock.monotonic()
    await way.open()
    await other.start()
    await other.serving()
    async with asyncio.timeout(TAKE_OVER_SECONDS_MAX), site.database() as connection:
        await until(connection, ENDED)
    await asyncio.sleep(seconds_min - (clock.monotonic() - stopped_at))
    sleeper.signal(signal.SIGCONT)
    return clock.monotonic() - stopped_at


@dataclass(frozen=True, slots=True)
class Way:
    """The frozen one's way to the provider."""

    url: str
    is_sending: Callable[[], bool]
    """Whether the request has come to where the process is to be frozen."""
    open: Callable[[], Awaitable[None]]
    """Let through whatever comes from now on, once it is frozen."""


@asynccontextmanager
async def _taken(wati: FakeWati) -> AsyncIterator[Way]:
    """The provider takes the request, and answers when the process is frozen."""
    has_taken, answers = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        has_taken.set()
        await answers.wait()

    wati.before_send_answer = wait
    yield Way(wati.base_url, has_taken.is_set, lambda: _at_once(answers.set))


@asynccontextmanager
async def _swallowed(wati: FakeWati) -> AsyncIterator[Way]:
    """The request is written, and goes nowhere."""
    async with before_server(wati.base_url) as (url, proxy):
        proxy.befall(requests=Fault(swallows=True))
        yield Way(url, lambda: proxy.swallowed_bytes > 0, lambda: _at_once(proxy.befall))


@asynccontextmanager
async def _connecting(wati: FakeWati) -> AsyncIterator[Way]:
    """The provider's queue of connections is full until the process is frozen."""
    url = urlsplit(wati.base_url)
    assert url.hostname is not None
    assert url.port is not None
    with socket.create_server(("127.0.0.1", 0), backlog=0) as bound:
        port: int = bound.getsockname()[1]
        proxy = FaultProxy(url.hostname, url.port, bound=bound)
        async with AsyncExitStack() as stack:
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))  # fills the queue

            async def accept() -> None:
                await stack.enter_async_context(proxy)
                await until_so(lambda: proxy.connections == 2, TAKE_OVER_SECONDS_MAX)

            through = url._replace(netloc=f"127.0.0.1:{port}").geturl()
            yield Way(through, lambda: _is_connecting(port), accept)


WAYS: Mapping[How, Callable[[FakeWati], AbstractAsyncContextManager[Way]]] = {
    "taken": _taken,
    "swallowed": _swallowed,
    "connecting": _connecting,
}


def _is_connecting(port: int) -> bool:
    """Tell whether somebody here waits for a connection to this port (state SYN_SENT is 02)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return any(f[2].endswith(f":{port:04X}") and f[3] == "02" for f in fields)


def _replies(wati: FakeWati, said: str) -> int:
    """Count the texts that answer this."""
    return sum(answers(text, said) for text in wati.texts_to(bodies.phone(0)))


async def _say(text: str, wati: FakeWati, server: Server) -> None:
    said = wati.customer_message(bodies.phone(0), text, SystemClock().now())
    assert await server.post(said.webhook()) == 200


async def _at_once(act: Callable[[], None]) -> None:
    act()
