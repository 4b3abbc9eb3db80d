"""The one outgoing session of a process; adapters share it and never close it.

A request can be given an instant after which its first byte must not leave: a process that slept
between the decision to send and the sending wakes up with the request still in hand.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp

from relevo.clock import Clock

CONNECTIONS_MAX = 200
"""To all providers, and to ourselves."""

_DISCARD_AT_CLOSE = struct.pack("ii", 1, 0)

Session = aiohttp.ClientSession


class StartTooLateError(Exception):
    """The first byte of this request would have left too late. None has."""


@dataclass(slots=True)
class Departure:
    """A request on its way out."""

    clock: Clock
    seconds_max: float
    """How long after the block was entered its first byte may leave."""
    left: bool = True
    """Until a fence has seen the request begin nobody knows."""
    late: bool = False
    """It was called off for being late; whatever error a request ended with then says less."""
    _begun_at: float = field(init=False)

    def __post_init__(self) -> None:
        # Monotonic: it goes on while the process is stopped.
        self._begun_at = self.clock.monotonic()

    def begin(self) -> None:
        """A fence watches from here on."""
        self.left = False

    def leave(self) -> None:
        """Be off, or raise `StartTooLateError`."""
        self.late = self.clock.monotonic() - self._begun_at > self.seconds_max
        self.left = not self.late
        if self.late:
            raise StartTooLateError


_departure: ContextVar[Departure | None] = ContextVar("departure", default=None)


@contextmanager
def leaving_within(clock: Clock, seconds: float) -> Iterator[Departure]:
    """Have the one request of this block leave within `seconds`, or not at all.

    Only a session with a `fence` obeys. A failure that leaves `left` false has sent nothing.
    """
    departure = Departure(clock, seconds)
    token = _departure.set(departure)
    try:
        yield departure
    finally:
        _departure.reset(token)


def fence() -> aiohttp.TraceConfig:
    """Return what checks the departure of every request of a session, at the last moment there is.

    The signals it checks at come when a connection stands and before anything is written to it: the
    head waits for the body's first bytes; where there are none it is written next, with no wait
    between.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_begin)
    trace.on_request_headers_sent.append(_check)
    trace.on_request_chunk_sent.append(_check)
    return trace


async def _begin(_session: Session, _context: SimpleNamespace, _params: object) -> None:
    if (departure := _departure.get()) is not None:
        departure.begin()


async def _check(_session: Session, _context: SimpleNamespace, _params: object) -> None:
    if (departure := _departure.get()) is not None:
        departure.leave()


def open_session() -> Session:
    """Open it; whoever opened it closes it.

    It keeps no cookies: tenants share it. No proxy and no .netrc of the environment is heeded: a
    customer's words and our tokens go to the configured address, and nowhere else.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, socket_factory=_socket),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[fence()],
    )


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """Make a socket that takes along what it has not delivered when it is closed.

    Otherwise the kernel goes on trying for minutes, and a send that was given up, looked for and
    repeated would arrive after all.
    """
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD_AT_CLOSE)
    return made
