"""Who is let in as Twilio, and what is read in what it posts."""

import hashlib
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from relevo.http.channels import WebhookRequest
from relevo.http.twilio_fields import FORM_BYTES_MAX
from relevo.http.twilio_reading import arrivals
from relevo.http.twilio_signature import is_signed, signature, urls_of
from relevo.messages import (
    Address,
    Arrival,
    Author,
    Ignored,
    InboundMessage,
    StatusUpdate,
    Unusable,
)
from tests.fakes.twilio import TOKEN, FakeTwilio
from tests.twilio_rig import ANA, PHONE, URL, Line, opened_line

SID = "SM0000000000000000000000000000000a"
BSUID = Address("bsuid", "US.13491208655302741918")
SAMPLE = (
    b"SmsMessageSid=SM0000000000000000000000000000000a&NumMedia=0&ProfileName=Ana&MessageType=text"
    b"&SmsSid=SM0000000000000000000000000000000a&WaId=15550101234&SmsStatus=received&Body=hello"
    b"&To=whatsapp%3A%2B15550783881&MessageSid=SM0000000000000000000000000000000a"
    b"&AccountSid=AC00000000000000000000000000000000&From=whatsapp%3A%2B15550101234"
    b"&ExternalUserId=whatsapp%3AUS.13491208655302741918&NumSegments=1&ReferralNumMedia=0"
    b"&ApiVersion=2010-04-01"
)
TEXT = {"MessageSid": SID, "From": f"whatsapp:{PHONE}", "Body": "hello", "SmsStatus": "received"}
MEDIA = {
    "MessageSid": "MM0000000000000000000000000000000b",
    "AccountSid": "AC00",
    "From": f"whatsapp:{PHONE}",
    "To": "whatsapp:+15550783881",
    "WaId": "15550101234",
    "ProfileName": "Ana",
    "ExternalUserId": "whatsapp:US.13491208655302741918",
    "Body": "my receipt",
    "NumMedia": "1",
    "MediaUrl0": "https://api.example.com/media/ME00",
    "MediaContentType0": "image/jpeg",
    "MessageType": "image",
    "Forwarded": "true",
    "OriginalRepliedMessageSid": "SM0c",
    "ButtonText": "Yes",
    "ButtonPayload": "yes",
    "Latitude": "37.46",
    "Longitude": "-122.21",
    "Address": "1 Road",
    "Label": "HQ",
    "SmsStatus": "received",
}


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        yield opened


def read(fields: dict[str, str]) -> Arrival:
    (arrival,) = arrivals(urlencode(fields).encode())
    return arrival


def message(fields: dict[str, str]) -> InboundMessage:
    arrival = read(fields)
    assert isinstance(arrival, InboundMessage)
    return arrival


def asked(headers: dict[str, str], body: bytes = SAMPLE, raw_query: str = "") -> WebhookRequest:
    pairs = (pair.partition("=") for pair in raw_query.split("&") if pair)
    return WebhookRequest(headers, {name: value for name, _, value in pairs}, body, raw_query)


def test_the_signature_is_that_of_the_vendor_s_documentation() -> None:
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    given = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    body = urlencode(fields).encode()
    assert is_signed("12345", iter([url]), body, "", given)
    assert not is_signed("12346", iter([url]), body, "", given)


@pytest.mark.parametrize(
    ("called", "raw_query"),
    [
        (URL, ""),
        (f"{URL}?a=1&b=%20x", "a=1&b=%20x"),
        ("https://relevo.example.com:443/webhooks/hotel-twilio", ""),
    ],
)
async def test_who_signs_with_the_token_is_let_in(line: Line, called: str, raw_query: str) -> None:
    headers = FakeTwilio.signed(called, SAMPLE)
    assert line.channel.authenticate(asked(headers, raw_query=raw_query))
    more = SAMPLE + b"&SomethingNew=x"
    assert not line.channel.authenticate(asked(headers, more, raw_query))


async def test_an_address_with_a_port_may_be_signed_without_it(line: Line) -> None:
    ported = "https://relevo.example.com:8443/webhooks/hotel-twilio"
    line.configure(public_url=ported)
    assert line.channel.authenticate(asked(FakeTwilio.signed(ported, SAMPLE)))
    assert line.channel.authenticate(asked(FakeTwilio.signed(URL, SAMPLE)))
    assert list(urls_of("http://[::1]:80/x", "")) == ["http://[::1]:80/x", "http://[::1]/x"]
    assert list(urls_of("http://[::1]/x", "")) == ["http://[::1]/x", "http://[::1]:80/x"]


