import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from relevo.events import SendFailure
from relevo.http.channels import WebhookRequest
from relevo.messages import Address, Author, correlation_key
from relevo.outcomes import History, NotAccepted
from relevo.turns import RecallStatus
from tests.fakes.clock import until
from tests.wati_rig import ANA, NOW, PHONE, Line, opened_line, texts


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        yield opened


@pytest.mark.parametrize(
    ("headers", "query", "trusted"),
    [
        ({"x-relevo-secret": "s3cret"}, {}, True),
        ({}, {"secret": "s3cret"}, True),
        ({"x-relevo-secret": "wrong"}, {"secret": "s3cret"}, True),
        ({"x-relevo-secret": "wrong"}, {}, False),
        ({"x-relevo-secret": "\udcff\u00e9"}, {"secret": ""}, False),
        ({}, {}, False),
    ],
)
async def test_only_who_knows_the_secret_is_let_in(
    line: Line, headers: dict[str, str], query: dict[str, str], *, trusted: bool
) -> None:
    assert line.channel.authenticate(WebhookRequest(headers, query, b"")) is trusted


async def test_without_a_secret_nobody_is_let_in(line: Line) -> None:
    line.configure(webhook_secret="")
    assert not line.channel.authenticate(
        WebhookRequest({"x-relevo-secret": ""}, {"secret": ""}, b"")
    )


async def test_settings_do_not_print_what_is_secret(line: Line) -> None:
    assert "s3cret" not in repr(line.settings)
    assert line.wati.token not in repr(line.settings)


@pytest.mark.parametrize("order", ["newest_first", "oldest_first", "shuffled"])
async def test_history_is_given_oldest_first_however_pages_are_ordered(
    line: Line, order: str
) -> None:
    line.wati.history.order = order
    line.agent_says(*"abcdefghijkl")
    history = await line.recall()
    assert (history.status, texts(history)) == (RecallStatus.COMPLETE, list("abcdefghijkl"))
    assert [asked.page for asked in line.wati.asked] == [1, 2, 3]


@pytest.mark.parametrize("order", ["newest_first", "shuffled"])
async def test_what_shares_a_second_is_ordered_by_storage_time(line: Line, order: str) -> None:
    line.wati.history.order = order
    for number, text in enumerate("abcd"):
        line.wati.agent_message(PHONE, text, NOW - timedelta(seconds=9 - number * 0.2), "Maria")
    assert texts(await line.recall()) == list("abcd")


async def test_reading_stops_at_the_page_that_reaches_back_far_enough(line: Line) -> None:
    line.agent_says(*"abcdefghijkl", seconds_ago=7200)
    line.agent_says("new", seconds_ago=30)
    history = await line.recall(seconds=3600)
    assert (history.status, texts(history)) == (RecallStatus.COMPLETE, ["new"])
    assert len(line.wati.asked) == 1


async def test_a_message_of_the_very_second_that_is_asked_for_is_given(line: Line) -> None:
    line.agent_says("now", seconds_ago=60)
    assert texts(await line.recall(seconds=59.5)) == ["now"]


async def test_a_message_that_was_stored_late_is_given_and_ends_no_reading(line: Line) -> None:
    line.agent_says(*"abcdefg")
    late_at = NOW - timedelta(hours=5)
    said = {"timestamp": str(int(late_at.timestamp()))}
    line.wati.customer_message(PHONE, "late", NOW - timedelta(seconds=5), fields=said)
    history = await line.recall(seconds=3600)
    assert texts(history) == ["late", *"abcdefg"]
    assert history.items[0].event_at == late_at


async def test_a_message_that_arrives_between_two_pages_doubles_nothing(line: Line) -> None:
    line.agent_says(*"abcdefghijkl")
    line.wati.before_page = lambda number: line.agent_says(f"late {number}", seconds_ago=0)
    history = await line.recall()
    assert texts(history) == [*"abcdefghijkl", "late 1"]


async def test_a_history_longer_than_the_bound_says_so(line: Line) -> None:
    line.agent_says(*(f"m{number}" for number in range(40)))
    history = await line.recall()
    assert (history.status, history.reason) == (RecallStatus.TRUNCATED, "pages")
    assert texts(history) == [f"m{number}" for number in range(20, 40)]


async def test_authors_of_history_are_told_apart(line: Line) -> None:
    line.configure(assistant_operator="api@hotel.example")
    await line.channel.send(ANA, "ours", "relevo-1")
    wati = line.wati
    wati.customer_message(PHONE, "customer", NOW)
    wati.agent_message(PHONE, "agent", NOW, "Maria")
    wati.automation_message(PHONE, "automation", NOW)
    wati.broadcast(PHONE, "campaign", NOW)
    wati.agent_message(PHONE, "nobody", NOW, "")
    history = await line.recall()
    assert {item.body: (item.author, item.author_name) for item in history.items} == {
        "ours": (Author.ASSISTANT, ""),
        "customer": (Author.CUSTOMER, ""),
        "agent": (Author.AGENT, "Maria"),
        "automation": (Author.AUTOMATION, ""),
        "campaign": (Author.AUTOMATION, ""),
        "nobody": (Author.UNKNOWN, ""),
    }


