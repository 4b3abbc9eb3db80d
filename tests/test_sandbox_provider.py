from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from relevo.http.sandbox_provider import AgentWebhooks, Closed, Delivery, SandboxLimits
from relevo.messages import Address, Author
from relevo.outcomes import History
from relevo.turns import RecallStatus
from tests.fakes.clock import ManualClock, until
from tests.sandbox_rig import SandboxServer, sandbox_server

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
PHONE = "+15550100001"
ADDRESS = Address("phone", PHONE)


@pytest.fixture
async def server() -> AsyncIterator[SandboxServer]:
    async with sandbox_server() as running:
        yield running


async def history(server: SandboxServer, since: datetime = LONG_AGO) -> History:
    return await server.channel.history(ADDRESS, since, urgent=True)


def delivery(server: SandboxServer, number: int = 0) -> Delivery:
    return server.provider.thread(PHONE)[number].delivery


def undecided(server: SandboxServer) -> bool:
    return delivery(server) is Delivery.WAITING


async def test_two_processes_never_give_the_same_id() -> None:
    clock = ManualClock(NOON)
    ids = set()
    for _ in range(2):
        async with sandbox_server(clock) as server:
            ids.add(server.provider.write(PHONE, Author.ASSISTANT, "hello").id)
        clock.advance_to(clock.now() + timedelta(seconds=1))
    assert len(ids) == 2


async def test_every_change_is_told_until_the_end(server: SandboxServer) -> None:
    told: list[object] = []
    server.provider.watch(told.append)
    reply = server.provider.write(PHONE, Author.ASSISTANT, "hello")
    server.provider.set_agent_webhooks(on=False)
    server.provider.close()
    assert told == [reply, AgentWebhooks(on=False), Closed()]


# --- webhooks that fail -----------------------------------------------------------------------


async def test_a_webhook_is_tried_again_while_the_server_is_busy() -> None:
    clock = ManualClock(NOON)
    async with sandbox_server(clock) as server:
        server.answers.extend([503, 429, 500])
        server.provider.write(PHONE, Author.CUSTOMER, "hello")
        waits = []
        for _ in range(3):
            await until(lambda: clock.next_alarm_at is not None)
            due_at = clock.next_alarm_at
            assert due_at is not None
            waits.append((due_at - clock.now()).total_seconds())
            clock.advance_to(due_at)
        assert (await server.received.get()).body == "hello"
        await until(lambda: delivery(server) is Delivery.DELIVERED)
    assert waits == [0.5, 1, 2]
    assert server.refused == [503, 429, 500]


async def test_a_webhook_is_given_up_after_some_minutes_and_stays_in_the_history() -> None:
    clock = ManualClock(NOON)
    async with sandbox_server(clock) as server:
        server.answers.extend([503] * 100)
        server.provider.write(PHONE, Author.CUSTOMER, "hello")
        while undecided(server):
            await until(lambda: clock.next_alarm_at is not None or not undecided(server))
            if (due_at := clock.next_alarm_at) is not None:
                clock.advance_to(due_at)
        assert delivery(server) is Delivery.GIVEN_UP
        assert len((await history(server, NOON - timedelta(seconds=1))).items) == 1
    assert len(server.refused) == 12
    assert timedelta(minutes=2) < clock.now() - NOON < timedelta(minutes=5)


async def test_a_refused_webhook_is_not_repeated(server: SandboxServer) -> None:
    server.answers.append(404)
    server.provider.write(PHONE, Author.CUSTOMER, "hello")
    await until(lambda: delivery(server) is Delivery.GIVEN_UP)
    assert server.refused == [404]


async def test_too_many_webhooks_under_way_are_given_up_at_once() -> None:
    clock = ManualClock(NOON)
    async with sandbox_server(clock, SandboxLimits(deliveries_max=1)) as server:
        server.answers.append(503)
        server.provider.write(PHONE, Author.CUSTOMER, "one")
        server.provider.write(PHONE, Author.CUSTOMER, "two")
        assert [delivery(server, 0), delivery(server, 1)] == [Delivery.WAITING, Delivery.GIVEN_UP]


# --- bounds -----------------------------------------------------------------------------------


async def test_a_history_that_reaches_back_to_forgotten_messages_is_truncated() -> None:
    clock = ManualClock(NOON)
    async with sandbox_server(clock, SandboxLimits(messages_per_customer_max=2)) as server:
        for _ in range(3):
            clock.advance_to(clock.now() + timedelta(seconds=10))
            server.provider.write(PHONE, Author.ASSISTANT, "hello")
        reaching = await history(server, NOON)
        later = await history(server, NOON + timedelta(seconds=10))
    assert (reaching.status, reaching.reason) == (RecallStatus.TRUNCATED, "forgotten")
    assert len(reaching.items) == 2
    assert later.status is RecallStatus.COMPLETE


async def test_the_customer_who_was_quiet_longest_is_forgotten_and_not_denied() -> None:
    clock = ManualClock(NOON)
    async with sandbox_server(clock, SandboxLimits(customers_max=2)) as server:
        server.provider.write(PHONE, Author.ASSISTANT, "hello")
        clock.advance_to(NOON + timedelta(seconds=10))
        second = server.provider.new_customer()
        server.provider.write(second.phone, Author.ASSISTANT, "hello")
        server.provider.write(PHONE, Author.ASSISTANT, "still there?")
        third = server.provider.new_customer()
        assert [chat.phone for chat in server.provider.customers()] == [third.phone, PHONE]
        gone = Address("phone", second.phone)
        reaching = await server.channel.history(gone, NOON, urgent=True)
        later = await server.channel.history(gone, clock.now(), urgent=True)
        newcomer = await server.channel.history(Address("phone", third.phone), NOON, urgent=False)
    assert reaching == History(RecallStatus.TRUNCATED, (), "forgotten")
    assert later.status is newcomer.status is RecallStatus.COMPLETE


async def test_new_customers_have_numbers_of_their_own(server: SandboxServer) -> None:
    server.provider.write("+15550100002", Author.CUSTOMER, "here already")
    _, made = await server.post("/sandbox/api/customers", {})
    assert (made["phone"], made["last"]) == ("+15550100003", None)
    listed = await server.get("/sandbox/api/customers")
    assert [each["phone"] for each in listed] == ["+15550100003", "+15550100002", PHONE]
