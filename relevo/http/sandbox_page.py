"""The sandbox's routes: the page, the small API behind it, and the provider's own API.

* The page sees changes live through Server-Sent Events. A listener that cannot keep up, or the
  oldest when there are too many, is closed: its browser comes back and reads everything anew.
* What the page sends must be JSON and must not come from another site; everything else is refused
  with a fixed word. No answer is stored by a browser, and no script but ours runs.
* The provider's own API (`history`, `send`) asks for the secret of this process.
* `provider.close()` ends the listeners; call it on the app's shutdown, before its clean-up.
"""

import asyncio
import ipaddress
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any, NoReturn
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from relevo.http.fields import id_of, instant_of, read_object, text_of, word_of
from relevo.http.sandbox import SECRET_HEADER, TEXT_CHARS_MAX, phone_number
from relevo.http.sandbox_provider import (
    AgentWebhooks,
    Change,
    Chat,
    Closed,
    SandboxMessage,
    SandboxProvider,
)
from relevo.http.secrets import secret_matches
from relevo.messages import Author

GREETING = "Thank you for your message! We will be with you in a moment."
NAME_CHARS_MAX = 80
LISTENERS_MAX = 32
PENDING_MAX = 256
"""Changes a listener may be behind."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {
    "/sandbox": ("sandbox.html", "text/html"),
    "/sandbox/sandbox.css": ("sandbox.css", "text/css"),
    "/sandbox/sandbox.js": ("sandbox.js", "text/javascript"),
    "/sandbox/cards.js": ("cards.js", "text/javascript"),
}
_HEARTBEAT = b": still here\n\n"
_OTHER_SITE = "This did not come from the sandbox's own page, opened at an address of this server."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Explain = Callable[[str], Awaitable[Sequence[Mapping[str, Any]]]]
"""Takes a phone in E.164 and returns the customer's turns, newest first, as
{at, verdict, silence_seconds, recall, recalled, missed, outcome, reason}. Any may be absent;
`recalled` and `missed` are counts, `outcome` is None while the turn is open."""


async def nothing_to_explain(phone: str) -> Sequence[Mapping[str, Any]]:  # noqa: ARG001  (an Explain)
    """Know no turns."""
    return []


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the routes need besides the provider: the secret, and the rules the page tells of."""

    secret: str
    quiet_seconds: float
    gap_seconds: float
    explain: Explain = nothing_to_explain
    heartbeat_seconds: float = 15
    host: str = "localhost"  # the server's configured name; numeric addresses need no naming


def sandbox_routes(provider: SandboxProvider, settings: PageSettings) -> list[web.RouteDef]:
    """Return every route of the sandbox, to be added to the server's app."""
    page = _Page(provider, settings)
    own = partial(_same_site, settings.host)
    files = [web.get(path, _file(*name_and_kind)) for path, name_and_kind in _FILES.items()]
    return [
        *files,
        web.get("/sandbox/events", own(page.events)),
        web.get("/sandbox/api/config", own(page.config)),
        web.get("/sandbox/api/customers", own(page.customers)),
        web.get("/sandbox/api/thread", own(page.thread)),
        web.get("/sandbox/api/why", own(page.why)),
        web.post("/sandbox/api/customers", own(page.new_customer)),
        web.post("/sandbox/api/customer", own(page.customer)),
        web.post("/sandbox/api/agent", own(page.agent)),
        web.post("/sandbox/api/greeting", own(page.greeting)),
        web.post("/sandbox/api/agent_webhooks", own(page.agent_webhooks)),
        web.get("/sandbox/api/history", page.history),
        web.post("/sandbox/api/send", page.send),
    ]


class _Page:
    def __init__(self, provider: SandboxProvider, settings: PageSettings) -> None:
        self._provider = provider
        self._settings = settings
        self._listeners = _Listeners()
        provider.watch(self._listeners.tell)

    async def config(self, _request: web.Request) -> web.Response:
        return _answer({
            "quiet_seconds": self._settings.quiet_seconds,
            "gap_seconds": self._settings.gap_seconds,
            "agent_webhooks": self._provider.agent_webhooks,
            "now": self._provider.now(),
        })  # fmt: skip

    async def customers(self, _request: web.Request) -> web.Response:
        return _answer([_customer(chat) for chat in self._provider.customers()])

    async def thread(self, request: web.Request) -> web.Response:
        thread = self._provider.thread(_phone(request.query))
        return _answer([_shown(message) for message in thread])

    async def why(self, request: web.Request) -> web.Response:
        """Explain the provider's own customers only: another channel's are not for this page."""
        phone = _phone(request.query)
        known = self._provider.knows(phone)
        return _answer(list(await self._settings.explain(phone)) if known else [])

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS | {"Content-Type": "text/event-stream"})
        listener = self._listeners.join()
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n\n")
            async for event in listener.events(self._settings.heartbeat_seconds):
                await response.write(event)
        except ConnectionError:
            pass  # the browser has gone: that is how every listening ends
        finally:
            self._listeners.leave(listener)
        return response

    async def new_customer(self, request: web.Request) -> web.Response:
        await _body(request)
        return _answer(_customer(self._provider.new_customer()))

    async def customer(self, request: web.Request) -> web.Response:
        body = await _body(request)
        return self._written(_phone(body), Author.CUSTOMER, _text(body))

    async def agent(self, request: web.Request) -> web.Response:
        body = await _body(request)
        name = word_of(body.get("name"))[:NAME_CHARS_MAX] or "Agent"
        return self._written(_phone(body), Author.AGENT, _text(body), name)

    async def greeting(self, request: web.Request) -> web.Response:
        body = await _body(request)
        return self._written(_phone(body), Author.AUTOMATION, GREETING, "Automatic greeting")

    async def agent_webhooks(self, request: web.Request) -> web.Response:
        on = (await _body(request)).get("on")
        if not isinstance(on, bool):
            _refuse(web.HTTPBadRequest, "bad_switch")
        self._provider.set_agent_webhooks(on=on)
        return _answer({"on": on})

    async def history(self, request: web.Request) -> web.Response:
        self._authenticate(request)
        since = instant_of(request.query.get("since"))
        if since is None:
            _refuse(web.HTTPBadRequest, "bad_since")
        messages, complete = self._provider.history(_phone(request.query), since)
        return _answer({"messages": [each.wire() for each in messages], "complete": complete})

    async def send(self, request: web.Request) -> web.Response:
        self._authenticate(request)
        body = await _body(request)
        message = self._provider.write(
            _phone(body),
            Author.ASSISTANT,
            _text(body),
            name="Relevo",
            correlation_id=id_of(body.get("correlation_id")),
        )
        return _answer({"id": message.id})

    def _written(self, phone: str, author: Author, text: str, name: str = "") -> web.Response:
        return _answer(_shown(self._provider.write(phone, author, text, name=name)))

    def _authenticate(self, request: web.Request) -> None:
        if not secret_matches(self._settings.secret, request.headers.get(SECRET_HEADER)):
            _refuse(web.HTTPUnauthorized, "bad_secret")


