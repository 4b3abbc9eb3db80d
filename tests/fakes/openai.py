"""A small OpenAI: conversations, responses and their failures, on a loopback socket.

It keeps the server's rules that matter to a client: ids are checked for their form before they are
looked up, one conversation takes one request at a time, input and output are stored together when a
response completes, also when nobody waits for it any more. Its items are listed as the server does:
with ids, and texts as parts.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

import orjson
from aiohttp import web

from tests.fakes.openai_faults import Faults, play

SEED_ITEMS_MAX = 20
PAGE_ITEMS_MAX = 100
BODY_BYTES_MAX = 2**24
ROLES = frozenset({"user", "assistant", "developer", "system"})

Body = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class FakeConversation:
    """A conversation as the server keeps it."""

    id: str
    items: list[Body] = field(default_factory=list)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    locked: bool = False
    ids: list[str] = field(default_factory=list)

    def listed(self) -> list[Body]:
        """Return its items as the server lists them; an item keeps its id."""
        self.ids += [f"item_{uuid4().hex}" for _ in self.items[len(self.ids) :]]
        return [_listed(*pair) for pair in zip(self.ids, self.items, strict=True)]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: Body


class FakeOpenAI:
    """An OpenAI to script: `answers` and the faults are used up from the front.

    `api_key`: other keys get 401. `before_answer` is awaited with the body while the conversation
    is locked; `holding` counts the requests that are in there. `recording` off keeps no requests.
    `reasons`: each answer has an item of reasoning before it. `lists_locked` off: a conversation
    that a request is in refuses to be read. `stored` are the responses it keeps, `lost_items` the
    items of deleted conversations: nobody can reach them any more, and they are there.
    """

    def __init__(self, api_key: str = "", *, recording: bool = True) -> None:
        self.answers: deque[str] = deque()
        self.faults = Faults()
        self.conversation_faults = Faults()
        self.list_faults = Faults()
        self.delete_faults = Faults()
        self.reasons = False
        self.lists_locked = True
        self.before_answer: Callable[[Body], Awaitable[None]] | None = None
        self.conversations: dict[str, FakeConversation] = {}
        self.lost_items: list[Body] = []
        self.stored: dict[str, Body] = {}
        self.requests: list[Request] = []
        self.conversations_created = 0
        self.responses = 0
        self.lists = 0
        self.holding = 0
        self.base_url = ""
        self._api_key = api_key
        self._recording = recording
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on a free port of the loopback interface; `base_url` says which."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            refusal = await self._admit(request)
            return await handler(request) if refusal is None else refusal

        app = web.Application(middlewares=[guard], client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/v1/conversations", self._create)
        app.router.add_get("/v1/conversations/{id}/items", self._list)
        app.router.add_post("/v1/conversations/{id}/items", self._put)
        app.router.add_delete("/v1/conversations/{id}", self._delete)
        app.router.add_delete("/v1/conversations/{id}/items/{item}", self._delete)
        app.router.add_post("/v1/responses", self._respond)
        app.router.add_delete("/v1/responses/{id}", self._delete_response)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        """Stop listening; requests that are held are cancelled."""
        if self._runner is not None:
            await self._runner.cleanup()

    def shape(self, ai_conversation: str) -> str:
        """Return the roles of a conversation's messages by their first letters, as in `uaua`."""
        items = self.conversations[ai_conversation].items
        return "".join(item["role"][0] for item in items if item["type"] == "message")

    def bodies(self, path: str) -> list[Body]:
        """Return the bodies of all recorded requests to `/v1` + `path`."""
        return [request.body for request in self.requests if request.path == f"/v1{path}"]

    def holds(self) -> str:
        """Return everything that it keeps, as one text."""
        conversations = [[c.id, c.items, c.metadata] for c in self.conversations.values()]
        return orjson.dumps([conversations, self.lost_items, self.stored]).decode()

    async def _admit(self, request: web.Request) -> web.Response | None:
        if self._recording:
            body = orjson.loads(await request.read() or b"{}")
            self.requests.append(Request(request.path, dict(request.headers), body))
        if self._api_key and request.headers.get("Authorization") != f"Bearer {self._api_key}":
            return _refusal(401, "invalid_api_key", "Incorrect API key provided")
        return None

    async def _create(self, request: web.Request) -> web.StreamResponse:
        fault = self.conversation_faults.take()
        if fault is not None:
            return await play(fault, request)
        body = orjson.loads(await request.read())
        items = body.get("items") or []
        refusal = _refused_items(items, items_max=SEED_ITEMS_MAX)
        if refusal is not None:
            return refusal
        self.conversations_created += 1
        made = FakeConversation(f"conv_{self.conversations_created:032x}")
        made.items.extend(_as_items(items))
        made.metadata = body.get("metadata") or {}
        self.conversations[made.id] = made
        return _json({"id": made.id, "object": "conversation", "metadata": made.metadata})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.lists += 1
        fault = self.list_faults.take()
        if fault is not None:
            return await play(fault, request)
        found = self._find(request.match_info["id"])
        if isinstance(found, web.Response):
            return found
        if found.locked and not self.lists_locked:
            return _locked()
        limit = int(request.query.get("limit", "20"))
        if not 1 <= limit <= PAGE_ITEMS_MAX:
            return _refusal(400, "invalid_value", "Invalid limit", "limit")
        items = found.listed()
        if request.query.get("order", "desc") == "desc":
            items.reverse()
        after = request.query.get("after")
        if after is not None:
            items = items[1 + [item["id"] for item in items].index(after) :]
        page = items[:limit]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return _json({"object": "list", "data": page, "has_more": len(items) > limit, **ends})

    async def _put(self, request: web.Request) -> web.StreamResponse:
        fault = self.conversation_faults.take()
        if fault is not None:
            return await play(fault, request)
        found = self._find(request.match_info["id"])
        if isinstance(found, web.Response):
            return found
        items = orjson.loads(await request.read())["items"]
        refusal = _refused_items(items, SEED_ITEMS_MAX)
        if refusal is None:
            found.items.extend(_as_items(items))
        return refusal or _json({"object": "list", "data": found.listed()[-len(items) :]})

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        """Delete an item, or a conversation without its items."""
        fault = self.delete_faults.take()
        if fault is not None:
            return await play(fault, request)
        found = self._find(request.match_info["id"])
        if isinstance(found, web.Response) or found.locked:
            return found if isinstance(found, web.Response) else _locked()
        item_id = request.match_info.get("item")
        if item_id is None:
            self.lost_items += found.items
            del self.conversations[found.id]
            return _json({"id": found.id, "object": "conversation.deleted", "deleted": True})
        if item_id not in [item["id"] for item in found.listed()]:
            return _refusal(404, None, f"Item with id '{item_id}' not found.")
        place = found.ids.index(item_id)
        del found.ids[place], found.items[place]
        return _json({"id": found.id, "object": "conversation", "metadata": found.metadata})

    async def _delete_response(self, request: web.Request) -> web.StreamResponse:
        fault = self.delete_faults.take()
        if fault is not None:
            return await play(fault, request)
        wanted = request.match_info["id"]
        if self.stored.pop(wanted, None) is None:
            return _refusal(404, None, f"Response with id '{wanted}' not found.")
        return web.Response()

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        self.responses += 1
        fault = self.faults.take()
        if fault is not None and fault.work == "none":
            return await play(fault, request)
        body = orjson.loads(await request.read())
        answer = await self._answer(body, keeps_output=fault is None or fault.work == "turn")
        return answer if fault is None else await play(fault, request)

    async def _answer(self, body: Body, *, keeps_output: bool) -> web.Response:
        refusal = _refused_items(body.get("input"))
        if refusal is not None:
            return refusal
        wanted = body.get("conversation")
        if wanted is None:
            return await self._generate(body, FakeConversation(""), keeps_output=keeps_output)
        found = self._find(wanted["id"] if isinstance(wanted, dict) else wanted)
        if isinstance(found, web.Response):
            return found
        if found.locked:
            return _locked()
        found.locked = True
        try:
            return await self._generate(body, found, keeps_output=keeps_output)
        finally:
            found.locked = False

    def _find(self, wanted: str) -> FakeConversation | web.Response:
        if not wanted.startswith("conv_"):
            message = f"Invalid 'conversation': '{wanted}'. Expected an ID that begins with 'conv'."
            return _refusal(400, "invalid_value", message, "conversation")
        found = self.conversations.get(wanted)
        if found is None:
            return _refusal(404, None, f"Conversation with id '{wanted}' not found.")
        return found

    async def _generate(
        self, body: Body, conversation: FakeConversation, *, keeps_output: bool
    ) -> web.Response:
        if self.before_answer is not None:
            self.holding += 1
            try:
                await self.before_answer(body)
            finally:
                self.holding -= 1
        text = self.answers.popleft() if self.answers else "ok"
        said = {
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }
        thought: list[Body] = [{"type": "reasoning", "summary": []}] if self.reasons else []
        told = _as_items(body["input"])
        usage = _usage(cached=len(conversation.items), told=len(told), said=len(text))
        conversation.items.extend((*told, *thought, said) if keeps_output else told)
        response_id = f"resp_{self.responses:032x}"
        if body.get("store", True):
            self.stored[response_id] = {"input": told, "output": text}
        return _json(
            {
                "id": response_id,
                "object": "response",
                "status": "completed",
                "model": body.get("model"),
                "error": None,
                "incomplete_details": None,
                "output": [*thought, {"id": f"msg_{self.responses:x}", **said}],
                "usage": usage,
            }
        )