@pytest.mark.parametrize("url", [f"{URL}/", "http://relevo.example.com/webhooks/hotel-twilio"])
async def test_a_signature_of_another_address_is_none(line: Line, url: str) -> None:
    assert not line.channel.authenticate(asked(FakeTwilio.signed(url, SAMPLE)))


async def test_a_missing_wrong_or_odd_signature_is_none(line: Line) -> None:
    wrong = FakeTwilio.signed(URL, SAMPLE, token="another")
    for headers in ({}, wrong, {"x-twilio-signature": "\udcff"}, {"x-twilio-signature": ""}):
        assert not line.channel.authenticate(asked(headers))


async def test_without_a_token_or_an_address_nobody_is_let_in(line: Line) -> None:
    line.configure(token="")
    assert not line.channel.authenticate(asked(FakeTwilio.signed(URL, SAMPLE, token="")))
    line.configure(token=TOKEN, public_url="")
    assert not line.channel.authenticate(asked(FakeTwilio.signed("", SAMPLE)))


async def test_a_name_that_comes_twice_is_signed_with_each_value_once(line: Line) -> None:
    body = b"To=b&To=a&To=b&MessageSid=SM1"
    headers = {"x-twilio-signature": signature(TOKEN, URL, b"MessageSidSM1ToaTob")}
    assert line.channel.authenticate(asked(headers, body))


async def test_bytes_that_are_not_utf8_do_not_break_a_signature(line: Line) -> None:
    body = b"Body=caf%E9&MessageSid=SM1&From=whatsapp:%2B15550101234"
    signed = b"Bodycaf\xe9Fromwhatsapp:+15550101234MessageSidSM1"
    headers = {"x-twilio-signature": signature(TOKEN, URL, signed)}
    assert line.channel.authenticate(asked(headers, body))
    (arrival,) = line.channel.parse(body)
    assert isinstance(arrival, InboundMessage)
    assert arrival.body == "caf\ufffd"


async def test_a_form_longer_than_any_of_twilio_s_is_not_even_read(line: Line) -> None:
    """It is read before it is known who sent it, and reading one of 4 MiB takes seconds."""
    longest = SAMPLE + b"&More=" + b"x" * (FORM_BYTES_MAX - len(SAMPLE) - 6)
    assert line.channel.authenticate(asked(FakeTwilio.signed(URL, longest), longest))
    longer = longest + b"x"
    assert not line.channel.authenticate(asked(FakeTwilio.signed(URL, longer), longer))


async def test_a_body_that_is_no_form_is_signed_by_its_hash(line: Line) -> None:
    body = b'{"a": 1}'
    query = f"bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = {"x-twilio-signature": signature(TOKEN, f"{URL}?{query}", b"")}
    assert line.channel.authenticate(asked(headers, body, query))
    assert not line.channel.authenticate(asked(headers, b'{"a": 2}', query))


def test_a_text_is_read_with_all_addresses_and_without_a_time() -> None:
    assert arrivals(SAMPLE) == (
        InboundMessage((SID,), (ANA, BSUID), Author.CUSTOMER, "text", "hello", None),
    )


def test_a_medium_keeps_its_caption_and_its_address() -> None:
    arrival = message(MEDIA)
    assert (arrival.kind, arrival.body) == ("image", "my receipt")
    assert arrival.media == "https://api.example.com/media/ME00"
    assert arrival.keys == ("MM0000000000000000000000000000000b",)


def test_several_media_of_one_message_are_all_kept() -> None:
    two = {**MEDIA, "NumMedia": "2", "MediaUrl1": "https://api.example.com/media/ME01"}
    assert message(two).media.split("\n") == [two["MediaUrl0"], two["MediaUrl1"]]


@pytest.mark.parametrize(
    ("fields", "kind", "body"),
    [
        ({"MessageType": "location", "Latitude": "37.46", "Longitude": "-122.21"}, "location", ""),
        ({"MessageType": "button", "ButtonText": "Yes", "Body": ""}, "button", "Yes"),
        ({"ButtonPayload": "yes", "Body": "Yes"}, "button", "Yes"),
        ({"MessageType": "hologram"}, "other", "hello"),
        ({"NumMedia": "1", "MediaContentType0": "audio/ogg"}, "audio", "hello"),
        ({"NumMedia": "1", "MediaContentType0": "text/vcard"}, "contacts", "hello"),
        ({"NumMedia": "1", "MediaContentType0": "application/pdf"}, "document", "hello"),
        ({"NumMedia": "many"}, "text", "hello"),
        ({"Latitude": "here", "Longitude": "there"}, "text", "hello"),
    ],
)
def test_a_kind_is_what_it_says_or_what_is_there(
    fields: dict[str, str], kind: str, body: str
) -> None:
    arrival = message({**TEXT, **fields})
    assert (arrival.kind, arrival.body) == (kind, body or "37.46, -122.21")


