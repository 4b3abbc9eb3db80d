"""A small WATI on a loopback socket: getMessages, sendSessionMessage, and webhook bodies.

    async with FakeWati(clock) as wati:
        said = wati.customer_message("50370000001", "Hola", at)   # in the history from `at` on
        body = said.webhook("_v2")                                # what WATI would POST for it
        wati.history.status = 503                                 # from now on
        wati.send_next(Sending(recorded=True, drop=True))         # the next send only

It posts no webhook itself, and shows only what has come by its clock.
`open_requests == holding` means that it waits for nobody but the test.
"""

import asyncio
import itertools
import random
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import orjson
from aiohttp import web

from relevo.clock import Clock

TENANT = "1234"


def stamp(at: datetime) -> str:
    """WATI's storage time: ISO 8601 with seven fraction digits."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


@dataclass(frozen=True, slots=True)
class Said:
    """Something that was said or that happened; `author` is also broadcast or ticket."""

    number: int
    phone: str
    author: str
    text: str
    at: datetime
    name: str = ""
    type: str = "text"
    local_id: str = ""
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"6a{self.number:08x}"

    @property
    def whatsapp_id(self) -> str:
        return f"wamid.{self.number:08x}="

    def core(self) -> dict[str, Any]:
        """What a webhook and a history item of one message share."""
        outbound = {"operatorName": self.name or None, "assignedId": "op-1"}
        assigned = {"operatorName": "Assigned Operator", "assignedId": "op-1"}
        return {
            "id": self.id,
            "whatsappMessageId": self.whatsapp_id,
            "created": stamp(self.at),
            "timestamp": str(int(self.at.timestamp())),
            "conversationId": f"conv-{self.phone}",
            "ticketId": f"ticket-{self.phone}",
            "type": self.type,
            "text": self.text,
            "data": None,
            "owner": self.author != "customer",
            "statusString": "SENT",
            **(assigned if self.author == "customer" else outbound),
            **self.fields,
        }

    def webhook(self, twin: str = "", *, waid: bool = True) -> dict[str, Any]:
        """The event WATI posts for it; `twin` is "", "_v2" or "_bsuid"."""
        family = {"customer": "message", "broadcast": "templateMessageSent"}
        return self.core() | {
            "eventType": family.get(self.author, "sessionMessageSent") + twin,
            "waId": self.phone if waid else None,
            "bsuid": f"US.{self.phone}",
            "localMessageId": self.local_id or None,
            "chatbotTriggeredEventId": "flow-1" if self.author == "automation" else None,
        }

    def status(self, name: str, twin: str = "", **fields: Any) -> dict[str, Any]:
        """A status event: sentMessageDELIVERED, sentMessageREAD, sessionMessageFailed …"""
        ids = {"id": self.id, "whatsappMessageId": self.whatsapp_id}
        return {"eventType": name + twin, **ids, "localMessageId": self.local_id or None, **fields}


def delivered(said: Said, twin: str = "") -> dict[str, Any]:
    return said.status("sentMessageDELIVERED", twin, statusString="Delivered")


def failed(said: Said, code: str = "131047") -> dict[str, Any]:
    return said.status("sessionMessageFailed", statusString="Failed", failedCode=code)


def new_contact(phone: str, at: datetime) -> dict[str, Any]:
    """Fires beside the first `message` of a person, and carries no text."""
    ids = {"id": f"new-{phone}", "waId": phone, "bsuid": f"US.{phone}"}
    return {"eventType": "newContactMessageReceived", "created": stamp(at), **ids}


@dataclass(slots=True)
class HistoryManners:
    """How getMessages behaves from now on."""

    status: int = 200
    hang: bool = False
    retry_after: str = ""
    body: bytes | None = None
    """Instead of the real answer."""
    order: str = "newest_first"
    """Within a page; or oldest_first, shuffled."""
    seed: int = 0
    whatsapp_ids: bool = True
    webhook_ids: bool = True
    """False: an item's `id` is not the webhook's."""
    local_ids: bool = False
    string_booleans: bool = False
    tickets: bool = True
    """A person's first item is preceded by the ticket event that WATI writes then."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How a send is answered; `recorded` says whether the customer gets it nevertheless."""

    recorded: bool = True
    status: int = 200
    info: str = ""
    """Not empty: result false, with this text, in a 200 unless `status` says otherwise."""
    hang: bool = False
    drop: bool = False
    """Breaks the connection instead of answering."""
    body: bytes | None = None
    retry_after: str = ""


