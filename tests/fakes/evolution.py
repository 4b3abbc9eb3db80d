"""A small Evolution API on a loopback socket: findMessages, sendText, and webhook bodies.

    async with FakeEvolution(clock) as evolution:
        said = evolution.say(Chat("15550101234", lid="8800112233"), "Hola", at)
        body = said.webhook()                      # what Evolution would POST for it
        evolution.send_next(Sending(drop=True))    # the next send only

It posts no webhook itself. `filters` says how a version combines what it is filtered by.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import orjson
from aiohttp import web

from relevo.clock import Clock

INSTANCE = "shop 1"
OWN = "15559990000"


@dataclass(frozen=True, slots=True)
class Chat:
    """One customer; without a phone only their lid is known."""

    phone: str = ""
    lid: str = ""

    @property
    def jid(self) -> str:
        return f"{self.lid}@lid" if self.lid else f"{self.phone}@s.whatsapp.net"


@dataclass(frozen=True, slots=True)
class Said:
    """Something that was said; `content` is its `message`."""

    id: str
    chat: Chat
    from_me: bool
    content: dict[str, Any]
    at: datetime
    key: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """What a webhook's data and a history row share."""
        key: dict[str, Any] = {"remoteJid": self.chat.jid, "fromMe": self.from_me, "id": self.id}
        if self.chat.lid and self.chat.phone and not self.from_me:
            key["remoteJidAlt"] = f"{self.chat.phone}@s.whatsapp.net"
        return {
            "key": {**key, **self.key},
            "pushName": "Você" if self.from_me else "Ana",
            "message": self.content,
            "messageType": next(iter(self.content), ""),
            "messageTimestamp": int(self.at.timestamp()),
            "instanceId": "b6b4-uuid",
            "source": "ios",
        }

    def webhook(self, event: str = "messages.upsert") -> dict[str, Any]:
        return envelope(event, {**self.row(), "status": "DELIVERY_ACK"})

    def edited(self, text: str, at: datetime, **fields: Any) -> dict[str, Any]:
        """Somebody has changed it. The key is the writer's own, for whom it is his message."""
        key = {**self.row()["key"], "fromMe": True}
        stamp = int(at.timestamp() * 1000)
        new = {"type": "MESSAGE_EDIT", "editedMessage": {"conversation": text}}
        return envelope("messages.edited", {"key": key, "timestampMs": stamp, **new, **fields})

    def deleted(self) -> dict[str, Any]:
        return envelope("messages.delete", {**self.row()["key"], "status": "DELETED"})

    def status(self, status: object) -> dict[str, Any]:
        ids = {"keyId": self.id, "messageId": f"cl-{self.id}", "remoteJid": self.chat.jid}
        return envelope("messages.update", {**ids, "fromMe": self.from_me, "status": status})


def envelope(event: str, data: object) -> dict[str, Any]:
    """The envelope of every event, with its traps."""
    return {
        "event": event,
        "instance": INSTANCE,
        "data": data,
        "destination": "https://relevo.example/webhooks/line",
        "date_time": "2031-01-01T00:00:00.000Z",
        "sender": f"{OWN}@s.whatsapp.net",
        "server_url": "https://evolution.example",
        "apikey": "an-instance-secret",
    }


@dataclass(frozen=True, slots=True)
class Sending:
    """How a send is answered; `recorded` says whether the customer gets it nevertheless."""

    recorded: bool = True
    status: int = 201
    body: bytes | None = None
    hang: bool = False
    drop: bool = False
    retry_after: str = ""


def refused(status: int, *said: object) -> Sending:
    """Evolution's form of an error."""
    error = {"status": status, "error": "Bad Request", "response": {"message": list(said)}}
    return Sending(recorded=False, status=status, body=orjson.dumps(error))