def _as_items(told: str | list[Body]) -> list[Body]:
    items = [{"role": "user", "content": told}] if isinstance(told, str) else told
    return [{"type": "message", **item} for item in items]


def _listed(item_id: str, item: Body) -> Body:
    """Return a stored item as the server lists it."""
    if not isinstance(item.get("content"), str):
        return {"id": item_id, **item}
    kind = "output_text" if item["role"] == "assistant" else "input_text"
    content = [{"type": kind, "text": item["content"]}]
    return {**item, "id": item_id, "status": "completed", "content": content}


def _refused_items(told: object, items_max: int | None = None) -> web.Response | None:
    """Check input as the server does; ids of our own are refused, for they corrupt histories."""
    if isinstance(told, str):
        return None
    if not isinstance(told, list) or (items_max is not None and len(told) > items_max):
        return _refusal(400, "invalid_value", "Invalid items", "items")
    for number, item in enumerate(told):
        content = item.get("content")
        if item.get("role") not in ROLES or "id" in item or not isinstance(content, str | list):
            return _refusal(400, "invalid_value", "Invalid item", f"input[{number}]")
    return None


def _usage(*, cached: int, told: int, said: int) -> Body:
    """Bill ten tokens an item of input and one a character of output, a third of it reasoning."""
    return {
        "input_tokens": 10 * (cached + told),
        "input_tokens_details": {"cached_tokens": 10 * cached},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": said // 3},
        "total_tokens": 10 * (cached + told) + said,
    }


def _locked() -> web.Response:
    return _refusal(400, "conversation_locked", "Another process is using it")


def _refusal(status: int, code: str | None, message: str, param: str | None = None) -> web.Response:
    kind = "invalid_request_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    content = orjson.dumps({"error": error})
    return web.Response(status=status, body=content, content_type="application/json")


def _json(body: Body) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