def result_false(info: str) -> Sending:
    return Sending(recorded=False, info=info)


@dataclass(frozen=True, slots=True)
class Sent:
    """One line of the ledger: a text that a customer got."""

    address: str
    text: str
    local_id: str
    at: datetime
    said: Said


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for history."""

    target: str
    page: int
    size: int
    at: datetime


class FakeWati:
    """The server and what it holds; the attributes are its knobs."""

    def __init__(
        self, clock: Clock, *, token: str = "wati-token", api_operator: str = "api@hotel.example"
    ) -> None:
        self.token = token
        self.api_operator = api_operator
        self.history = HistoryManners()
        self.sending = Sending()
        self.sends: list[Sent] = []
        self.asked: list[Asked] = []
        self.before_page: Callable[[int], None] | None = None
        """Called with the page number before it is made: something may arrive between two pages."""
        self.before_send_answer: Callable[[], Awaitable[None]] | None = None
        """Awaited when a text has left and its sender has not heard of it yet."""
        self.base_url = ""
        self.open_requests = self.holding = 0
        self._clock = clock
        self._numbers = itertools.count(1)
        self._said: defaultdict[str, list[Said]] = defaultdict(list)
        self._next_sendings: deque[Sending] = deque()
        self._released = asyncio.Event()
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        app = web.Application(middlewares=[self._counted])
        app.router.add_get(f"/{TENANT}/api/v1/getMessages/{{target}}", self._get_messages)
        app.router.add_post(f"/{TENANT}/api/v1/sendSessionMessage/{{target}}", self._send)
        runner = web.AppRunner(
            app, handler_cancellation=True, shutdown_timeout=1, max_line_size=65_536
        )
        await runner.setup()
        self._closing.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/{TENANT}"

    async def stop(self) -> None:
        self.release()
        await self._closing.aclose()

    def release(self) -> None:
        """Let go of every request that is held; the next ones are held again if so set."""
        self._released.set()
        self._released = asyncio.Event()

    def send_next(self, *sendings: Sending) -> None:
        """Answer the next sends like this, one each; then as `sending` says again."""
        self._next_sendings.extend(sendings)

    def texts_to(self, phone: str) -> list[str]:
        return [sent.text for sent in self.sends if sent.address == phone]

    def customer_message(self, phone: str, text: str, at: datetime, **more: Any) -> Said:
        return self.say(phone, "customer", text, at, **more)

    def agent_message(self, phone: str, text: str, at: datetime, name: str, **more: Any) -> Said:
        return self.say(phone, "agent", text, at, name=name, **more)

    def automation_message(self, phone: str, text: str, at: datetime, **more: Any) -> Said:
        return self.say(phone, "automation", text, at, **{"name": "Bot ", **more})

    def broadcast(self, phone: str, text: str, at: datetime, **more: Any) -> Said:
        return self.say(phone, "broadcast", text, at, **{"type": "template", **more})

    def say(
        self, phone: str, author: str, text: str, at: datetime, *, hidden: bool = False, **more: Any
    ) -> Said:
        """Put something into the history, from its time on, unless it is hidden; see `webhook`."""
        if not hidden and self.history.tickets and phone not in self._said:
            begun = "The chat has been initialized"
            self._said[phone].append(Said(next(self._numbers), phone, "ticket", begun, at))
        said = Said(next(self._numbers), phone, author, text, at, **more)
        if not hidden:
            self._said[phone].append(said)
        return said

    @web.middleware
    async def _counted(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.open_requests += 1
        try:
            if request.headers.get("Authorization") != f"Bearer {self.token}":
                return web.Response(status=401, text="no")
            if "User-Agent" not in request.headers:
                return web.Response(status=403, text="no")
            return await handler(request)
        finally:
            self.open_requests -= 1

    async def _hold(self) -> None:
        self.holding += 1
        try:
            await self._released.wait()
        finally:
            self.holding -= 1

    async def _get_messages(self, request: web.Request) -> web.Response:
        manners, target = self.history, request.match_info["target"]
        page, size = int(request.query["pageNumber"]), int(request.query["pageSize"])
        self.asked.append(Asked(target, page, size, self._clock.now()))
        if self.before_page is not None:
            self.before_page(page)
        if manners.hang:
            await self._hold()
        if manners.status != 200:
            headers = {"Retry-After": manners.retry_after, "Location": "/elsewhere"}
            return web.Response(status=manners.status, headers=headers, text="upstream error")
        body = manners.body or orjson.dumps(self._page(_phone_of(target), page, size))
        return web.Response(body=body, content_type="application/json")

    def _page(self, phone: str, number: int, size: int) -> dict[str, Any]:
        now, order = self._clock.now(), self.history.order
        shown = [said for said in self._said.get(phone, ()) if said.at <= now]
        if not shown:
            return {"result": "success", "info": "", "messages": None}
        shown.sort(key=lambda said: (said.at, said.number), reverse=True)
        items = [self._item(said) for said in shown[(number - 1) * size : number * size]]
        if order == "oldest_first":
            items.reverse()
        elif order == "shuffled":
            random.Random(self.history.seed + number).shuffle(items)
        counts = {"grandTotal": len(shown), "pageNumber": number, "pageSize": size}
        return {"result": "success", "info": "", "messages": {"items": items, **counts}}

    def _item(self, said: Said) -> dict[str, Any]:
        base = {"id": said.id, "created": stamp(said.at)}
        if said.author == "ticket":
            return {**base, "eventType": "ticket", "type": 1, "eventDescription": said.text}
        if said.author == "broadcast":
            template = {"template": {"name": "offer"}, "finalText": said.text}
            return {**base, "eventType": "broadcastMessage", **template}
        item = {"eventType": "message", **said.core()}
        if said.author == "customer":
            item["operatorName"] = None
        if not self.history.whatsapp_ids:
            del item["whatsappMessageId"]
        if not self.history.webhook_ids:
            item["id"] = f"history-{said.number}"
        if self.history.local_ids and said.local_id:
            item["localMessageId"] = said.local_id
        if self.history.string_booleans:
            item["owner"] = str(item["owner"]).lower()
        return item

    async def _send(self, request: web.Request) -> web.StreamResponse:
        manners = self._next_sendings.popleft() if self._next_sendings else self.sending
        phone, query = _phone_of(request.match_info["target"]), request.query
        text, local_id = query["messageText"], query.get("localMessageId", "")
        now = self._clock.now()
        ours: dict[str, Any] = {"name": self.api_operator, "local_id": local_id}
        said = self.say(phone, "api", text, now, hidden=not manners.recorded, **ours)
        if manners.recorded:
            self.sends.append(Sent(phone, text, local_id, now, said))
        if self.before_send_answer is not None:
            await self.before_send_answer()
        if manners.hang:
            await self._hold()
        if manners.drop and request.transport is not None:
            request.transport.abort()
        headers = {"Location": "/elsewhere", "Retry-After": manners.retry_after}
        if manners.body is not None:
            return web.Response(status=manners.status, headers=headers, body=manners.body)
        if manners.info or manners.status != 200:
            refusal = {"result": False, "info": manners.info}
            return web.json_response(refusal, status=manners.status, headers=headers)
        message = said.core() | {"whatsappMessageId": "", "localMessageId": local_id}
        return web.json_response({"ok": True, "result": "success", "message": message})


def _phone_of(target: str) -> str:
    """Phone digits, a BSUID and a conversation id all name the same person."""
    return target.removeprefix("US.").removeprefix("conv-").lstrip("+")
