from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from relevo.clock import SystemClock
from relevo.events import SendFailure
from relevo.http.channels import ChannelAdapter, WebhookRequest
from relevo.http.sandbox import SandboxChannel, SandboxSettings
from relevo.http.sandbox_provider import Delivery
from relevo.http.session import Session, open_session
from relevo.messages import Address, Author, Ignored, InboundMessage, Unusable, correlation_key
from relevo.outcomes import Accepted, History, NotAccepted
from relevo.turns import RecallStatus
from tests.fakes.clock import ManualClock, until
from tests.sandbox_rig import SECRET, SandboxServer, sandbox_server

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
PHONE = "+15550100001"
ADDRESS = Address("phone", PHONE)
EVENT = {
    "event": "message",
    "id": "m-1",
    "phone": PHONE,
    "author": "customer",
    "name": "Ana",
    "text": "hello",
    "at": "2026-11-30T12:00:00+00:00",
}


@pytest.fixture
async def server() -> AsyncIterator[SandboxServer]:
    async with sandbox_server() as running:
        yield running


@pytest.fixture
async def channel() -> AsyncIterator[SandboxChannel]:
    """A channel whose provider is away: nothing listens at port 9."""
    async with open_session() as session:
        yield channel_at("http://127.0.0.1:9", session)


def channel_at(url: str, session: Session, secret: str = SECRET) -> SandboxChannel:
    return SandboxChannel(SandboxSettings("demo", "box", url, secret), session, SystemClock())


async def history(server: SandboxServer, since: datetime = LONG_AGO) -> History:
    return await server.channel.history(ADDRESS, since, urgent=True)


def delivery(server: SandboxServer, number: int = 0) -> Delivery:
    return server.provider.thread(PHONE)[number].delivery


# --- both ways through HTTP -------------------------------------------------------------------


async def test_what_the_customer_writes_arrives_as_a_webhook(server: SandboxServer) -> None:
    status, shown = await server.post("/sandbox/api/customer", {"phone": PHONE, "text": "hello"})
    arrival = await server.received.get()
    assert status == 200
    assert arrival == InboundMessage(
        keys=(shown["id"],),
        addresses=(ADDRESS,),
        author=Author.CUSTOMER,
        kind="text",
        body="hello",
        event_at=datetime.fromisoformat(shown["at"]),
        author_name="Ana",
    )
    await until(lambda: delivery(server) is Delivery.DELIVERED)


async def test_an_agent_and_a_greeting_arrive_under_their_own_authors(
    server: SandboxServer,
) -> None:
    await server.post("/sandbox/api/agent", {"phone": PHONE, "text": "hi", "name": "Maria"})
    agent = await server.received.get()
    await server.post("/sandbox/api/greeting", {"phone": PHONE})
    greeting = await server.received.get()
    assert (agent.author, agent.author_name, agent.body) == (Author.AGENT, "Maria", "hi")
    assert greeting.author is Author.AUTOMATION


async def test_with_agent_webhooks_off_only_the_history_knows(server: SandboxServer) -> None:
    await server.post("/sandbox/api/agent_webhooks", {"on": False})
    await server.post("/sandbox/api/agent", {"phone": PHONE, "text": "quiet", "name": "Maria"})
    await server.post("/sandbox/api/greeting", {"phone": PHONE})
    await server.post("/sandbox/api/customer", {"phone": PHONE, "text": "loud"})
    assert (await server.received.get()).body == "loud"
    recalled = await history(server)
    authors = [item.author for item in recalled.items]
    assert authors == [Author.AGENT, Author.AUTOMATION, Author.CUSTOMER]
    assert [delivery(server, 0), delivery(server, 1)] == [Delivery.OFF, Delivery.OFF]
    assert server.received.empty()


async def test_a_reply_is_kept_under_the_providers_id_and_ours(server: SandboxServer) -> None:
    accepted = await server.channel.send(ADDRESS, "good day", "c-7")
    (kept,) = server.provider.thread(PHONE)
    assert accepted == Accepted((kept.id, correlation_key("c-7")))
    assert (kept.author, kept.text, kept.delivery) == (
        Author.ASSISTANT,
        "good day",
        Delivery.NONE,
    )
    (item,) = (await history(server)).items
    assert item.keys == (kept.id, correlation_key("c-7"))
    assert item.author is Author.ASSISTANT
    assert server.received.empty()


