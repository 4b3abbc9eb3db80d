"""What the small OpenAI can do to a request instead of answering it."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson
from aiohttp import web

Work = Literal["none", "input", "turn"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What one request gets instead of an answer. Made by the functions below.

    `work` is what is stored first: nothing, the input alone, or the turn with its answer, which is
    generated and only then lost.
    """

    status: int = 200
    content: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    drip_seconds: float = 0.0
    dropped: bool = False
    bare: bool = False
    work: Work = "none"


class Faults(deque[Fault]):
    """Faults for the requests of one kind, used up from the front; then `for_ever`, if any."""

    for_ever: Fault | None = None

    def take(self) -> Fault | None:
        return self.popleft() if self else self.for_ever


def error(
    status: int,
    code: object = None,
    message: str = "no",
    param: object = None,
    kind: str = "error",
    headers: Mapping[str, str] | None = None,
) -> Fault:
    """Answer with OpenAI's error object."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Fault(status=status, content=orjson.dumps(body), headers=headers or {})


def locked() -> Fault:
    """Refuse as a conversation does that another request is in."""
    return error(400, "conversation_locked", "Another process is operating on this conversation.")


def rate_limited(**headers: str) -> Fault:
    """Ask to slow down; `retry_after="2"` becomes a header of that name."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error(429, "rate_limit_exceeded", "Slow down.", kind="requests", headers=named)


def out_of_quota() -> Fault:
    """Refuse for want of money."""
    kind = "insufficient_quota"
    return error(429, kind, "You exceeded your current quota.", kind=kind)


def html(status: int = 200) -> Fault:
    """Answer like a proxy that has something else to say."""
    return Fault(status=status, content=b"<html>sorry</html>", content_type="text/html")


def raw(content: bytes, *, drip_seconds: float = 0.0) -> Fault:
    """Answer 200 with these bytes as JSON, perhaps one at a time."""
    return Fault(content=content, drip_seconds=drip_seconds)


def late(fault: Fault, seconds: float) -> Fault:
    """Do the same, but take this long."""
    return replace(fault, delay_seconds=seconds)


def after(work: Work, fault: Fault) -> Fault:
    """Do the same, but only when this much has been stored."""
    return replace(fault, work=work)


def failed(code: str | None) -> Fault:
    """Answer 200 with a response that failed."""
    return _unfinished({"status": "failed", "error": {"code": code, "message": "no"}})


def incomplete(reason: str | None) -> Fault:
    """Answer 200 with a response that was cut short."""
    return _unfinished({"status": "incomplete", "incomplete_details": {"reason": reason}})


def status(word: object) -> Fault:
    """Answer 200 with a response in this status."""
    return _unfinished({"status": word})


def output(items: object) -> Fault:
    """Answer 200 with a completed response of this output."""
    return raw(orjson.dumps({"id": "resp_x", "status": "completed", "output": items}))


def dropped(*, stored: bool = False) -> Fault:
    """Close the connection without an answer, before or after the work was done."""
    return Fault(dropped=True, work="turn" if stored else "none")


def not_http(content: bytes) -> Fault:
    """Write these bytes to the connection as they are, and close it."""
    return Fault(content=content, bare=True)


def redirected(location: str) -> Fault:
    """Send the client elsewhere, body and all."""
    return Fault(status=307, headers={"Location": location})


async def play(fault: Fault, request: web.Request) -> web.StreamResponse:
    """Do it to a request."""
    if fault.delay_seconds:
        await asyncio.sleep(fault.delay_seconds)
    assert request.transport is not None
    if fault.dropped:
        request.transport.abort()
    if fault.bare:
        request.transport.write(fault.content)
        request.transport.close()
    if fault.drip_seconds:
        return await _drip(fault, request)
    return web.Response(
        status=fault.status,
        body=fault.content,
        content_type=fault.content_type,
        headers=dict(fault.headers),
    )


async def _drip(fault: Fault, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": fault.content_type})
    await response.prepare(request)
    try:
        for byte in fault.content:
            await response.write(bytes([byte]))
            await asyncio.sleep(fault.drip_seconds)
    except ConnectionError:
        return response  # the client had enough
    return response


def _unfinished(body: Mapping[str, Any]) -> Fault:
    return raw(orjson.dumps({"id": "resp_x", "object": "response", "output": [], **body}))