class FakeEvolution:
    """The server and what it holds; the attributes are its knobs."""

    def __init__(self, clock: Clock, *, key: str = "evolution-key") -> None:
        self.key = key
        self.sends: list[tuple[str, str]] = []
        """What customers got: `number` as it was given, and the text."""
        self.asked: list[dict[str, Any]] = []
        self.filters = "separate"
        """ignored: every row of the instance is given; same_page: the first page, again and again;
        bare: a list of rows without a word about pages."""
        self.page_max = 1000
        self.history_status = 200
        self.history_body: bytes | None = None
        self.history_hangs = False
        self.before_page: Callable[[dict[str, Any]], None] | None = None
        self.before_send_answer: Callable[[Said], Awaitable[None]] | None = None
        """Awaited when a text has left and its sender has not heard of it yet."""
        self.base_url = ""
        self.holding = 0
        self.said: list[Said] = []
        self._clock = clock
        self._numbers = itertools.count(1)
        self._next_sendings: deque[Sending] = deque()
        self._released = asyncio.Event()
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._let_in])
        app.router.add_post("/chat/findMessages/{instance}", self._find)
        app.router.add_post("/message/sendText/{instance}", self._send)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        self._closing.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        self._released.set()
        await self._closing.aclose()

    def send_next(self, *sendings: Sending) -> None:
        self._next_sendings.extend(sendings)

    def say(
        self, chat: Chat, text: str, at: datetime, *, from_me: bool = False, **key: Any
    ) -> Said:
        """Put something into the history, and return it; see `webhook`."""
        id_ = f"3EB0{next(self._numbers):018X}"
        said = Said(id_, chat, from_me, {"conversation": text}, at, key)
        self.said.append(said)
        return said

    @web.middleware
    async def _let_in(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.headers.get("apikey") != self.key:
            return web.json_response({"status": 401, "error": "Unauthorized"}, status=401)
        if request.match_info["instance"] != INSTANCE:
            return web.json_response({"status": 404, "error": "Not Found"}, status=404)
        return await handler(request)

    async def _hold(self) -> None:
        self.holding += 1
        try:
            await self._released.wait()
        finally:
            self.holding -= 1

    async def _find(self, request: web.Request) -> web.Response:
        question = orjson.loads(await request.read())
        self.asked.append(question)
        if self.before_page is not None:
            self.before_page(question)
        if self.history_hangs:
            await self._hold()
        if self.history_status != 200:
            return web.Response(status=self.history_status, headers={"Location": "/elsewhere"})
        body = self.history_body or orjson.dumps(self._rows(question))
        return web.Response(body=body, content_type="application/json")

    def _rows(self, question: dict[str, Any]) -> Any:
        wanted = question["where"]["key"].items()
        size = min(question["offset"], self.page_max)
        first = 0 if self.filters == "same_page" else (question["page"] - 1) * size
        shown = sorted(self.said, key=lambda said: said.at)[::-1]
        rows = [said.row() for said in shown]
        if self.filters != "ignored":
            rows = [row for row in rows if all(row["key"].get(n) == jid for n, jid in wanted)]
        pages = -(-len(rows) // size)
        page = rows[first : first + size]
        if self.filters == "bare":
            return page
        claims = {"total": len(rows), "pages": pages, "currentPage": question["page"]}
        return {"messages": {**claims, "records": page}}

    async def _send(self, request: web.Request) -> web.StreamResponse:
        manners = self._next_sendings.popleft() if self._next_sendings else Sending()
        content = orjson.loads(await request.read())
        assert set(content) == {"number", "text"}
        number = content["number"]
        chat = Chat(lid=number[:-4]) if number.endswith("@lid") else Chat(number)
        said = self.say(chat, content["text"], self._clock.now(), from_me=True)
        if manners.recorded:
            self.sends.append((number, content["text"]))
        else:
            self.said.remove(said)
        if self.before_send_answer is not None:
            await self.before_send_answer(said)
        if manners.hang:
            await self._hold()
        if manners.drop and request.transport is not None:
            request.transport.abort()
        headers = {"Retry-After": manners.retry_after, "Location": "/elsewhere"}
        if manners.body is not None or not manners.recorded:
            return web.Response(status=manners.status, headers=headers, body=manners.body)
        answer = {**said.row(), "status": "PENDING"}
        return web.json_response(answer, status=manners.status, headers=headers)