async def test_a_history_is_everything_after_an_instant_oldest_first() -> None:
    clock = ManualClock(NOON)
    async with sandbox_server(clock) as server:
        for text in ("one", "two", "three"):
            clock.advance_to(clock.now() + timedelta(seconds=10))
            server.provider.write(PHONE, Author.CUSTOMER, text)
            await server.received.get()
        recalled = await history(server, NOON + timedelta(seconds=10))
    assert recalled.status is RecallStatus.COMPLETE
    assert [(item.body, item.event_at) for item in recalled.items] == [
        ("two", NOON + timedelta(seconds=20)),
        ("three", NOON + timedelta(seconds=30)),
    ]


async def test_a_webhook_and_the_history_name_a_message_alike(server: SandboxServer) -> None:
    await server.post("/sandbox/api/customer", {"phone": PHONE, "text": "hello"})
    arrival = await server.received.get()
    (item,) = (await history(server)).items
    assert (item.keys, item.event_at, item.body) == (arrival.keys, arrival.event_at, arrival.body)


# --- the adapter, when the provider misbehaves ------------------------------------------------


async def test_a_provider_that_is_away_gives_no_history_and_takes_no_message(
    channel: SandboxChannel,
) -> None:
    recalled = await channel.history(ADDRESS, NOON, urgent=True)
    assert recalled == History(RecallStatus.FAILED, (), "unreachable")
    assert await channel.send(ADDRESS, "hello", "c-1") == NotAccepted(
        SendFailure.NOT_SENT, "unreachable"
    )


async def test_a_wrong_secret_opens_nothing(server: SandboxServer) -> None:
    stranger = channel_at(server.url, server.session, "guess")
    recalled = await stranger.history(ADDRESS, NOON, urgent=True)
    assert recalled == History(RecallStatus.FAILED, (), "http_401")
    sent = await stranger.send(ADDRESS, "hello", "c-1")
    assert sent == NotAccepted(SendFailure.REJECTED, "http_401")
    assert server.provider.thread(PHONE) == ()


