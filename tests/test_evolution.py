"""Who is let in by Evolution's channel, and what it makes of a history."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from relevo.http.channels import WebhookRequest
from relevo.http.evolution import ADDRESSES_REMEMBERED_MAX
from relevo.messages import Address, Author
from relevo.outcomes import History
from relevo.turns import RecallStatus
from tests.evolution_rig import ANA, ANA_LID, CHAT, LID, NOW, PHONE, Line, opened_line, texts
from tests.fakes.clock import until
from tests.fakes.evolution import OWN, Chat

SYNCED = Chat(PHONE)
"""The same customer, as the phone's own history names her."""
BEN = Chat("15550105678", "99001122334455")


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        yield opened


@pytest.mark.parametrize(
    ("headers", "query", "trusted"),
    [
        ({"x-relevo-secret": "s3cret"}, {}, True),
        ({}, {"secret": "s3cret"}, True),
        ({}, {"secret": "s3cret/messages-upsert"}, True),
        ({}, {"secret": "s3cre/messages-upsert"}, False),
        ({}, {"secret": "/messages-upsert"}, False),
        ({"x-relevo-secret": "wrong"}, {"secret": "s3cret"}, True),
        ({"x-relevo-secret": "wrong"}, {}, False),
        ({"x-relevo-secret": "\udcff\u00e9"}, {"secret": ""}, False),
        ({"apikey": "s3cret"}, {"apikey": "s3cret"}, False),
        ({}, {}, False),
    ],
)
async def test_only_who_knows_the_secret_is_let_in(
    line: Line, headers: dict[str, str], query: dict[str, str], *, trusted: bool
) -> None:
    assert line.channel.authenticate(WebhookRequest(headers, query, b"")) is trusted


async def test_without_a_secret_nobody_is_let_in(line: Line) -> None:
    line.configure(webhook_secret="")
    for secret in ("", "/messages-upsert"):
        empty = WebhookRequest({"x-relevo-secret": ""}, {"secret": secret}, b"")
        assert not line.channel.authenticate(empty)


async def test_settings_do_not_print_what_is_secret(line: Line) -> None:
    assert "s3cret" not in repr(line.settings)
    assert line.evolution.key not in repr(line.settings)


@pytest.mark.parametrize("filters", ["separate", "ignored", "bare"])
async def test_history_is_given_oldest_first_whatever_a_version_filters_by(
    line: Line, filters: str
) -> None:
    line.configure(recall_pages_max=30)
    line.evolution.filters = filters
    line.says(*"abcdef")
    line.says("from the phone", chat=SYNCED, seconds_ago=50)
    line.says("Ben's", "Ben's too", chat=BEN, seconds_ago=40)
    line.says("to Ben", chat=BEN, seconds_ago=39, from_me=True)
    line.says("sure", seconds_ago=30, from_me=True)
    history = await line.recall()
    assert history.status is RecallStatus.COMPLETE
    assert texts(history) == [*"abcdef", "from the phone", "sure"]
    authors = [item.author for item in history.items]
    assert authors == [Author.CUSTOMER] * 7 + [Author.AGENT]


@pytest.mark.parametrize("address", [ANA, ANA_LID, Address("phone", f"+{PHONE}")])
async def test_all_names_of_a_customer_are_asked_for(line: Line, address: Address) -> None:
    line.says("old enough to tell her lid", seconds_ago=7200)
    line.says("from the phone", chat=SYNCED, seconds_ago=60)
    line.says("answered", seconds_ago=30, from_me=True)
    assert texts(await line.recall(address=address)) == ["from the phone", "answered"]
    asked = [question["where"]["key"] for question in line.evolution.asked]
    jids = (f"{PHONE}@s.whatsapp.net", f"{LID}@lid")
    both = [{name: jid} for jid in jids for name in ("remoteJid", "remoteJidAlt")]
    assert sorted(map(str, asked)) == sorted(map(str, both))


async def test_a_customer_of_whom_only_the_lid_is_known_has_a_history(line: Line) -> None:
    line.says("hello", chat=Chat(lid=LID))
    line.says("yes?", chat=Chat(lid=LID), seconds_ago=30, from_me=True)
    assert texts(await line.recall(address=ANA_LID)) == ["hello", "yes?"]


