"""The frame of the API: who is let in, what can be read, and that a thing is done once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPMethod
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from relevo.errors import StoreUnavailableError
from relevo.http.api import Api
from relevo.http.api_endpoints import Asked, Endpoint
from relevo.http.api_limits import Limits
from relevo.http.api_problems import Problem, not_found
from relevo.http.api_shapes import Given, Limit, Line, Nothing, Switch, Taken
from relevo.keys import Scope
from relevo.messages import ConversationKey
from tests.fakes.access import ApiCounts, FakeAccess
from tests.fakes.clock import ManualClock, until
from tests.store_rig import NOON

LIMITS = Limits(
    burst=40,
    per_second=2,
    requests_max=4,
    requests_of_business_max=3,
    transactions_max=1,
    wait_seconds=5,
)


class Looked(Taken):
    limit: Limit = 50
    held: Switch | None = None
    tag: Line | None = None


class Said(Taken):
    text: Line
    times: int = 1


class Echo(Given):
    """What was asked, and by whom."""

    business: str
    number: int = 0
    said: str = ""


@dataclass
class Answer:
    status: int
    headers: Any
    body: Any

    @property
    def word(self) -> str:
        """Return the word of a problem, which reads like one."""
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.body["status"] == self.status
        assert self.body["title"]
        assert self.body["detail"].endswith(".")
        return str(self.body["type"].removeprefix("urn:problem-type:relevo:"))

    @property
    def places(self) -> list[str]:
        assert self.word == "invalid"
        return [error["where"] for error in self.body["errors"]]


class Desk:
    """The API on a socket, with endpoints of its own and a store in memory."""

    def __init__(self) -> None:
        self.access = FakeAccess()
        self.probe = ApiCounts()
        self.clock = ManualClock(NOON)
        self.woken: list[ConversationKey] = []
        self.held = asyncio.Event()
        self.arrived = asyncio.Event()
        self.key = self.access.know("all", *Scope)
        self.session: Any = None
        self.url = ""
        self.api = Api(
            self.access, self.endpoints(), self.woken.append, self.probe, self.clock, LIMITS
        )

    def endpoints(self) -> list[Endpoint]:
        def endpoint(name: str, method: HTTPMethod, path: str, **more: Any) -> Endpoint:
            scope = Scope.SEND if method is HTTPMethod.POST else Scope.READ
            handler = getattr(self, name)
            return Endpoint(
                name, method, path, scope, "A line.", **{"handler": handler, "answer": Echo} | more
            )

        return [
            endpoint("look", HTTPMethod.GET, "/things", query=Looked),
            endpoint("find", HTTPMethod.GET, "/things/{id}"),
            endpoint("wait", HTTPMethod.GET, "/wait"),
            endpoint("fail", HTTPMethod.GET, "/fail"),
            endpoint("say", HTTPMethod.POST, "/things/{id}/say", body=Said, status=202),
            endpoint("lose", HTTPMethod.POST, "/lose"),
        ]

    async def look(self, asked: Asked[Looked, Nothing]) -> object:
        assert asked.transaction[1] == "reads"
        return {"business": asked.business_id, "number": asked.query.limit}

    async def find(self, asked: Asked[Nothing, Nothing]) -> object:
        if asked.path["id"] == 7:
            raise not_found("thing")
        return {"business": asked.business_id, "number": asked.path["id"], "inside": "hidden"}

    async def wait(self, asked: Asked[Nothing, Nothing]) -> object:
        self.arrived.set()
        await self.held.wait()
        return {"business": asked.business_id}

    async def fail(self, asked: Asked[Nothing, Nothing]) -> object:
        raise ValueError(f"the inside of {asked.business_id}")

    async def say(self, asked: Asked[Nothing, Said]) -> object:
        asked.wake(asked.path["id"])
        asked.transaction.append(asked.body.text)
        if asked.body.text == "no":
            raise Problem("conflict", "This cannot be said.")
        return {"business": asked.business_id, "said": f"{asked.body.text} {len(self.woken)}"}

    async def lose(self, asked: Asked[Nothing, Nothing]) -> object:
        asked.wake(5)
        raise StoreUnavailableError("made up")

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = "all", **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {key}")
        if isinstance(body, dict):
            sent.setdefault("Content-Type", "application/json")
            body = orjson.dumps(body)
        async with self.session.request(
            method, f"{self.url}/v1{path}", data=body, headers=sent
        ) as response:
            raw = await response.read()
            assert response.headers["Cache-Control"] == "no-store"
            return Answer(response.status, response.headers, orjson.loads(raw))

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.ask("GET", path, **more)

    async def say_so(self, text: str, once: str = "") -> Answer:
        headers = {"Idempotency_Key": once} if once else {}
        return await self.ask("POST", "/things/5/say", {"text": text}, **headers)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    app = web.Application()
    app.add_subapp("/v1", desk.api.app)
    server = TestServer(app)
    await server.start_server(auto_decompress=False)  # as the product's does
    async with server, aiohttp.ClientSession() as session:
        desk.url, desk.session = str(server.make_url("")).rstrip("/"), session
        yield desk
        assert desk.access.open == 0


async def test_nothing_is_answered_without_a_key_but_the_document(desk: Desk) -> None:
    for path in ("/things", "/nowhere", "/things/x", ""):
        answer = await desk.get(path, key=None)
        assert (answer.status, answer.word) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    described = await desk.get("/openapi.json", key=None)
    assert described.body["openapi"] == "3.1.0"
    assert set(described.body["paths"]) >= {"/v1/things/{id}", "/v1/things/{id}/say"}
    assert described.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "authorization", ["Basic all", "Bearer", "Bearer ", "all", "Bearer nobody"]
)
async def test_a_key_that_is_not_known_lets_nobody_in(desk: Desk, authorization: str) -> None:
    answer = await desk.get("/things", Authorization=authorization)
    assert answer.word == "unauthorized"
    assert (await desk.get("/things?key=all&access_token=all", key=None)).word == "unauthorized"


async def test_a_key_does_what_its_scopes_say_in_its_own_business(desk: Desk) -> None:
    desk.access.know("reads", Scope.READ, business_id="bakery")
    assert (await desk.get("/things", key="reads")).body["business"] == "bakery"
    answer = await desk.ask("POST", "/things/5/say", {"text": "Hola"}, key="reads")
    assert (answer.status, answer.word) == (403, "forbidden")
    assert "`send`" in answer.body["detail"]
    assert desk.access.committed == []


async def test_what_is_not_there_and_what_cannot_be_done_there_are_problems(desk: Desk) -> None:
    for path in ("/nowhere", "", "/things/7", "/things/x", "/things/0", f"/things/{2**63}"):
        assert (await desk.get(path)).word == "not_found"
    answer = await desk.ask("DELETE", "/things")
    assert (answer.status, answer.word, answer.headers["Allow"]) == (
        405,
        "method_not_allowed",
        "GET",
    )
    # What the answer's shape does not name stays inside.
    assert (await desk.get("/things/5")).body == {"business": "hotel", "number": 5, "said": ""}


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", "query.limit"),
        ("limit=101", "query.limit"),
        ("limit=1e1", "query.limit"),
        ("limit=+5", "query.limit"),
        ("held=yes", "query.held"),
        ("tag=", "query.tag"),
        ("tag=a%00b", "query.tag"),
        ("limits=5", "query.limits"),
        ("limit=5&limit=6", "query.limit"),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_named(desk: Desk, query: str, place: str) -> None:
    assert (await desk.get(f"/things?{query}")).places == [place]
    assert (await desk.get("/things?limit=100&held=true&tag=vip")).body["number"] == 100


async def test_a_body_is_small_json_and_what_it_should_be(desk: Desk) -> None:
    async def said(body: bytes, content_type: str = "application/json", **more: str) -> Answer:
        return await desk.ask("POST", "/things/5/say", body, Content_Type=content_type, **more)

    assert (await said(b'{"text": "Hola"}', "text/plain")).word == "not_json"
    assert (await said(b'{"text": "Hola"}', Content_Encoding="gzip")).word == "not_json"
    assert (await said(b'{"text": "Hola"')).word == "unreadable"
    assert (await said(b"[" * 60_000)).word == "unreadable"
    assert (await said(b'{"text": "\\ud800"}')).word == "unreadable"
    assert (await said(b'"' + b"x" * 65_536)).word == "too_large"
    assert (await said(b"")).places == ["body.text"]
    assert (await said(b"[]")).places == ["body"]
    assert (await said(b'{"text": "a\\u0000b"}')).places == ["body.text"]
    both = await said(b'{"text": 5, "secret": "canary", "times": "many"}')
    assert sorted(both.places) == ["body.secret", "body.text", "body.times"]
    assert "canary" not in str(both.body)
    assert desk.access.committed == []
    assert (await said(b'{"text": "Hola"}', "application/json; charset=utf-8")).status == 202


async def test_what_was_committed_wakes_the_customer_and_what_failed_does_not(desk: Desk) -> None:
    assert (await desk.say_so("no")).word == "conflict"
    assert (await desk.ask("POST", "/lose")).word == "unavailable"
    assert (desk.access.committed, desk.woken) == ([], [])
    answer = await desk.say_so("Hola")
    assert (answer.status, answer.body["said"]) == (202, "Hola 0")
    assert (desk.access.committed, desk.woken) == (["Hola"], [ConversationKey("hotel", 5)])


async def test_a_request_with_an_idempotency_key_is_done_once(desk: Desk) -> None:
    first, again = await desk.say_so("Hola", "k1"), await desk.say_so("Hola", "k1")
    assert (again.status, again.body) == (first.status, first.body) == (202, first.body)
    assert desk.access.committed == ["Hola"]
    other = await desk.say_so("Adiós", "k1")
    assert (other.status, other.word) == (422, "key_reused")
    assert (await desk.say_so("Adiós", "k2")).status == 202
    assert desk.probe.outcomes == ["answered", "repeated", "key_reused", "answered"]
    # What was not done is not remembered either: it may be tried again under its key.
    assert (await desk.say_so("no", "k3")).word == "conflict"
    assert (await desk.say_so("Hola", "k3")).status == 202
    bad = await desk.say_so("Hola", "k" * 201)
    assert bad.places == ["header.Idempotency-Key"]


async def test_a_key_that_asks_too_often_is_told_when_to_come_again(desk: Desk) -> None:
    answers = [await desk.get("/things") for _ in range(LIMITS.burst + 1)]
    assert {answer.status for answer in answers[:-1]} == {200}
    late = answers[-1]
    assert (late.status, late.word, late.headers["Retry-After"]) == (429, "too_many_requests", "1")
    desk.access.know("other", Scope.READ)
    assert (await desk.get("/things", key="other")).status == 200
    desk.clock.advance_to(NOON + timedelta(seconds=0.5))
    assert [(await desk.get("/things")).status for _ in range(2)] == [200, 429]


async def test_more_than_there_is_room_for_is_asked_to_come_again(desk: Desk) -> None:
    first = asyncio.gather(desk.get("/wait"))
    await desk.arrived.wait()
    second = asyncio.gather(desk.get("/things"))
    await until(lambda: desk.clock.next_alarm_at is not None)
    desk.clock.advance_to(NOON + timedelta(seconds=LIMITS.wait_seconds))
    [answer] = await second
    assert (answer.status, answer.word, answer.headers["Retry-After"]) == (503, "unavailable", "5")
    # What one business asks at once leaves the others room.
    desk.access.know("other", Scope.READ, business_id="clinic")
    more = asyncio.gather(*(desk.get("/wait") for _ in range(LIMITS.requests_of_business_max)))
    await until(lambda: desk.probe.outcomes.count("unavailable") == 2)
    others = asyncio.gather(*(desk.get("/wait", key="other") for _ in range(2)))
    await until(lambda: desk.probe.outcomes.count("unavailable") == 3)
    desk.held.set()
    assert sorted(answer.status for answer in [*await first, *await more]) == [200, 200, 200, 503]
    assert sorted(answer.status for answer in await others) == [200, 503]


async def test_a_bug_is_answered_as_one_and_tells_nothing_of_the_inside(desk: Desk) -> None:
    answer = await desk.get("/fail")
    assert (answer.status, answer.word) == (500, "error")
    assert "inside" not in str(answer.body)
    assert [type(error) for error in desk.probe.failures] == [ValueError]
    desk.access.away = True
    answer = await desk.get("/things")
    assert (answer.status, answer.word, answer.headers["Retry-After"]) == (503, "unavailable", "5")
    assert desk.probe.outcomes == ["error", "unavailable"]
