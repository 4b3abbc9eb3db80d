"""A small Cloud API of Meta's on a loopback socket, 360dialog's door to it, and their webhooks.

    async with FakeCloudApi(clock) as meta:
        body = webhook(text("wamid.1", "16505551234", "Hola", at))
        headers = signed(body, secret)                  # what Meta would POST for it
        meta.send_next(Sending(drop=True))              # the next send only

It posts no webhook itself. `open_requests == holding` means that it waits for nobody but the test.
"""

import asyncio
import hashlib
import hmac
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import orjson
from aiohttp import web

from relevo.clock import Clock

VERSION = "v24.0"
LINE = "106540352242922"
OUR_PHONE = "15550783881"

Thing = dict[str, Any]


def signed(body: bytes, secret: str) -> dict[str, str]:
    """The header that Meta adds: a proof over exactly these bytes."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}"}


def change(field: str, line: str = LINE, **value: Any) -> Thing:
    metadata = {"display_phone_number": OUR_PHONE, "phone_number_id": line}
    whole = {"messaging_product": "whatsapp", "metadata": metadata, **value}
    return {"field": field, "value": whole}


def delivery(*changes: Thing) -> bytes:
    entry = {"id": "102290129340398", "changes": list(changes)}
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [entry]})


def webhook(*messages: Thing, **value: Any) -> bytes:
    return delivery(change("messages", messages=list(messages), **value))


def text(message_id: str, phone: str, said: str, at: datetime, **more: Any) -> Thing:
    stamp = str(int(at.timestamp()))
    message = {"from": phone, "id": message_id, "timestamp": stamp, "type": "text"}
    return {**message, "text": {"body": said}, **more}


def edit(message_id: str, phone: str, target: str, said: str, at: datetime) -> Thing:
    """What a customer sends by changing a text; a colleague's is the same in `echoes`."""
    new = {"type": "text", "text": {"body": said}}
    whole = text(message_id, phone, "", at) | {"type": "edit"}
    del whole["text"]
    return {**whole, "edit": {"original_message_id": target, "message": new}}


def revoke(message_id: str, phone: str, target: str, at: datetime) -> Thing:
    """What anybody sends by deleting a message for everybody."""
    whole = text(message_id, phone, "", at) | {"type": "revoke"}
    del whole["text"]
    return {**whole, "revoke": {"original_message_id": target}}


def echoes(*messages: Thing) -> bytes:
    """What is delivered for what was done with the phone's own app."""
    return delivery(change("smb_message_echoes", message_echoes=list(messages)))


def echo(message_id: str, phone: str, said: str, at: datetime, **more: Any) -> bytes:
    """What is delivered for a message that a colleague wrote with the phone's own app."""
    written = text(message_id, OUR_PHONE, said, at, to=phone, **more)
    return echoes(written)


def status(message_id: str, word: str, **more: Any) -> bytes:
    event = {"id": message_id, "status": word, "timestamp": "1749854600", **more}
    return delivery(change("messages", statuses=[event]))


def error(code: int, message: str = "no") -> Thing:
    """Meta's error, as its answers have it."""
    kind = {"type": "OAuthException", "fbtrace_id": "A"}
    return {"error": {"message": f"(#{code}) {message}", "code": code, **kind}}


@dataclass(frozen=True, slots=True)
class Sending:
    """How a send is answered; `recorded` says whether the customer gets it nevertheless."""

    recorded: bool = True
    status: int = 200
    hang: bool = False
    drop: bool = False
    """Breaks the connection instead of answering."""
    body: bytes | None = None
    retry_after: str = ""


def refused(code: int, status: int = 400) -> Sending:
    return Sending(recorded=False, status=status, body=orjson.dumps(error(code)))


@dataclass(frozen=True, slots=True)
class Sent:
    """One line of the ledger: a message that a customer got, as it was asked for."""

    id: str
    message: Thing
    at: datetime


class FakeCloudApi:
    """The server and what it holds; the attributes are its knobs."""

    def __init__(self, clock: Clock, *, token: str = "meta-token") -> None:
        self.token = token
        self.sending = Sending()
        self.sends: list[Sent] = []
        self.root = ""
        self.before_send_answer: Callable[[], Awaitable[None]] | None = None
        self.open_requests = self.holding = 0
        self._clock = clock
        self._numbers = itertools.count(1)
        self._next_sendings: deque[Sending] = deque()
        self._released = asyncio.Event()
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post(f"/{VERSION}/{LINE}/messages", self._by_bearer)
        app.router.add_post("/messages", self._by_key)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        self._closing.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.root = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        self._released.set()
        await self._closing.aclose()

    @property
    def base_url(self) -> str:
        """Meta's, with its version; `root` is 360dialog's."""
        return f"{self.root}/{VERSION}"

    def send_next(self, *sendings: Sending) -> None:
        """Answer the next sends like this, one each; then as `sending` says again."""
        self._next_sendings.extend(sendings)

    def texts_to(self, target: str) -> list[str]:
        return [
            sent.message["text"]["body"]
            for sent in self.sends
            if target in (sent.message.get("to"), sent.message.get("recipient"))
        ]

    async def _by_bearer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response(error(190), status=401)
        return await self._send(request)

    async def _by_key(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("D360-API-KEY") != self.token:
            return web.json_response({"errors": [{"code": 401, "title": "no"}]}, status=401)
        return await self._send(request)

    async def _send(self, request: web.Request) -> web.StreamResponse:
        self.open_requests += 1
        try:
            return await self._answer(request)
        finally:
            self.open_requests -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        manners = self._next_sendings.popleft() if self._next_sendings else self.sending
        message = orjson.loads(await request.read())
        sent = Sent(f"wamid.OUT{next(self._numbers)}", message, self._clock.now())
        if manners.recorded:
            self.sends.append(sent)
        if self.before_send_answer is not None:
            await self.before_send_answer()
        if manners.hang:
            self.holding += 1
            try:
                await self._released.wait()
            finally:
                self.holding -= 1
        if manners.drop and request.transport is not None:
            request.transport.abort()
        headers = {"Retry-After": manners.retry_after, "Location": "/elsewhere"}
        if manners.body is not None or manners.status != 200:
            return web.Response(status=manners.status, headers=headers, body=manners.body)
        target = message.get("to") or message["recipient"]
        contacts = [{"input": target, "wa_id": target}]
        return web.json_response(
            {"messaging_product": "whatsapp", "contacts": contacts, "messages": [{"id": sent.id}]}
        )
