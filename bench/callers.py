"""HTTP callers that cost as little as can be: raw keep-alive connections, one request at a time."""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Callers:
    """A fixed number of connections. Requests beyond them wait in line, and their time counts."""

    def __init__(self, answered: Callable[[], None]) -> None:
        """`answered` is called after every answer."""
        self.statuses: Counter[int] = Counter()
        self.latencies_seconds: list[float] = []
        self._answered = answered
        self._free: list[_Caller] = []
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._loop = asyncio.get_running_loop()

    @property
    def count(self) -> int:
        """Return how many requests have been answered."""
        return len(self.latencies_seconds)

    async def connect(self, port: int, connections: int) -> None:
        """Open the connections."""
        for _ in range(connections):
            _, caller = await self._loop.create_connection(
                lambda: _Caller(self._took), "127.0.0.1", port
            )
            self._free.append(caller)

    def post(self, request: bytes, due_at: float) -> None:
        """Send a request as soon as a connection is free; its latency counts from `due_at`."""
        if self._free:
            self._free.pop().post(request, due_at)
        else:
            self._waiting.append((request, due_at))

    def _took(self, caller: "_Caller", status: int) -> None:
        self.statuses[status] += 1
        self.latencies_seconds.append(time.monotonic() - caller.due_at)
        if self._waiting:
            caller.post(*self._waiting.popleft())
        else:
            self._free.append(caller)
        self._answered()


class _Caller(asyncio.Protocol):
    def __init__(self, took: Callable[["_Caller", int], None]) -> None:
        self._took = took
        self._read = b""
        self._transport: asyncio.WriteTransport | None = None
        self.due_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def post(self, request: bytes, due_at: float) -> None:
        """Send one request."""
        assert self._transport is not None
        self.due_at = due_at
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        read = self._read = self._read + data
        head_bytes = read.find(b"\r\n\r\n") + 4
        if head_bytes < 4:
            return
        length = _LENGTH.search(read, 0, head_bytes)
        if length is None or len(read) >= head_bytes + int(length[1]):
            self._read = b""
            self._took(self, int(read[9:12]))
