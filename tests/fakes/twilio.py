"""A small Twilio on a loopback socket: sends, lists of messages, and webhook bodies.

async with FakeTwilio(clock) as twilio:
    said = twilio.say("+15550101234", "customer", "Hola", at)     # in the lists from then on
    body = twilio.webhook(said)                                   # what Twilio would POST for it
    headers = twilio.signed(url, body)                            # and how it signs it
    twilio.send_next(Sending(status=503))                         # the next send only

"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import random
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlencode

from aiohttp import encode_basic_auth, web

from relevo.clock import Clock

ACCOUNT = "AC00000000000000000000000000000000"
SENDER = "+15550783881"
TOKEN = "a-made-up-auth-token"
LIST = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"


@dataclass(slots=True)
class Said:
    """A message that Twilio keeps; `author` is customer, api, reply or call."""

    sid: str
    phone: str
    author: str
    text: str
    at: datetime
    status: str
    media: int = 0

    @property
    def inbound(self) -> bool:
        return self.author == "customer"

    def listed(self) -> dict[str, Any]:
        """What the list of messages has of it."""
        customer, line = f"whatsapp:{self.phone}", f"whatsapp:{SENDER}"
        at = format_datetime(self.at.astimezone(UTC))
        return {
            "sid": self.sid,
            "status": self.status,
            "direction": "inbound" if self.inbound else f"outbound-{self.author}",
            "from": customer if self.inbound else line,
            "to": line if self.inbound else customer,
            "body": self.text,
            "date_created": at,
            "date_sent": None if self.status == "queued" else at,
            "num_media": str(self.media),
            "error_code": None,
        }


@dataclass(frozen=True, slots=True)
class Sending:
    """How a send is answered; `recorded` says whether the customer gets it nevertheless."""

    recorded: bool = True
    status: int = 201
    code: int = 0
    hang: bool = False
    drop: bool = False
    body: bytes | None = None
    retry_after: str = ""


@dataclass(slots=True)
class ListManners:
    """How lists are answered from now on."""

    status: int = 200
    statuses: tuple[int, ...] = ()
    """Of the next answers, one each; then `status` again."""
    hang: bool = False
    body: bytes | None = None
    retry_after: str = ""
    order: str = "newest_first"
    """Or shuffled."""
    page_size_max: int = 1000
    next_path: str = ""
    """Claimed instead of the real one."""
    hides_queued: bool = True
    """The filter by day leaves out what has not been sent yet."""


class FakeTwilio:
    """The server and what it holds; the attributes are its knobs."""

    def __init__(self, clock: Clock, *, token: str = TOKEN) -> None:
        self.lists = ListManners()
        self.asked: list[dict[str, str]] = []
        self.sends: list[dict[str, str]] = []
        self.said: list[Said] = []
        self.base_url = ""
        self.holding = 0
        self._clock = clock
        self._credentials = encode_basic_auth(ACCOUNT, token)
        self._numbers = itertools.count(1)
        self._next_sendings: deque[Sending] = deque()
        self._released = asyncio.Event()
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get(LIST, self._list)
        app.router.add_post(LIST, self._send)
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
        self._next_sendings.extend(sendings)

    def say(
        self, phone: str, author: str, text: str, at: datetime, status: str = "", media: int = 0
    ) -> Said:
        kept = status or ("received" if author == "customer" else "delivered")
        sid = f"SM{next(self._numbers):032x}"
        said = Said(sid, phone, author, text, at, kept, media)
        self.said.append(said)
        return said

    def texts_to(self, phone: str) -> list[str]:
        return [sent["Body"] for sent in self.sends if sent["To"] == f"whatsapp:{phone}"]

    @staticmethod
    def webhook(said: Said, **more: str) -> bytes:
        """What Twilio posts for a customer's message."""
        fields = {
            **dict.fromkeys(("MessageSid", "SmsSid", "SmsMessageSid"), said.sid),
            "AccountSid": ACCOUNT,
            "From": f"whatsapp:{said.phone}",
            "To": f"whatsapp:{SENDER}",
            "WaId": said.phone.lstrip("+"),
            "ProfileName": "Ana",
            "Body": said.text,
            "NumMedia": str(said.media),
            "MessageType": "text",
            "SmsStatus": "received",
            "ApiVersion": "2010-04-01",
        }
        return urlencode(fields | more).encode()

    @staticmethod
    def status(sid: str, status: str, **more: str) -> bytes:
        """What Twilio posts when something has become of a message of ours."""
        fields = {"MessageSid": sid, "SmsSid": sid, "MessageStatus": status, "SmsStatus": status}
        return urlencode({"AccountSid": ACCOUNT, "To": "whatsapp:+1", **fields, **more}).encode()

    @staticmethod
    def signed(url: str, body: bytes, token: str = TOKEN) -> dict[str, str]:
        """Return the headers of a form that Twilio posts to this address."""
        bytes_too = "surrogateescape"
        given = body.decode(errors=bytes_too)
        form = parse_qs(given, keep_blank_values=True, errors=bytes_too)
        text = url + "".join(name + value for name in sorted(form) for value in sorted(form[name]))
        digest = hmac.new(token.encode(), text.encode(errors=bytes_too), hashlib.sha1).digest()
        return {
            "x-twilio-signature": base64.b64encode(digest).decode(),
            "content-type": "application/x-www-form-urlencoded",
        }

    async def _hold(self) -> None:
        self.holding += 1
        try:
            await self._released.wait()
        finally:
            self.holding -= 1

    def _refused(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == self._credentials:
            return None
        return web.json_response({"code": 20003, "message": "Authenticate"}, status=401)

    async def _list(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        manners, query = self.lists, dict(request.query)
        self.asked.append(query)
        if manners.hang:
            await self._hold()
        status = manners.status
        if manners.statuses:
            status, *rest = manners.statuses
            manners.statuses = tuple(rest)
        if status != 200:
            return web.Response(status=status, headers={"Retry-After": manners.retry_after})
        if manners.body is not None:
            return web.Response(body=manners.body)
        return web.json_response(self._page(query))

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        since, number = query.get("DateSent>", "").lstrip("="), int(query.get("Page", "0"))
        size = min(int(query["PageSize"]), self.lists.page_size_max)
        found = [
            said
            for said in self.said
            if said.listed()["from"] == query["From"]
            and said.listed()["to"] == query["To"]
            and said.at <= self._clock.now()
            and said.at.date().isoformat() >= since
            and not (since and self.lists.hides_queued and said.status == "queued")
        ]
        found.sort(key=lambda said: (said.at, said.sid), reverse=True)
        if self.lists.order == "shuffled":
            random.Random(7).shuffle(found)
        more = len(found) > (number + 1) * size
        path = f"{LIST}?{urlencode(query | {'Page': str(number + 1)}, quote_via=quote)}"
        shown = found[number * size : (number + 1) * size]
        return {
            "messages": [said.listed() for said in shown],
            "page": number,
            "next_page_uri": (self.lists.next_path or path) if more else None,
        }

    async def _send(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused(request):
            return refused
        form = {name: str(value) for name, value in (await request.post()).items()}
        sending = self._next_sendings.popleft() if self._next_sendings else Sending()
        phone = form["To"].removeprefix("whatsapp:")
        sid = f"SM{0:032x}"
        if sending.recorded and not sending.code:
            self.sends.append(form)
            sid = self.say(phone, "api", form["Body"], self._clock.now(), "queued").sid
        if sending.hang:
            await self._hold()
        if sending.drop and request.transport is not None:
            request.transport.abort()
        headers = {"Retry-After": sending.retry_after, "Location": "/elsewhere"}
        if sending.body is not None:
            return web.Response(status=sending.status, body=sending.body, headers=headers)
        if sending.code:
            refusal = {"code": sending.code, "message": "no", "status": sending.status}
            return web.json_response(refusal, status=sending.status, headers=headers)
        if sending.status != 201:
            return web.Response(status=sending.status, text="upstream error", headers=headers)
        answer = {"sid": sid, "status": "queued", "direction": "outbound-api", "error_code": None}
        return web.json_response(answer, status=201)
