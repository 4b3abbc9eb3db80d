"""A small server around the sandbox: its routes, and a webhook end that a test scripts."""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from relevo.clock import Clock, SystemClock
from relevo.http.channels import WebhookRequest
from relevo.http.sandbox import SandboxChannel, SandboxSettings
from relevo.http.sandbox_page import PageSettings, sandbox_routes
from relevo.http.sandbox_provider import SandboxLimits, SandboxProvider, WebhookDelivery
from relevo.messages import InboundMessage
from relevo.tasks import Tasks

SECRET = "made-up-secret-of-this-process"
PAGE = PageSettings(secret=SECRET, quiet_seconds=2, gap_seconds=20)

React = Callable[["SandboxServer", InboundMessage], Awaitable[None]]


@dataclass
class SandboxServer:
    """A running one. `answers` are the statuses of the next webhooks, 200 when there are none."""

    url: str
    session: aiohttp.ClientSession
    provider: SandboxProvider
    channel: SandboxChannel
    tasks: Tasks
    answers: deque[int] = field(default_factory=deque)
    refused: list[int] = field(default_factory=list)
    received: asyncio.Queue[InboundMessage] = field(default_factory=asyncio.Queue)
    react: React | None = None

    async def webhook(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        if not self.channel.authenticate(WebhookRequest(headers, {}, body)):
            return web.Response(status=401)
        status = self.answers.popleft() if self.answers else 200
        if status != 200:
            self.refused.append(status)
            return web.Response(status=status)
        (arrival,) = self.channel.parse(body)
        assert isinstance(arrival, InboundMessage)
        self.received.put_nowait(arrival)
        if self.react is not None:
            self.tasks.spawn(self.react(self, arrival), name="reaction")  # type: ignore[arg-type]  # an async function's Awaitable is a Coroutine
        return web.Response()

    async def post(self, path: str, content: object, **headers: str) -> tuple[int, Any]:
        """Post JSON as the page does; returns the status and what was answered."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(
            self.url + path,
            data=orjson.dumps(content),
            headers={"Content-Type": "application/json"} | named,
        ) as response:
            return response.status, orjson.loads(await response.read())

    async def get(self, path: str, **query: str) -> Any:
        async with self.session.get(self.url + path, params=query) as response:
            assert response.status == 200
            return orjson.loads(await response.read())


@asynccontextmanager
async def sandbox_server(
    clock: Clock | None = None,
    limits: SandboxLimits | None = None,
    page: PageSettings = PAGE,
    port: int = 0,
) -> AsyncIterator[SandboxServer]:
    """Run a sandbox on this port, or on a free one of this machine."""
    clock = clock or SystemClock()
    failures: list[BaseException] = []
    tasks = Tasks(failures.append)
    listening = socket.create_server(("127.0.0.1", port))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with aiohttp.ClientSession() as session:
        deliver = WebhookDelivery(clock, session, f"{url}/webhooks/box", SECRET)
        provider = SandboxProvider(clock, deliver, tasks, limits)
        channel = SandboxChannel(SandboxSettings("demo", "box", url, SECRET), session, clock)
        server = SandboxServer(url, session, provider, channel, tasks)
        app = web.Application()
        app.add_routes(sandbox_routes(provider, replace(page, secret=SECRET)))
        app.router.add_post("/webhooks/box", server.webhook)
        app.on_shutdown.append(_closing(provider))
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        try:
            yield server
        finally:
            await tasks.cancel()
            await runner.cleanup()
    assert failures == []


@asynccontextmanager
async def listeners(url: str, count: int) -> AsyncIterator[list[aiohttp.ClientResponse]]:
    """Open lines of events, one after the other; each is listening when the next is opened."""
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        opened = []
        for _ in range(count):
            events = await stack.enter_async_context(session.get(f"{url}/sandbox/events"))
            await events.content.readuntil(b"\n\n")
            opened.append(events)
        yield opened


def _closing(provider: SandboxProvider) -> Callable[[web.Application], Awaitable[None]]:
    async def close(_app: web.Application) -> None:
        provider.close()

    return close
