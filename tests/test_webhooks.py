"""The webhook route by itself: what it asks of the inbox, and what it answers for it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from relevo.clock import SystemClock
from relevo.http.sandbox import SandboxChannel, SandboxSettings
from relevo.http.server import Server, listen
from relevo.http.webhooks import Webhooks
from relevo.messages import Delivery, InboundMessage, Receipt

SECRET = "made-up-secret"
BODY = b"{}"


@dataclass
class Box:
    """An inbox that keeps everything in memory, while there is room, and says whether there is."""

    kept: list[Delivery] = field(default_factory=list)
    full_for: str = ""
    crowded: bool = False

    def overloaded(self, business_id: str) -> bool:
        return self.full_for == business_id

    def turns_away(self, delivery: Delivery) -> bool:
        assert delivery.channel_id == "box"
        return self.crowded

    async def deliver(self, delivery: Delivery) -> Receipt:
        self.kept.append(delivery)
        return Receipt()


@dataclass
class Counted:
    outcomes: list[str] = field(default_factory=list)

    def webhook(self, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.outcomes.append(outcome)

    def received(self, message: InboundMessage, delay_seconds: float | None) -> None: ...
    def duplicates(self, count: int) -> None: ...
    def statuses(self, count: int) -> None: ...

    def failed(self, reason: str) -> None: ...
    def quarantined(self, reason: str) -> None: ...


class Ready:
    async def checks(self) -> dict[str, bool]:
        return {}


@dataclass
class Edge:
    """The route, on a free port."""

    url: str
    session: aiohttp.ClientSession
    inbox: Box
    probe: Counted

    async def post(self) -> tuple[int, str | None]:
        """Deliver a webhook; returns the status and when to come again."""
        async with self.session.post(
            f"{self.url}/webhooks/box", data=BODY, headers={"X-Relevo-Secret": SECRET}
        ) as response:
            return response.status, response.headers.get("Retry-After")


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    listening = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with aiohttp.ClientSession() as session:
        edge = Edge(url, session, Box(), Counted())
        clock = SystemClock()
        channel = SandboxChannel(SandboxSettings("demo", "box", url, SECRET), session, clock)
        webhooks = Webhooks({"box": channel}, edge.inbox, edge.inbox, edge.probe, clock)
        server = Server(listening, webhooks, Ready())
        await server.start()
        yield edge
        await server.stop()


async def test_what_comes_while_too_much_waits_is_asked_to_come_again(edge: Edge) -> None:
    edge.inbox.full_for = "demo"
    assert await edge.post() == (503, "5")
    assert edge.inbox.kept == []
    edge.inbox.full_for = "bakery"
    assert await edge.post() == (200, None)
    assert [delivery.body for delivery in edge.inbox.kept] == [BODY]
    assert edge.probe.outcomes == ["overloaded", "accepted"]


async def test_who_has_too_much_waiting_is_asked_to_come_again_later(edge: Edge) -> None:
    edge.inbox.crowded = True
    assert await edge.post() == (503, "30")
    assert edge.inbox.kept == []
    edge.inbox.crowded = False
    assert await edge.post() == (200, None)
    assert edge.probe.outcomes == ["crowded", "accepted"]
