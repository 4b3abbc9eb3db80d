"""A small ManyChat on a loopback socket: sendContent, findBySystemField, and External Requests.

    async with FakeManyChat(clock) as manychat:
        body = full_contact("hello", at)             # what a flow would POST
        manychat.send_next(Sending(status=429))      # the next send only

It posts nothing itself. `open_requests == holding` means that it waits for nobody but the test.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Self

import orjson
from aiohttp import web

from relevo.clock import Clock

SUBSCRIBER = 1234567890
PHONE = "+16505551234"
ACCOUNT_ZONE = timezone(timedelta(hours=-3))


def stamp(at: datetime) -> str:
    """ManyChat's clock: whole seconds, in the account's zone, with its offset."""
    return at.astimezone(ACCOUNT_ZONE).isoformat(timespec="seconds")


def full_contact(text: str | None, at: datetime, **fields: Any) -> dict[str, Any]:
    """What "Full Contact Data" inserts, in a flow that a message has just started."""
    return {
        "id": str(SUBSCRIBER),
        "key": f"user:{SUBSCRIBER}",
        "page_id": "987654",
        "status": "active",
        "first_name": "Ana",
        "name": "Ana Silva",
        "timezone": "UTC-03",
        "live_chat_url": f"https://app.manychat.com/fb987654/chat/{SUBSCRIBER}",
        "last_input_text": text,
        "subscribed": "2026-01-02T10:00:00-03:00",
        "last_interaction": stamp(at),
        "last_seen": stamp(at),
        "custom_fields": {"ai_state": "on"},
        "whatsapp_phone": PHONE,
        "optin_whatsapp": True,
        "whatsapp_bsuid": None,
        **fields,
    }


def custom(text: str, at: datetime, **fields: Any) -> dict[str, Any]:
    """The body that our documentation recommends."""
    return {
        "subscriber_id": SUBSCRIBER,
        "text": text,
        "last_interaction": stamp(at),
        "whatsapp_phone": PHONE,
        **fields,
    }


@dataclass(frozen=True, slots=True)
class Sending:
    """How a send is answered; `recorded` says whether the customer gets it nevertheless."""

    recorded: bool = True
    status: int = 200
    code: int | None = None
    """Given: status "error" with this code and `said`."""
    said: str = ""
    hang: bool = False
    drop: bool = False
    """Breaks the connection instead of answering."""
    body: bytes | None = None
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """One line of the ledger: a text that a contact got."""

    subscriber: int
    text: str
    at: datetime


class FakeManyChat:
    """The server and what it holds; the attributes are its knobs."""

    def __init__(self, clock: Clock, *, token: str = "987654:made-up-key") -> None:
        self.token = token
        self.sends: list[Sent] = []
        self.contacts: dict[str, Any] = {}
        """What findBySystemField answers as `data`, by phone."""
        self.looked_up: list[str] = []
        self.lookup_status = 200
        self.before_found: Callable[[], None] | None = None
        """Called before a lookup is answered."""
        self.base_url = ""
        self.open_requests = self.holding = 0
        self._clock = clock
        self._next: deque[Sending] = deque()
        self._released = asyncio.Event()
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/fb/sending/sendContent", self._send)
        app.router.add_get("/fb/subscriber/findBySystemField", self._find)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        self._closing.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        await self._closing.aclose()

    def send_next(self, *sendings: Sending) -> None:
        """Answer the next sends like this, one each; then as usual."""
        self._next.extend(sendings)

    def texts(self) -> list[str]:
        return [sent.text for sent in self.sends]

    def _refused(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == f"Bearer {self.token}":
            return None
        refusal = {"status": "error", "message": "Wrong token"}
        return web.json_response(refusal, status=401)

    async def _find(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        phone = request.query["phone"]
        self.looked_up.append(phone)
        if self.before_found is not None:
            self.before_found()
        found = {"status": "success", "data": self.contacts.get(phone, [])}
        return web.json_response(found, status=self.lookup_status)

    async def _send(self, request: web.Request) -> web.StreamResponse:
        self.open_requests += 1
        try:
            return self._refused(request) or await self._answer(request)
        finally:
            self.open_requests -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        manners = self._next.popleft() if self._next else Sending()
        asked = orjson.loads(await request.read())
        content = asked["data"]["content"]
        assert (asked["data"]["version"], content["type"]) == ("v2", "whatsapp")
        [message] = content["messages"]
        assert message["type"] == "text"
        if manners.recorded:
            self.sends.append(Sent(asked["subscriber_id"], message["text"], self._clock.now()))
        if manners.hang:
            self.holding += 1
            try:
                await self._released.wait()
            finally:
                self.holding -= 1
        if manners.drop and request.transport is not None:
            request.transport.abort()
        headers = {"Location": "/elsewhere", "Retry-After": manners.retry_after}
        if manners.body is not None:
            return web.Response(status=manners.status, headers=headers, body=manners.body)
        answer: dict[str, Any] = {"status": "success"}
        if manners.code is not None or manners.said or manners.status != 200:
            answer = {"status": "error", "message": manners.said, "code": manners.code}
        return web.json_response(answer, status=manners.status, headers=headers)