class _Listeners:
    """The open pages. Everything is told to all of them, in order."""

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []
        self._closed = False

    def join(self) -> "_Listener":
        if len(self._listeners) >= LISTENERS_MAX:
            self._listeners.pop(0).end()
        listener = _Listener()
        self._listeners.append(listener)
        if self._closed:
            listener.end()
        return listener

    def leave(self, listener: "_Listener") -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def tell(self, change: Change) -> None:
        match change:
            case SandboxMessage():
                self._give("message", _shown(change))
            case AgentWebhooks(on):
                self._give("agent_webhooks", {"on": on})
            case Closed():
                self._closed = True
                for listener in self._listeners:
                    listener.end()

    def _give(self, kind: str, content: dict[str, Any]) -> None:
        event = f"event: {kind}\ndata: {orjson.dumps(content).decode()}\n\n".encode()
        for listener in self._listeners:
            listener.give(event)


class _Listener:
    def __init__(self) -> None:
        self._pending: deque[bytes] = deque()
        self._ended = False
        self._woken = asyncio.Event()

    def give(self, event: bytes) -> None:
        self._pending.append(event)
        self._woken.set()
        if len(self._pending) > PENDING_MAX:
            self.end()

    def end(self) -> None:
        self._ended = True
        self._woken.set()

    async def events(self, heartbeat_seconds: float) -> AsyncIterator[bytes]:
        """Yield what is given until the end, and a comment whenever there was nothing for long."""
        while True:
            while self._pending and not self._ended:
                yield self._pending.popleft()
            if self._ended:
                return
            self._woken.clear()
            try:
                async with asyncio.timeout(heartbeat_seconds):
                    await self._woken.wait()
            except TimeoutError:
                yield _HEARTBEAT


def _file(name: str, kind: str) -> Handler:
    content = resources.files("relevo.http").joinpath("static", name).read_bytes()
    headers = _HEADERS | {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}

    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)

    return serve


def _same_site(host: str, handler: Handler) -> Handler:
    """Refuse what a browser sends on behalf of another site; other programs name no site."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        site = request.headers.get("Sec-Fetch-Site", "none")
        origin = request.headers.get("Origin")
        if site not in ("same-origin", "none") or not _is_ours(origin, request.host, host):
            _refuse(web.HTTPForbidden, "other_site", _OTHER_SITE)
        return await handler(request)

    return guarded


def _is_ours(origin: str | None, asked: str, host: str) -> bool:
    """A name that is not ours may have been pointed at us by its owner; a numeric host cannot."""
    if origin is None:
        return True
    try:
        if (name := urlsplit(f"//{asked}").hostname) not in ("localhost", host.lower()):
            ipaddress.ip_address(name or "")
    except ValueError:
        return False
    return origin.partition("://")[2].lower() == asked.lower()


async def _body(request: web.Request) -> dict[str, Any]:
    # A form or a plain text needs no permission to be sent across sites; JSON does.
    if request.content_type != "application/json":
        _refuse(web.HTTPUnsupportedMediaType, "no_json")
    body = read_object(await request.read())
    if body is None:
        _refuse(web.HTTPBadRequest, "no_object")
    return body


def _phone(fields: Mapping[str, Any]) -> str:
    phone = phone_number(fields.get("phone"))
    if phone is None:
        _refuse(web.HTTPBadRequest, "bad_phone")
    return phone


def _text(fields: Mapping[str, Any]) -> str:
    text = text_of(fields.get("text"))
    if not text.strip() or len(text) > TEXT_CHARS_MAX:
        _refuse(web.HTTPBadRequest, "bad_text")
    return text


def _refuse(refusal: type[web.HTTPClientError], word: str, sentence: str = "") -> NoReturn:
    why = {"why": sentence} if sentence else {}
    text = orjson.dumps({"error": word} | why).decode()
    raise refusal(text=text, content_type="application/json", headers=_HEADERS)


def _answer(content: Any) -> web.Response:
    return web.Response(
        body=orjson.dumps(content), content_type="application/json", headers=_HEADERS
    )


def _customer(chat: Chat) -> dict[str, Any]:
    last = next(reversed(chat.messages.values()), None)
    return {"phone": chat.phone, "name": chat.name, "last": _shown(last) if last else None}


def _shown(message: SandboxMessage) -> dict[str, Any]:
    side = "in" if message.author is Author.CUSTOMER else "out"
    return message.wire() | {"side": side, "delivery": message.delivery}