def test_a_place_is_told_with_its_name() -> None:
    place = {**MEDIA, "MessageType": "location", "NumMedia": "0"}
    assert message(place).body == "37.46, -122.21\nHQ, 1 Road"


@pytest.mark.parametrize(
    ("fields", "addresses"),
    [
        ({"From": f"whatsapp:{BSUID.value}"}, (BSUID,)),
        ({"From": f"whatsapp:{BSUID.value}", "WaId": "15550101234"}, (ANA, BSUID)),
        ({"From": "whatsapp: 15550101234"}, (ANA,)),
        ({"From": "whatsapp:0501234567", "WaId": ""}, (Address("phone", "0501234567"),)),
        ({"From": "", "WaId": "15550101234"}, (ANA,)),
        ({"From": "", "ParentExternalUserId": f"whatsapp:{BSUID.value}"}, (BSUID,)),
    ],
)
def test_a_customer_may_have_a_phone_an_id_or_both(
    fields: dict[str, str], addresses: tuple[Address, ...]
) -> None:
    assert message({**TEXT, **fields}).addresses == addresses


@pytest.mark.parametrize(
    ("status", "arrival"),
    [
        ("sent", StatusUpdate((SID,), "sent")),
        ("delivered", StatusUpdate((SID,), "delivered")),
        ("read", StatusUpdate((SID,), "read")),
        ("undelivered", StatusUpdate((SID,), "failed", "unclassified")),
        ("failed", StatusUpdate((SID,), "failed", "unclassified")),
        ("queued", Ignored("queued")),
        ("sending", Ignored("sending")),
        ("evaporated", Unusable("unknown_event")),
    ],
)
def test_a_status_comes_to_the_same_address(status: str, arrival: Arrival) -> None:
    assert arrivals(FakeTwilio.status(SID, status)) == (arrival,)
    older = {"SmsSid": SID, "SmsStatus": status}
    assert read(older) == arrival


def test_a_failure_is_told_by_twilio_s_code_or_else_by_meta_s() -> None:
    body = FakeTwilio.status(SID, "undelivered", ErrorCode="63016")
    assert arrivals(body) == (StatusUpdate((SID,), "failed", "window_closed"),)
    said = {"ErrorCode": "63999", "ChannelStatusMessage": "131026: not on WhatsApp"}
    body = FakeTwilio.status(SID, "undelivered", **said)
    assert arrivals(body) == (StatusUpdate((SID,), "failed", "undeliverable"),)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_form"),
        (b"&" * 2000, "not_form"),
        (b"a=1&" * 2000, "not_form"),
        (b'{"MessageSid": "SM1"}', "no_id"),
        (b"\xff\xfe\x00", "no_id"),
        (b"Body=hello", "no_id"),
        (b"MessageSid=SM1", "unknown_event"),
        (b"MessageSid=SM1&Body=hello", "no_address"),
        (b"MessageSid=SM1&Body=hello&From=%2B15550101234&WaId=15550101234", "no_address"),
        (b"MessageSid=SM1&Body=hello&From=whatsapp:nobody", "no_address"),
    ],
)
def test_what_cannot_be_read_is_kept_raw_with_a_word(body: bytes, reason: str) -> None:
    assert arrivals(body) == (Unusable(reason),)


async def test_what_was_written_to_another_sender_is_set_aside(line: Line) -> None:
    other = {**TEXT, "To": "whatsapp:+15550009999"}
    assert line.channel.parse(urlencode(other).encode()) == (Unusable("other_line"),)
    for to in ("whatsapp:+15550783881", "whatsapp:15550783881", "", "MG00"):
        (arrival,) = line.channel.parse(urlencode({**TEXT, "To": to}).encode())
        assert isinstance(arrival, InboundMessage)


async def test_a_status_is_taken_whoever_it_was_sent_to(line: Line) -> None:
    body = FakeTwilio.status(SID, "read", From="whatsapp:+15550783881")
    assert line.channel.parse(body) == (StatusUpdate((SID,), "read"),)
