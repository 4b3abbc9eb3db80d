"""A line at Meta or 360dialog: who is let in, and what becomes of what is sent."""

import asyncio
import logging
from collections.abc import AsyncIterator

import orjson
import pytest

from relevo.events import SendFailure
from relevo.http.channels import WebhookRequest
from relevo.http.circuit import PROBE_SECONDS
from relevo.http.cloud_api_sending import send_answer
from relevo.http.meta_errors import META_ERRORS, FailureKind
from relevo.messages import Address, correlation_key
from relevo.outcomes import Accepted, History, NotAccepted
from relevo.turns import RecallStatus
from tests.cloud_api_rig import ANA, ANA_BSUID, APP_SECRET, NOW, PHONE, VERIFY_TOKEN, Line
from tests.cloud_api_rig import opened_line as opened
from tests.fakes.clock import until
from tests.fakes.cloud_api import Sending, error, refused, signed

BODY = b'{"entry":[],"text":"caf\\u00e9"}'
BEN = Address("phone", "+16505555678")
SIGNATURE = signed(BODY, APP_SECRET)["X-Hub-Signature-256"]


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened() as opened_line:
        yield opened_line


def knock(line: Line, *, body: bytes = BODY, **headers: str) -> bool:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return line.channel.authenticate(WebhookRequest(named, {}, body))


async def test_only_what_meta_signed_is_let_in(line: Line) -> None:
    assert knock(line, x_hub_signature_256=SIGNATURE)
    assert not knock(
        line, x_hub_signature_256=SIGNATURE, body=BODY.replace(b"\\u00e9", b"\xc3\xa9")
    )
    assert not knock(line, x_hub_signature_256=SIGNATURE, body=BODY + b" ")
    assert not knock(line, x_hub_signature_256=signed(BODY, "another-secret").popitem()[1])


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        SIGNATURE[7:],
        SIGNATURE[:-1],
        SIGNATURE + "0",
        "sha256=\udcff\u00e9",
        "é" * 71,
    ],
)
async def test_no_odd_signature_is_let_in_or_fails(line: Line, signature: str) -> None:
    assert not knock(line, x_hub_signature_256=signature)


async def test_without_a_secret_or_a_signature_nothing_is_let_in(line: Line) -> None:
    assert not knock(line)
    assert not knock(line, x_relevo_secret=APP_SECRET)
    line.configure(webhook_secret="")
    assert not knock(line, x_hub_signature_256=signed(BODY, "").popitem()[1])


@pytest.mark.parametrize(
    ("headers", "query", "trusted"),
    [
        ({"x-relevo-secret": APP_SECRET}, {}, True),
        ({}, {"secret": APP_SECRET}, True),
        ({"x-relevo-secret": "\udcff\u00e9"}, {"secret": ""}, False),
        ({"x-hub-signature-256": SIGNATURE}, {}, False),
        ({}, {}, False),
    ],
)
async def test_a_webhook_of_360dialog_carries_our_secret(
    line: Line, headers: dict[str, str], query: dict[str, str], *, trusted: bool
) -> None:
    line.by_360dialog()
    assert line.channel.authenticate(WebhookRequest(headers, query, BODY)) is trusted


ASKED = {
    "hub.mode": "subscribe",
    "hub.challenge": "1158201444",
    "hub.verify_token": VERIFY_TOKEN,
}


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, "1158201444"),
        ({"hub.verify_token": "wrong"}, None),
        ({"hub.verify_token": "\udcff"}, None),
        ({"hub.verify_token": ""}, None),
        ({"hub.mode": "unsubscribe"}, None),
        ({"hub.challenge": ""}, None),
        ({"hub.challenge": "<script>"}, None),
        ({"hub.challenge": "1" * 300}, None),
    ],
)
async def test_a_challenge_is_answered_to_whoever_knows_the_verify_token(
    line: Line, changes: dict[str, str], answer: str | None
) -> None:
    assert line.channel.challenge({**ASKED, **changes}) == answer


async def test_without_a_verify_token_no_challenge_is_answered(line: Line) -> None:
    line.configure(verify_token="")
    assert line.channel.challenge({**ASKED, "hub.verify_token": ""}) is None


async def test_settings_do_not_print_what_is_secret(line: Line) -> None:
    for secret in (APP_SECRET, VERIFY_TOKEN, line.meta.token):
        assert secret not in repr(line.settings)


async def test_there_is_no_history_to_ask(line: Line) -> None:
    history = await line.channel.history(ANA, NOW, urgent=True)
    assert history == History(RecallStatus.UNAVAILABLE)


async def test_a_text_arrives_as_it_was_written(line: Line) -> None:
    text = "Sí & ¿100% más+? #1\n你好 👍"
    answer = await line.channel.send(ANA, text, "relevo-hotel-7-1")
    (sent,) = line.meta.sends
    assert sent.message == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": PHONE,
        "type": "text",
        "text": {"body": text, "preview_url": False},
        "biz_opaque_callback_data": "relevo-hotel-7-1",
    }
    assert answer == Accepted((sent.id, correlation_key("relevo-hotel-7-1")))


async def test_who_has_no_phone_is_written_to_by_another_field(line: Line) -> None:
    assert isinstance(await line.send(to=ANA_BSUID), Accepted)
    (sent,) = line.meta.sends
    assert (sent.message["recipient"], "to" in sent.message) == (ANA_BSUID.value, False)


async def test_an_address_of_another_provider_is_not_written_to(line: Line) -> None:
    refusal = NotAccepted(SendFailure.REJECTED, "no_address")
    assert await line.send(to=Address("wati", "68c8")) == refusal
    assert line.meta.sends == []