@asynccontextmanager
async def odd_provider(status: int, body: bytes) -> AsyncIterator[SandboxChannel]:
    """A channel whose provider gives one answer to everything; status 0 hangs up instead."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if not status:
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=status or 200, body=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, open_session() as session:
        yield channel_at(str(server.make_url("/")), session)


@pytest.mark.parametrize(
    ("status", "body", "failure", "reason"),
    [
        (503, b"", SendFailure.NOT_SENT, "http_503"),
        (429, b"", SendFailure.NOT_SENT, "http_429"),
        (500, b"", SendFailure.UNKNOWN, "http_500"),
        (400, b"", SendFailure.REJECTED, "http_400"),
        (302, b"", SendFailure.REJECTED, "http_302"),
        (200, b"<html>", SendFailure.UNKNOWN, "unreadable"),
        (200, b"{}", SendFailure.UNKNOWN, "unreadable"),
        (0, b"", SendFailure.UNKNOWN, "connection_lost"),
    ],
)
async def test_a_message_not_taken_is_told_by_what_is_known(
    status: int, body: bytes, failure: SendFailure, reason: str
) -> None:
    async with odd_provider(status, body) as channel:
        sent = await channel.send(ADDRESS, "hello", "c-1")
    assert sent == NotAccepted(failure, reason)


READABLE = orjson.dumps(EVENT).decode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (503, "", (RecallStatus.FAILED, "http_503", 0)),
        (200, "[]", (RecallStatus.FAILED, "unreadable", 0)),
        (200, "{}", (RecallStatus.FAILED, "unreadable", 0)),
        (200, f'{{"messages": [{READABLE}, 5]}}', (RecallStatus.TRUNCATED, "unreadable", 1)),
        (200, f'{{"messages": [{READABLE}]}}', (RecallStatus.TRUNCATED, "forgotten", 1)),
        (
            200,
            f'{{"messages": [{READABLE}, {READABLE}], "complete": true}}',
            (RecallStatus.COMPLETE, "", 1),
        ),
        (200, " " * (16 * 1024 * 1024 + 1), (RecallStatus.FAILED, "too_large", 0)),
        (0, "", (RecallStatus.FAILED, "unreachable", 0)),
    ],
    ids=["busy", "list", "empty", "odd item", "unsure", "twins", "endless", "hung up"],
)
async def test_a_history_is_complete_only_when_all_of_it_was_read(
    status: int, body: str, expected: tuple[RecallStatus, str, int]
) -> None:
    async with odd_provider(status, body.encode()) as channel:
        recalled = await channel.history(ADDRESS, NOON, urgent=True)
    assert (recalled.status, recalled.reason, len(recalled.items)) == expected


async def test_who_has_no_phone_cannot_be_reached(server: SandboxServer) -> None:
    nobody = Address("bsuid", "US.1")
    recalled = await server.channel.history(nobody, NOON, urgent=True)
    assert recalled.status is RecallStatus.UNAVAILABLE
    sent = await server.channel.send(nobody, "hello", "c-1")
    assert sent == NotAccepted(SendFailure.REJECTED, "no_phone")


@pytest.mark.parametrize("given", [None, "", "guess", "\udcff", SECRET[:-1]])
def test_a_webhook_without_the_secret_is_not_let_in(
    channel: SandboxChannel, given: str | None
) -> None:
    headers = {} if given is None else {"x-relevo-secret": given}
    assert not channel.authenticate(WebhookRequest(headers, {}, b""))


def test_a_webhook_with_the_secret_is_let_in(channel: SandboxChannel) -> None:
    adapter: ChannelAdapter = channel
    assert adapter.authenticate(WebhookRequest({"x-relevo-secret": SECRET}, {}, b""))
    assert (adapter.business_id, adapter.channel_id) == ("demo", "box")


# --- reading webhooks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "arrival"),
    [
        (b"", Unusable("no_object")),
        (b"[1]", Unusable("no_object")),
        (b"[" * 100_000, Unusable("no_object")),
        (b"{}", Unusable("no_event")),
        (b'{"event": "typing"}', Ignored("other_event")),
    ],
)
def test_a_body_that_is_no_message_is_named_by_a_fixed_word(
    channel: SandboxChannel, body: bytes, arrival: object
) -> None:
    assert channel.parse(body) == (arrival,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": ""}, "bad_id"),
        ({"id": None}, "bad_id"),
        ({"id": "x" * 1000}, "bad_id"),
        ({"phone": "Ana"}, "bad_phone"),
        ({"phone": True}, "bad_phone"),
        ({"author": "unknown"}, "bad_author"),
        ({"author": ["customer"]}, "bad_author"),
        ({"text": None}, "no_text"),
        ({"text": 5}, "no_text"),
    ],
)
def test_a_message_that_cannot_be_read_is_unusable(
    channel: SandboxChannel, change: dict[str, object], reason: str
) -> None:
    assert channel.parse(orjson.dumps(EVENT | change)) == (Unusable(reason),)


def read(channel: SandboxChannel, **change: object) -> InboundMessage:
    (arrival,) = channel.parse(orjson.dumps(EVENT | change))
    assert isinstance(arrival, InboundMessage)
    return arrival


def test_a_message_is_read_in_every_spelling_of_its_fields(channel: SandboxChannel) -> None:
    assert read(channel, id=17).keys == ("17",)
    assert read(channel, phone="1 (555) 010-0001").addresses == (ADDRESS,)
    assert read(channel, phone=15550100001).addresses == (ADDRESS,)
    assert read(channel, at="2026-11-30T06:00:00-06:00").event_at == NOON
    assert read(channel, at="yesterday").event_at is None
    assert read(channel, at="0001-01-01T00:00:00+14:00").event_at is None
    assert read(channel, at=None).event_at is None
    assert read(channel, name=None).author_name == ""
    assert read(channel, text="").body == ""
    assert read(channel, correlation_id="c-1").keys == ("m-1", correlation_key("c-1"))
    assert read(channel, correlation_id="").keys == ("m-1",)


@pytest.mark.parametrize(
    ("spelling", "text"),
    [
        (rb"a\u0000b", "ab"),
        (rb"a\ud83d!", "a\ufffd!"),
        (rb"\udc00\u0000", "\ufffd"),
        (b"a\xff!", "a\ufffd!"),
        (rb"\ud83d\ude00", "\N{GRINNING FACE}"),
        (rb"a\\ud83d", r"a\ud83d"),
    ],
)
def test_broken_characters_cost_no_message(
    channel: SandboxChannel, spelling: bytes, text: str
) -> None:
    body = orjson.dumps(EVENT | {"text": "%s"}).replace(b"%s", spelling)
    (arrival,) = channel.parse(body)
    assert isinstance(arrival, InboundMessage)
    assert arrival.body == text
