"""What was said with a customer, as Twilio's lists tell it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import orjson
import pytest

from relevo.messages import Address, Author, InboundMessage
from relevo.outcomes import History
from relevo.turns import RecallStatus
from tests.fakes.clock import until
from tests.fakes.twilio import LIST, FakeTwilio
from tests.twilio_rig import ANA, NOW, PHONE, Line, opened_line

DAY_SECONDS = 86_400


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        yield opened


def told(history: History) -> list[tuple[Author, str]]:
    return [(item.author, item.body) for item in history.items]


async def test_both_directions_make_one_history_in_order(line: Line) -> None:
    line.twilio.say(PHONE, "customer", "a room?", line.ago(300))
    line.twilio.say(PHONE, "reply", "we are closed", line.ago(299))
    line.twilio.say(PHONE, "api", "a late checkout, I promise", line.ago(200))
    line.twilio.say(PHONE, "call", "call us", line.ago(150))
    line.twilio.say(PHONE, "customer", "thanks", line.ago(100))
    line.twilio.say("+15550109999", "customer", "someone else", line.ago(90))
    history = await line.recall()
    assert history.status is RecallStatus.COMPLETE
    assert told(history) == [
        (Author.CUSTOMER, "a room?"),
        (Author.AUTOMATION, "we are closed"),
        (Author.AGENT, "a late checkout, I promise"),
        (Author.AUTOMATION, "call us"),
        (Author.CUSTOMER, "thanks"),
    ]
    assert history.items[0].event_at == line.ago(300)
    assert history.items[0].keys == (line.twilio.said[0].sid,)


async def test_the_lists_are_asked_for_by_day_and_the_queue_without(line: Line) -> None:
    await line.recall(DAY_SECONDS)
    days = [query.get("DateSent>") for query in line.twilio.asked]
    assert days == ["2026-03-01", "2026-03-01", None]


async def test_what_was_said_before_is_left_out(line: Line) -> None:
    line.twilio.say(PHONE, "customer", "long ago", line.ago(301))
    line.twilio.say(PHONE, "customer", "of this second", line.ago(300))
    assert told(await line.recall(299)) == []
    assert told(await line.recall(299.5)) == [(Author.CUSTOMER, "of this second")]


@pytest.mark.parametrize("hides_queued", [True, False])
async def test_what_still_waits_to_be_sent_is_found_once(line: Line, *, hides_queued: bool) -> None:
    line.twilio.lists.hides_queued = hides_queued
    await line.channel.send(ANA, "hello", "relevo-1")
    history = await line.recall()
    assert told(history) == [(Author.AGENT, "hello")]
    assert history.items[0].event_at == NOW


async def test_of_the_queue_only_the_newest_are_looked_at(line: Line) -> None:
    line.twilio.lists.page_size_max = 1
    for number in range(3):
        line.twilio.say(PHONE, "api", str(number), line.ago(100 - number))
    assert len((await line.recall()).items) == 3
    queue = [query for query in line.twilio.asked if "DateSent>" not in query]
    assert len(queue) == 1


@pytest.mark.parametrize("status", ["failed", "undelivered", "canceled", "scheduled"])
async def test_what_no_customer_has_seen_was_not_said(line: Line, status: str) -> None:
    line.twilio.say(PHONE, "api", "hello", line.ago(60), status)
    assert told(await line.recall()) == []


@pytest.mark.parametrize("order", ["newest_first", "shuffled"])
async def test_pages_are_read_to_their_end_in_any_order(line: Line, order: str) -> None:
    line.twilio.lists.page_size_max, line.twilio.lists.order = 3, order
    expected = [f"text {number}" for number in range(20)]
    for number, text in enumerate(expected):
        author = "api" if number % 2 else "customer"
        line.twilio.say(PHONE, author, text, line.ago(100 - number))
    history = await line.recall()
    assert (history.status, [item.body for item in history.items]) == (
        RecallStatus.COMPLETE,
        expected,
    )


async def test_more_pages_than_allowed_are_said_to_be_missing(line: Line) -> None:
    line.twilio.lists.page_size_max = 1
    for number in range(6):
        line.twilio.say(PHONE, "customer", str(number), line.ago(100 - number))
    line.twilio.say(PHONE, "api", "hello", line.ago(50))
    history = await line.recall()
    assert (history.status, history.reason) == (RecallStatus.TRUNCATED, "pages")
    assert [item.body for item in history.items] == ["2", "3", "4", "5", "hello"]


@pytest.mark.parametrize(
    "path", ["@evil.example.com/", "//evil.example.com/", "/2010-04-01/Accounts/AC1/Messages.json?"]
)
async def test_a_next_page_elsewhere_is_not_asked_for(line: Line, path: str) -> None:
    line.twilio.lists.page_size_max, line.twilio.lists.next_path = 1, path
    for number in range(2):
        line.twilio.say(PHONE, "customer", str(number), line.ago(100 - number))
    history = await line.recall()
    assert (history.status, history.reason) == (RecallStatus.FAILED, "unreadable")
    assert [item.body for item in history.items] == ["1"]


async def test_a_next_page_that_is_always_the_same_comes_to_an_end(line: Line) -> None:
    line.twilio.lists.page_size_max = 1
    query = f"From=whatsapp:%2B{PHONE[1:]}&To=whatsapp:%2B15550783881&PageSize=1"
    line.twilio.lists.next_path = f"{LIST}?{query}"
    for number in range(2):
        line.twilio.say(PHONE, "customer", str(number), line.ago(100 - number))
    assert (await line.recall()).status is RecallStatus.TRUNCATED


async def test_a_429_is_waited_for_and_asked_again(line: Line) -> None:
    line.twilio.say(PHONE, "customer", "hello", line.ago(60))
    line.twilio.lists.statuses, line.twilio.lists.retry_after = (429,), "2"
    async with asyncio.TaskGroup() as group:
        recalling = group.create_task(line.recall())
        await until(lambda: line.clock.next_alarm_at == NOW + timedelta(seconds=2))
        line.advance(2)
    assert told(recalling.result()) == [(Author.CUSTOMER, "hello")]


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "http_401"), (404, "http_404"), (503, "http_503")]
)
async def test_a_list_that_is_refused_is_a_failed_recall(
    line: Line, status: int, reason: str
) -> None:
    line.twilio.lists.status = status
    history = await line.recall()
    assert (history.status, history.reason) == (RecallStatus.FAILED, reason)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"messages": {}}'])
async def test_a_list_that_cannot_be_read_is_a_failed_recall(line: Line, body: bytes) -> None:
    line.twilio.lists.body = body
    history = await line.recall()
    assert (history.status, history.reason) == (RecallStatus.FAILED, "unreadable")


async def test_a_failed_page_keeps_what_was_read_before_it(line: Line) -> None:
    line.twilio.say(PHONE, "customer", "hello", line.ago(60))
    line.twilio.lists.statuses = (200, 500)
    history = await line.recall()
    assert (history.status, told(history)) == (RecallStatus.FAILED, [(Author.CUSTOMER, "hello")])


async def test_a_list_that_never_comes_ends_in_time(line: Line) -> None:
    line.twilio.lists.hang = True
    async with asyncio.TaskGroup() as group:
        recalling = group.create_task(line.recall())
        await until(lambda: line.twilio.holding == 1)
        line.advance(10)
    history = recalling.result()
    assert (history.status, history.reason) == (RecallStatus.FAILED, "timeout")


async def test_no_connection_is_a_failed_recall(line: Line) -> None:
    line.configure(base_url="http://127.0.0.1:9")
    history = await line.recall()
    assert (history.status, history.reason) == (RecallStatus.FAILED, "no_connection")


async def test_a_person_without_an_address_here_has_no_history(line: Line) -> None:
    history = await line.recall(address=Address("wati", "68c8d561"))
    assert history == History(RecallStatus.UNAVAILABLE, (), "no_address")


async def test_odd_items_are_left_out_or_told_without_a_time(line: Line) -> None:
    things = [
        7,
        {"direction": "sideways", "sid": "SM1"},
        {"direction": "inbound", "sid": "SM2", "body": "when?", "date_sent": "soon"},
        {"direction": "inbound", "sid": "SM3", "num_media": "1", "date_sent": "2026-03-02T09:59Z"},
    ]
    line.twilio.lists.body = orjson.dumps({"messages": things})
    medium, untimed = (await line.recall()).items
    assert (medium.kind, medium.body, medium.event_at) == ("other", "", line.ago(60))
    assert (untimed.kind, untimed.body, untimed.event_at) == ("text", "when?", None)


async def test_a_webhook_and_the_history_tell_one_message_alike(line: Line) -> None:
    said = line.twilio.say(PHONE, "customer", "hello", line.ago(60))
    (arrival,) = line.channel.parse(FakeTwilio.webhook(said))
    assert isinstance(arrival, InboundMessage)
    (item,) = (await line.recall()).items
    assert (item.author, item.kind, item.body) == (arrival.author, arrival.kind, arrival.body)
    assert item.keys == arrival.keys