async def test_what_no_text_can_hold_is_left_out(line: Line) -> None:
    await line.channel.send(ANA, "a\ud83db\0", "relevo-1")
    assert line.meta.texts_to(PHONE) == ["a\ufffdb"]


async def test_360dialog_takes_the_same_with_its_own_key(line: Line) -> None:
    line.by_360dialog()
    assert isinstance(await line.send(), Accepted)
    assert line.meta.texts_to(PHONE) == ["hello"]
    line.configure(token="wrong")
    assert await line.send() == NotAccepted(SendFailure.STOPPED, "unauthorized")


@pytest.mark.parametrize("code", sorted(META_ERRORS))
@pytest.mark.parametrize("status", [400, 500])
def test_a_code_decides_and_not_its_http_status(code: int, status: int) -> None:
    assert send_answer(status, orjson.dumps(error(code)), "relevo-1") == META_ERRORS[code]


@pytest.mark.parametrize(
    ("status", "failure", "reason"),
    [
        (302, SendFailure.REJECTED, "http_302"),
        (400, SendFailure.REJECTED, "http_400"),
        (404, SendFailure.REJECTED, "http_404"),
        (401, SendFailure.STOPPED, "unauthorized"),
        (402, SendFailure.STOPPED, "account_payment"),
        (403, SendFailure.STOPPED, "unauthorized"),
        (408, SendFailure.UNKNOWN, "http_408"),
        (500, SendFailure.UNKNOWN, "http_500"),
        (503, SendFailure.UNKNOWN, "http_503"),
        (204, SendFailure.UNKNOWN, "http_204"),
    ],
)
async def test_a_status_says_what_is_known_about_a_send(
    line: Line, status: int, failure: SendFailure, reason: str
) -> None:
    answer = await line.send(Sending(recorded=False, status=status))
    assert answer == NotAccepted(failure, reason)


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (400, {"errors": [{"code": 131047, "title": "no"}]}, META_ERRORS[131047]),
        (400, {"errors": [{"title": "(#131026) undeliverable"}]}, META_ERRORS[131026]),
        (400, {"error": {"message": "(#130429) Rate limit hit"}}, META_ERRORS[130429]),
        (404, {"errors": [{"code": 100}]}, FailureKind(SendFailure.REJECTED, "http_404")),
        (400, {"error": {"code": 999999}}, FailureKind(SendFailure.REJECTED, "http_400")),
        (200, error(131000), META_ERRORS[131000]),
        (
            200,
            {"messages": [{"id": "wamid.1"}], **error(131026)},
            FailureKind(SendFailure.UNKNOWN, "unreadable"),
        ),
        (200, {"messages": []}, FailureKind(SendFailure.UNKNOWN, "unreadable")),
        (200, {"messages": [{}]}, FailureKind(SendFailure.UNKNOWN, "unreadable")),
        (200, [], FailureKind(SendFailure.UNKNOWN, "unreadable")),
    ],
)
def test_an_answer_is_judged_by_what_it_says(
    status: int, answer: object, expected: FailureKind
) -> None:
    assert send_answer(status, orjson.dumps(answer), "relevo-1") == expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"<html>", "unreadable"), (b"{}", "unreadable"), (b" " * (256 * 1024 + 1), "too_large")],
)
async def test_a_200_that_cannot_be_read_leaves_it_open(
    line: Line, body: bytes, reason: str
) -> None:
    assert await line.send(Sending(body=body)) == NotAccepted(SendFailure.UNKNOWN, reason)


async def test_a_connection_that_breaks_leaves_open_what_has_left(line: Line) -> None:
    await line.send()
    broken = await line.send(Sending(drop=True))
    assert broken == NotAccepted(SendFailure.UNKNOWN, "disconnected")
    assert line.meta.texts_to(PHONE) == ["hello", "hello"]
    await line.meta.stop()
    assert await line.send() == NotAccepted(SendFailure.NOT_SENT, "no_connection")


async def test_a_send_that_is_never_answered_leaves_it_open(line: Line) -> None:
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(line.send(Sending(hang=True)))
        await until(lambda: line.meta.holding == 1)
        line.advance(15)
    assert sending.result() == NotAccepted(SendFailure.UNKNOWN, "timeout")
    await until(lambda: line.meta.open_requests == 0)


async def test_a_limit_of_one_pair_brakes_nobody_else(line: Line) -> None:
    limited = await line.send(refused(131056))
    assert limited == NotAccepted(SendFailure.RATE_LIMITED, "pair_rate", 6)
    assert isinstance(await line.send(to=BEN), Accepted)


@pytest.mark.parametrize(("retry_after", "seconds"), [("", 1), ("7", 7), ("999", 60), ("soon", 1)])
async def test_a_limit_of_the_line_brakes_everybody(
    line: Line, retry_after: str, seconds: float
) -> None:
    body = orjson.dumps(error(130429))
    limit = Sending(recorded=False, status=400, body=body, retry_after=retry_after)
    assert await line.send(limit) == NotAccepted(SendFailure.RATE_LIMITED, "line_rate", seconds)
    braked = NotAccepted(SendFailure.RATE_LIMITED, "line_braked", seconds)
    assert await line.send(to=BEN) == braked
    line.advance(seconds)
    assert isinstance(await line.send(to=BEN), Accepted)


async def test_a_wrong_token_stops_the_line_until_a_probe_is_taken(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        stopped = await line.send(refused(190, status=401))
    assert stopped == NotAccepted(SendFailure.STOPPED, "unauthorized")
    assert line.channel.stopped
    assert "line stopped: channel hotel-meta" in caplog.text
    assert line.meta.token not in caplog.text
    assert await line.send() == NotAccepted(SendFailure.STOPPED, "line_stopped")
    line.advance(PROBE_SECONDS)
    assert isinstance(await line.send(), Accepted)
    assert not line.channel.stopped
