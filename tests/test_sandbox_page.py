from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import pytest

from relevo.http.sandbox_page import LISTENERS_MAX, PENDING_MAX
from tests.sandbox_rig import PAGE, SECRET, SandboxServer, listeners, sandbox_server

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
PHONE = "+15550100001"


@pytest.fixture
async def server() -> AsyncIterator[SandboxServer]:
    async with sandbox_server() as running:
        yield running


# --- the page's API ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["customer", "agent", "greeting", "customers", "agent_webhooks", "send"]
)
async def test_a_form_of_another_site_cannot_write(server: SandboxServer, path: str) -> None:
    body = {"phone": PHONE, "text": "hello", "on": False}
    url = f"/sandbox/api/{path}"
    headers = {"X_Relevo_Secret": SECRET}
    status, answer = await server.post(url, body, Content_Type="text/plain", **headers)
    assert (status, answer) == (415, {"error": "no_json"})
    if path == "send":
        return  # the provider's own API is no page's: the secret is enough
    for site in ("cross-site", "same-site"):
        status, answer = await server.post(url, body, Sec_Fetch_Site=site)
        assert (status, answer["error"]) == (403, "other_site")
    assert server.provider.thread(PHONE) == ()
    assert server.provider.agent_webhooks
    assert len(server.provider.customers()) == 1
    for site in ("same-origin", "none"):
        status, _ = await server.post(url, body, Sec_Fetch_Site=site)
        assert status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", ""])
async def test_a_page_of_another_origin_cannot_write(server: SandboxServer, origin: str) -> None:
    status, answer = await server.post(
        "/sandbox/api/customer", {"phone": PHONE, "text": "hello"}, Origin=origin
    )
    assert (status, answer["error"]) == (403, "other_site")
    assert answer["why"].startswith("This did not come from the sandbox's own page")
    assert server.provider.thread(PHONE) == ()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost:8080", 200),
        ("[::1]:8080", 200),
        ("192.168.1.5:8080", 200),
        ("Sandbox.Example:8080", 200),
        ("pointed-here.example:8080", 403),
        ("[::1", 403),
    ],
)
async def test_a_foreign_name_pointed_at_us_cannot_write(host: str, status: int) -> None:
    async with sandbox_server(page=replace(PAGE, host="sandbox.example")) as server:
        body = {"phone": PHONE, "text": "hello"}
        url = "/sandbox/api/customer"
        assert (await server.post(url, body, Host=host, Origin=f"http://{host}"))[0] == status
        assert (await server.post(url, body, Host=host))[0] == 200  # no browser: it names no origin


@pytest.mark.parametrize(
    ("path", "content", "word"),
    [
        ("customer", {"phone": "Ana", "text": "hello"}, "bad_phone"),
        ("customer", {"phone": PHONE, "text": "  "}, "bad_text"),
        ("customer", {"phone": PHONE, "text": "x" * 4097}, "bad_text"),
        ("customer", {"phone": PHONE}, "bad_text"),
        ("agent", [], "no_object"),
        ("agent_webhooks", {"on": "yes"}, "bad_switch"),
    ],
)
async def test_what_cannot_be_written_is_refused_with_a_word(
    server: SandboxServer, path: str, content: object, word: str
) -> None:
    assert await server.post(f"/sandbox/api/{path}", content) == (400, {"error": word})


async def test_the_page_and_its_files_are_fenced(server: SandboxServer) -> None:
    for path in ("/sandbox", "/sandbox/sandbox.css", "/sandbox/sandbox.js", "/sandbox/cards.js"):
        async with server.session.get(server.url + path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert response.status == 200
            assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"


async def test_the_page_is_told_the_rules(server: SandboxServer) -> None:
    told = await server.get("/sandbox/api/config")
    assert (told["quiet_seconds"], told["gap_seconds"], told["agent_webhooks"]) == (2, 20, True)


async def test_a_turn_is_explained_for_the_providers_own_customers_only() -> None:
    async def explain(phone: str) -> Sequence[Mapping[str, Any]]:
        return [{"verdict": "gap", "at": NOON, "phone": phone}]

    async with sandbox_server(page=replace(PAGE, explain=explain)) as server:
        ours = await server.get("/sandbox/api/why", phone=PHONE)
        foreign = await server.get("/sandbox/api/why", phone="+50370000001")
    assert ours == [{"verdict": "gap", "at": NOON.isoformat(), "phone": PHONE}]
    assert foreign == []


async def test_without_explanations_there_are_no_turns(server: SandboxServer) -> None:
    assert await server.get("/sandbox/api/why", phone=PHONE) == []


# --- live events ------------------------------------------------------------------------------


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, Any]:
    """Read up to the next event that is no comment: its kind and content."""
    kind = ""
    async for line in response.content:
        if line.startswith(b"event: "):
            kind = line[len(b"event: ") :].decode().strip()
        if line.startswith(b"data: "):
            return kind, orjson.loads(line[len(b"data: ") :])
    return "end", None


async def test_a_listener_is_told_everything_in_order(server: SandboxServer) -> None:
    async with server.session.get(f"{server.url}/sandbox/events") as events:
        assert events.content_type == "text/event-stream"
        assert await events.content.readuntil(b"\n\n") == b"retry: 1000\n\n"
        await server.post("/sandbox/api/agent_webhooks", {"on": False})
        await server.post("/sandbox/api/customer", {"phone": PHONE, "text": "a\n\nb"})
        assert await next_event(events) == ("agent_webhooks", {"on": False})
        kind, waiting = await next_event(events)
        _, delivered = await next_event(events)
    assert (kind, waiting["text"], waiting["delivery"]) == ("message", "a\n\nb", "waiting")
    assert delivered == waiting | {"delivery": "delivered"}


async def test_a_quiet_line_is_kept_open_with_comments() -> None:
    async with (
        sandbox_server(page=replace(PAGE, heartbeat_seconds=0.01)) as server,
        server.session.get(f"{server.url}/sandbox/events") as events,
    ):
        assert await events.content.readuntil(b"\n\n") == b"retry: 1000\n\n"
        assert await events.content.readuntil(b"\n\n") == b": still here\n\n"


async def test_a_closing_provider_lets_its_listeners_go(server: SandboxServer) -> None:
    async with server.session.get(f"{server.url}/sandbox/events") as events:
        await events.content.readuntil(b"\n\n")
        server.provider.close()
        assert await events.content.read() == b""
    async with server.session.get(f"{server.url}/sandbox/events") as late:
        assert await late.content.read() == b"retry: 1000\n\n"


async def test_one_listener_too_many_takes_the_place_of_the_oldest(server: SandboxServer) -> None:
    async with listeners(server.url, LISTENERS_MAX + 1) as listening:
        assert await listening[0].content.read() == b""
        server.provider.set_agent_webhooks(on=False)
        assert await next_event(listening[1]) == ("agent_webhooks", {"on": False})
        assert await next_event(listening[-1]) == ("agent_webhooks", {"on": False})


async def test_a_listener_who_falls_too_far_behind_is_let_go(server: SandboxServer) -> None:
    async with server.session.get(f"{server.url}/sandbox/events") as events:
        await events.content.readuntil(b"\n\n")
        for _ in range(PENDING_MAX + 1):  # without a pause, so that nothing can be passed on
            server.provider.set_agent_webhooks(on=True)
        assert await events.content.read() == b""
