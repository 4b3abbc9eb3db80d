"""What ManyChat's External Requests bring, and who is let in with them."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from relevo.http.channels import WebhookRequest
from relevo.messages import Address, Author, Unusable
from relevo.outcomes import History
from relevo.turns import RecallStatus
from tests.fakes.manychat import PHONE, custom, full_contact, stamp
from tests.manychat_rig import ANA, NOW, Line, opened_line

LATER = NOW + timedelta(seconds=1)
CLOCKLESS = {"subscriber_id": 1234567890, "text": "hello"}


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
    assert line.manychat.token not in repr(line.settings)


async def test_a_whole_contact_is_a_message_of_the_customer(line: Line) -> None:
    message = line.message(full_contact("hello", NOW))
    assert (message.author, message.kind, message.body) == (Author.CUSTOMER, "text", "hello")
    assert message.addresses == (ANA, Address("phone", PHONE))
    assert message.event_at == NOW


async def test_the_recommended_body_tells_the_same_message(line: Line) -> None:
    recommended = {
        "secret_v": 1,
        "subscriber_id": 1234567890,
        "page_id": "987654",
        "text": "hello",
        "last_input_text": "hello",
        "last_interaction": "2026-08-11T12:04:13-03:00",
        "first_name": "Ana",
        "whatsapp_phone": "+16505551234",
        "whatsapp_bsuid": None,
    }
    assert line.message(recommended) == line.message(full_contact("hello", NOW))


async def test_who_has_no_phone_is_known_by_the_subscriber_and_the_bsuid(line: Line) -> None:
    contact = full_contact("hello", NOW, whatsapp_phone=None, whatsapp_bsuid="US.1349")
    assert line.message(contact).addresses == (ANA, Address("bsuid", "US.1349"))
    empty = full_contact("hello", NOW, whatsapp_phone="", whatsapp_bsuid="")
    assert line.message(empty).addresses == (ANA,)


@pytest.mark.parametrize(
    "given",
    [
        {"id": 1234567890},
        {"id": " 1234567890 "},
        {"user_id": "1234567890"},
        {"contact_id": 1234567890, "id": None},
        {"key": "user:1234567890"},
    ],
)
async def test_a_subscriber_is_read_under_every_name(line: Line, given: dict[str, Any]) -> None:
    assert line.message({**given, "text": "hello"}).addresses == (ANA,)


# One message or two


async def test_a_repeat_is_one_message_however_late_it_comes(line: Line) -> None:
    first = line.message(full_contact("hello", NOW))
    line.advance(3600)
    assert line.message(full_contact("hello", NOW, last_seen=stamp(LATER))).keys == first.keys
    assert line.message(custom("hello", NOW)).keys == first.keys
    utc = custom("hello", NOW, last_interaction="2026-08-11T15:04:13Z")
    assert line.message(utc).keys == first.keys


async def test_what_differs_is_another_message(line: Line) -> None:
    bodies = [
        custom("hello", NOW),
        custom("hello", LATER),
        custom("hello!", NOW),
        custom("hello", NOW, subscriber_id=1234567891),
    ]
    assert len({line.message(body).keys for body in bodies}) == 4


async def test_an_id_and_a_text_cannot_run_into_one_another(line: Line) -> None:
    one = line.message(custom("1hello", NOW, subscriber_id=12))
    other = line.message(custom("hello", NOW, subscriber_id=121))
    assert one.keys != other.keys


async def test_equal_texts_of_two_times_are_two_whatever_order_they_come_in(line: Line) -> None:
    later, earlier = line.message(custom("ok", LATER)), line.message(custom("ok", NOW))
    assert not set(later.keys) & set(earlier.keys)
    assert (earlier.event_at, later.event_at) == (NOW, LATER)


@pytest.mark.parametrize("seconds", [0, 1, 14.9, 15])
async def test_without_a_clock_what_comes_again_soon_is_a_repeat(
    line: Line, seconds: float
) -> None:
    first = line.message(CLOCKLESS)
    line.advance(seconds)
    assert set(line.message(CLOCKLESS).keys) & set(first.keys)
    assert first.event_at is None


async def test_without_a_clock_what_comes_again_later_is_another_message(line: Line) -> None:
    first = line.message(CLOCKLESS)
    line.advance(30)
    assert not set(line.message(CLOCKLESS).keys) & set(first.keys)


@pytest.mark.parametrize(
    "clock",
    [
        "{{last_interaction}}",
        "2026-08-11",
        "2026-08-11T12:04-03:00",
        "0000-00-00 00:00:00",
        "yesterday",
        "",
        0,
        True,
        None,
        {},
    ],
)
async def test_a_clock_that_stands_still_is_none(line: Line, clock: object) -> None:
    first = line.message({**CLOCKLESS, "last_interaction": clock})
    line.advance(30)
    again = line.message({**CLOCKLESS, "last_interaction": clock})
    assert not set(again.keys) & set(first.keys)
    assert first.event_at is None


async def test_a_clock_without_an_offset_tells_messages_apart_and_no_time(line: Line) -> None:
    first = line.message({**CLOCKLESS, "last_interaction": "2026-08-11 12:04:13"})
    line.advance(3600)
    again = line.message({**CLOCKLESS, "last_interaction": "2026-08-11 12:04:13"})
    other = line.message({**CLOCKLESS, "last_interaction": "2026-08-11 12:04:14"})
    assert first.keys == again.keys != other.keys
    assert (first.event_at, other.event_at) == (None, None)


@pytest.mark.parametrize(("minutes", "believed"), [(15, True), (16, False), (60 * 24 * 30, False)])
async def test_a_clock_that_lags_far_behind_is_no_time_of_a_message(
    line: Line, minutes: float, *, believed: bool
) -> None:
    first = line.message(custom("hello", NOW))
    line.advance(60 * minutes)
    again = line.message(custom("hello", NOW))
    assert again.keys == first.keys
    assert again.event_at == (NOW if believed else None)


@pytest.mark.parametrize("clock", [1786460653, "1786460653", 1786460653000])
async def test_a_clock_in_seconds_since_1970_is_read_too(line: Line, clock: object) -> None:
    message = line.message({**CLOCKLESS, "last_interaction": clock})
    assert message.event_at == NOW
    assert message.keys == line.message(custom("hello", NOW)).keys


# Texts


async def test_what_has_no_text_is_kept_as_something_that_was_sent(line: Line) -> None:
    for text in (None, "", "  "):
        message = line.message(full_contact(text, NOW))
        assert (message.kind, message.body.strip()) == ("other", "")


async def test_a_number_without_quotation_marks_is_a_text(line: Line) -> None:
    assert line.message({**CLOCKLESS, "text": 42}).body == "42"


async def test_a_long_text_is_kept_whole(line: Line) -> None:
    assert line.message({**CLOCKLESS, "text": "ש" * 10_000}).body == "ש" * 10_000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b'{"id":1,"text":"a "quoted" word"}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"null", "not_an_object"),
        (b"[]", "no_events"),
        (b"[" + b"{}," * 1000 + b"{}]", "too_many_events"),
        (b"{}", "no_address"),
        (b'{"id":0,"text":"a"}', "no_address"),
        (b'{"id":"{{user_id}}","text":"a"}', "no_address"),
        (b'{"id":1e99,"text":"a"}', "no_address"),
        (b'{"id":1}', "no_text"),
        (b'{"id":1,"text":["a"]}', "wrong_type"),
        (b'{"id":1,"text":"{{last_input_text}}"}', "not_rendered"),
    ],
)
async def test_what_cannot_be_read_is_kept_raw_with_a_word(
    line: Line, body: bytes, reason: str
) -> None:
    assert line.channel.parse(body) == (Unusable(reason),)


async def test_a_list_loses_none_of_its_parts(line: Line) -> None:
    good = b'{"id":1,"text":"a"}'
    arrivals = line.channel.parse(b"[" + good + b",7," + good.replace(b"1", b"2") + b"]")
    assert [type(arrival).__name__ for arrival in arrivals] == [
        "InboundMessage",
        "Unusable",
        "InboundMessage",
    ]


async def test_there_is_no_history_and_that_is_said(line: Line) -> None:
    history = await line.channel.history(ANA, NOW, urgent=True)
    assert history == History(RecallStatus.UNAVAILABLE, reason="no_history")