async def test_our_correlation_id_in_the_history_is_proof_enough(line: Line) -> None:
    line.wati.history.local_ids = True
    await line.channel.send(ANA, "ours", "relevo-1")
    (item,) = (await line.recall()).items
    assert item.author is Author.ASSISTANT
    assert correlation_key("relevo-1") in item.keys


async def test_history_items_may_have_other_ids_or_only_their_own(line: Line) -> None:
    line.wati.history.whatsapp_ids = line.wati.history.webhook_ids = False
    line.wati.history.string_booleans = True
    said = line.wati.customer_message(PHONE, "hello", NOW)
    (item,) = (await line.recall()).items
    assert (item.author, item.keys) == (Author.CUSTOMER, (f"history-{said.number}",))


@pytest.mark.parametrize(
    "address",
    [
        ANA,
        Address("phone", f"+{PHONE}"),
        Address("bsuid", f"US.{PHONE}"),
        Address("wati", f"conv-{PHONE}"),
    ],
)
async def test_a_customer_is_asked_for_by_any_address(line: Line, address: Address) -> None:
    line.agent_says("hello")
    history = await line.recall(address=address)
    assert texts(history) == ["hello"]


async def test_an_odd_address_stays_one_part_of_the_path(line: Line) -> None:
    address = Address("bsuid", "a/b?c#d%2F é")
    history = await line.recall(address=address)
    assert history == History(RecallStatus.COMPLETE)
    assert [asked.target for asked in line.wati.asked] == [address.value]


async def test_an_unknown_customer_has_an_empty_history(line: Line) -> None:
    assert await line.recall() == History(RecallStatus.COMPLETE)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500, 503])
async def test_a_history_that_is_refused_is_not_complete(line: Line, status: int) -> None:
    line.wati.history.status = status
    assert await line.recall() == History(RecallStatus.FAILED, reason=f"http_{status}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "unreadable"),
        (b'{"result":false,"messages":null}', "result_false"),
        (b" " * (4 * 1024 * 1024 + 1), "too_large"),
    ],
)
async def test_a_history_that_cannot_be_read_is_not_complete(
    line: Line, body: bytes, reason: str
) -> None:
    line.wati.history.body = body
    assert await line.recall() == History(RecallStatus.FAILED, reason=reason)


async def test_a_failure_gives_back_what_was_read_before_it(line: Line) -> None:
    def fail_on_the_second(number: int) -> None:
        line.wati.history.status = 503 if number == 2 else 200

    line.agent_says(*"abcdefghijkl")
    line.wati.before_page = fail_on_the_second
    history = await line.recall()
    assert (history.status, history.reason) == (RecallStatus.FAILED, "http_503")
    assert texts(history) == list("hijkl")


async def test_a_history_that_never_answers_ends_in_time(line: Line) -> None:
    line.wati.history.hang = True
    async with asyncio.TaskGroup() as group:
        recall = group.create_task(line.recall())
        await until(lambda: line.wati.holding == 1)
        line.advance(10)
    assert recall.result() == History(RecallStatus.FAILED, reason="timeout")
    await until(lambda: line.wati.open_requests == 0)


async def test_a_provider_that_is_not_there_is_no_history(line: Line) -> None:
    await line.wati.stop()
    assert await line.recall() == History(RecallStatus.FAILED, reason="no_connection")
    sent = await line.channel.send(ANA, "hello", "relevo-1")
    assert sent == NotAccepted(SendFailure.NOT_SENT, "no_connection")


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("4", 4), ("Mon, 02 Mar 2026 10:00:06 GMT", 6), ("", 1), ("soon", 1), ("0", 1)],
)
async def test_a_429_is_asked_again_when_it_says(
    line: Line, retry_after: str, seconds: int
) -> None:
    line.agent_says("hello")
    line.wati.history.status, line.wati.history.retry_after = 429, retry_after
    async with asyncio.TaskGroup() as group:
        recall = group.create_task(line.recall())
        await until(lambda: line.clock.next_alarm_at == NOW + timedelta(seconds=seconds))
        line.wati.history.status = 200
        line.advance(seconds)
    assert texts(recall.result()) == ["hello"]
    assert [asked.at for asked in line.wati.asked] == [NOW, NOW + timedelta(seconds=seconds)]


async def test_a_429_for_longer_than_a_recall_may_last_ends_it_at_once(line: Line) -> None:
    line.wati.history.status, line.wati.history.retry_after = 429, "11"
    assert await line.recall() == History(RecallStatus.FAILED, reason="rate_limited")