@pytest.mark.parametrize("address", [ANA, Address("phone", f"+{PHONE}"), ANA_LID])
async def test_names_that_no_row_has_together_are_known_from_webhooks(
    line: Line, address: Address
) -> None:
    only_lid = Chat(lid=LID)
    said = line.evolution.say(only_lid, "hello", NOW, senderPn=f"{PHONE}@s.whatsapp.net")
    line.says("from the phone", chat=SYNCED)
    line.says("yes?", chat=only_lid, seconds_ago=30, from_me=True)
    line.channel.parse(orjson.dumps(said.webhook()))
    assert texts(await line.recall(address=address)) == ["from the phone", "yes?", "hello"]


async def test_no_more_names_are_remembered_than_there_is_room_for(line: Line) -> None:
    for number in range(ADDRESSES_REMEMBERED_MAX // 2 + 1):
        key: dict[str, Any] = {"remoteJidAlt": f"99{number:09}@lid"}
        said = line.evolution.say(Chat(f"1555{number:07}"), "hello", NOW, **key)
        line.channel.parse(orjson.dumps(said.webhook()))
    line.evolution.said.clear()
    for number, questions in ((0, 2), (1, 4)):
        line.evolution.asked.clear()
        await line.recall(address=Address("phone", f"1555{number:07}"))
        assert len(line.evolution.asked) == questions


async def test_our_own_number_beside_a_reply_brings_in_nobody_else(line: Line) -> None:
    own: dict[str, Any] = {"remoteJidAlt": f"{OWN}@s.whatsapp.net"}
    line.says("hello")
    line.says("yes?", seconds_ago=30, from_me=True, **own)
    line.says("to Ben", chat=BEN, seconds_ago=20, from_me=True, **own)
    assert texts(await line.recall(address=ANA_LID)) == ["hello", "yes?"]
    assert OWN not in str(line.evolution.asked)


async def test_no_filter_for_time_is_used(line: Line) -> None:
    await line.recall()
    assert {*line.evolution.asked[0]["where"]} == {"key"}


async def test_reading_stops_at_the_page_that_reaches_back_far_enough(line: Line) -> None:
    line.says(*"abcdefghijkl", seconds_ago=7200, chat=SYNCED)
    line.says("new", seconds_ago=30, chat=SYNCED)
    history = await line.recall(seconds=3600)
    assert (history.status, texts(history)) == (RecallStatus.COMPLETE, ["new"])
    assert [question["page"] for question in line.evolution.asked] == [1, 1]


async def test_a_message_of_the_very_second_that_is_asked_for_is_given(line: Line) -> None:
    line.says("now", seconds_ago=60)
    assert texts(await line.recall(seconds=59.5)) == ["now"]


async def test_what_shares_a_second_keeps_the_order_of_the_history(line: Line) -> None:
    for number, text in enumerate("abcd"):
        line.evolution.say(SYNCED, text, NOW - timedelta(seconds=9 - number * 0.2))
    assert texts(await line.recall()) == list("abcd")


async def test_a_message_that_arrives_between_two_pages_doubles_nothing(line: Line) -> None:
    line.says(*"abcdefghijkl", chat=SYNCED)
    line.evolution.before_page = lambda _: line.says("late", chat=SYNCED, seconds_ago=0)
    history = await line.recall()
    assert [text for text in texts(history) if text != "late"] == list("abcdefghijkl")
    assert len({item.keys for item in history.items}) == len(history.items)


async def test_a_row_that_is_stored_twice_is_given_once(line: Line) -> None:
    line.says("once")
    line.evolution.said *= 2
    assert texts(await line.recall()) == ["once"]


async def test_a_history_longer_than_the_bound_says_so(line: Line) -> None:
    line.configure(recall_pages_max=3)
    line.says(*(f"m{number}" for number in range(40)), chat=SYNCED)
    history = await line.recall()
    assert (history.status, history.reason) == (RecallStatus.TRUNCATED, "pages")
    assert texts(history) == [f"m{number}" for number in range(25, 40)]


async def test_a_server_that_does_not_turn_pages_is_not_believed(line: Line) -> None:
    line.evolution.filters = "same_page"
    line.says(*"abcdefghijkl", chat=SYNCED)
    history = await line.recall()
    assert (history.status, history.reason) == (RecallStatus.TRUNCATED, "pages")
    assert texts(history) == list("hijkl")


async def test_a_short_page_is_not_the_last_one_if_the_server_says_so(line: Line) -> None:
    line.evolution.page_max = 3
    line.says(*"abcdefgh", chat=SYNCED)
    history = await line.recall()
    assert (history.status, texts(history)) == (RecallStatus.COMPLETE, list("abcdefgh"))


async def test_a_full_page_is_the_last_one_if_the_server_says_so(line: Line) -> None:
    line.says(*"abcde", chat=SYNCED)
    assert texts(await line.recall()) == list("abcde")
    assert [question["page"] for question in line.evolution.asked] == [1, 1]


async def test_rows_that_say_nothing_are_left_out(line: Line) -> None:
    row = line.evolution.say(CHAT, "hello", NOW).row()
    rows: list[Any] = [
        row,
        7,
        {**row, "key": None},
        {**row, "key": {**row["key"], "id": None}},
        {**row, "key": {**row["key"], "id": "3A1", "fromMe": None}},
        {**row, "key": {**row["key"], "id": "3A2"}, "message": {"protocolMessage": {"type": 0}}},
        {**row, "key": {**row["key"], "id": "3A3"}, "message": None},
        {**row, "key": {**row["key"], "id": "3A4", "remoteJid": "12036@g.us"}},
        {**row, "key": {**row["key"], "id": "3A5"}, "messageTimestamp": None},
    ]
    claims = {"total": 9, "pages": 1, "currentPage": 1}
    line.evolution.history_body = orjson.dumps({"messages": {**claims, "records": rows}})
    history = await line.recall()
    assert [(item.keys, item.event_at) for item in history.items] == [
        ((row["key"]["id"],), NOW),
        (("3A5",), None),
    ]


async def test_an_unknown_customer_has_an_empty_history(line: Line) -> None:
    assert await line.recall() == History(RecallStatus.COMPLETE)


async def test_an_address_that_evolution_cannot_know_has_no_history(line: Line) -> None:
    history = await line.recall(address=Address("user", "7"))
    assert history == History(RecallStatus.FAILED, reason="no_address")
    assert line.evolution.asked == []


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
async def test_a_history_that_is_refused_is_not_complete(line: Line, status: int) -> None:
    line.evolution.history_status = status
    assert await line.recall() == History(RecallStatus.FAILED, reason=f"http_{status}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "unreadable"),
        (b"7", "unreadable"),
        (b"{}", "unreadable"),
        (b'{"messages":null}', "unreadable"),
        (b'{"messages":{"records":{}}}', "unreadable"),
        (b" " * (4 * 1024 * 1024 + 1), "too_large"),
    ],
)
async def test_a_history_that_cannot_be_read_is_not_complete(
    line: Line, body: bytes, reason: str
) -> None:
    line.evolution.history_body = body
    assert await line.recall() == History(RecallStatus.FAILED, reason=reason)


async def test_a_failure_gives_back_what_was_read_before_it(line: Line) -> None:
    def fail_on_the_second(question: dict[str, Any]) -> None:
        line.evolution.history_status = 503 if question["page"] == 2 else 200

    line.says(*"abcdefghijkl", chat=SYNCED)
    line.evolution.before_page = fail_on_the_second
    history = await line.recall()
    assert (history.status, history.reason) == (RecallStatus.FAILED, "http_503")
    assert texts(history) == list("hijkl")


async def test_a_history_that_never_answers_ends_in_time(line: Line) -> None:
    line.evolution.history_hangs = True
    async with asyncio.TaskGroup() as group:
        recall = group.create_task(line.recall())
        await until(lambda: line.evolution.holding == 1)
        line.advance(10)
    assert recall.result() == History(RecallStatus.FAILED, reason="timeout")


async def test_a_gateway_that_is_not_there_is_no_history(line: Line) -> None:
    await line.evolution.stop()
    assert await line.recall() == History(RecallStatus.FAILED, reason="no_connection")
