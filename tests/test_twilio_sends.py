"""Sends through Twilio, and each way in which one can fail."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from relevo.events import SendFailure
from relevo.http.circuit import PROBE_SECONDS
from relevo.http.meta_errors import META_WORDS
from relevo.http.twilio_sending import TWILIO_ERRORS
from relevo.messages import Address, correlation_key
from relevo.outcomes import Accepted, NotAccepted
from tests.fakes.clock import until
from tests.fakes.twilio import SENDER, Sending
from tests.twilio_rig import ANA, PHONE, URL, Line, opened_line

BSUID = Address("bsuid", "US.13491208655302741918")


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        yield opened


async def sent(line: Line, *sendings: Sending, to: Address = ANA) -> Accepted | NotAccepted:
    line.twilio.send_next(*sendings)
    return await line.channel.send(to, "hello", "relevo-1")


async def test_a_text_arrives_as_it_was_written(line: Line) -> None:
    text = "Sí & ¿100% más+? #1\n你好 👍 a=b;c"
    answer = await line.channel.send(ANA, text, "relevo-hotel-7-1")
    (form,) = line.twilio.sends
    assert form == {
        "From": f"whatsapp:{SENDER}",
        "To": f"whatsapp:{PHONE}",
        "Body": text,
        "StatusCallback": URL,
    }
    sid = line.twilio.said[0].sid
    assert answer == Accepted((sid, correlation_key("relevo-hotel-7-1")))


async def test_what_no_form_can_hold_is_left_out(line: Line) -> None:
    await line.channel.send(ANA, "a\ud83db\0", "relevo-1")
    assert line.twilio.texts_to(PHONE) == ["a\ufffdb"]


@pytest.mark.parametrize("written", ["15550101234", PHONE])
async def test_a_phone_is_written_to_with_its_plus(line: Line, written: str) -> None:
    await sent(line, to=Address("phone", written))
    assert line.twilio.texts_to(PHONE) == ["hello"]


async def test_a_bsuid_can_be_written_to_and_other_addresses_cannot(line: Line) -> None:
    assert isinstance(await sent(line, to=BSUID), Accepted)
    assert line.twilio.texts_to(BSUID.value) == ["hello"]
    for other in (Address("wati", "68c8d561"), Address("phone", "a&To=b"), Address("bsuid", "1")):
        answer = await sent(line, to=other)
        assert answer == NotAccepted(SendFailure.REJECTED, "no_address")
    assert len(line.twilio.sends) == 1


@pytest.mark.parametrize("sender", [SENDER, SENDER.lstrip("+")])
async def test_the_sender_may_be_written_without_its_plus(line: Line, sender: str) -> None:
    line.configure(sender=sender)
    await sent(line)
    assert line.twilio.sends[0]["From"] == f"whatsapp:{SENDER}"


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
    answer = await sent(line, Sending(recorded=False, status=status))
    assert answer == NotAccepted(failure, reason)


@pytest.mark.parametrize(
    ("code", "status", "failure", "reason"),
    [
        (63016, 400, SendFailure.REFUSED, "window_closed"),
        (63018, 429, SendFailure.RATE_LIMITED, "line_rate"),
        (63038, 429, SendFailure.STOPPED, "account_rate"),
        (20429, 429, SendFailure.RATE_LIMITED, "account_rate"),
        (20003, 401, SendFailure.STOPPED, "unauthorized"),
        (63007, 400, SendFailure.STOPPED, "line_unregistered"),
        (21211, 400, SendFailure.REFUSED, "undeliverable"),
        (21617, 400, SendFailure.REJECTED, "bad_request"),
        (99999, 400, SendFailure.REJECTED, "http_400"),
        (20500, 500, SendFailure.UNKNOWN, "http_500"),
    ],
)
async def test_a_code_says_more_than_the_status(
    line: Line, code: int, status: int, failure: SendFailure, reason: str
) -> None:
    answer = await sent(line, Sending(status=status, code=code))
    assert isinstance(answer, NotAccepted)
    assert (answer.failure, answer.reason) == (failure, reason)
    assert line.twilio.sends == []


def test_every_word_for_a_code_is_one_that_is_counted() -> None:
    assert {kind.word for kind in TWILIO_ERRORS.values()} <= {*META_WORDS}


async def test_a_message_that_failed_at_once_was_not_taken(line: Line) -> None:
    failed = b'{"sid": "SM1", "status": "failed", "error_code": 63016}'
    answer = await sent(line, Sending(recorded=False, body=failed))
    assert answer == NotAccepted(SendFailure.REFUSED, "window_closed")
    odd = b'{"sid": "SM1", "status": "undelivered", "error_code": null}'
    answer = await sent(line, Sending(recorded=False, body=odd))
    assert answer == NotAccepted(SendFailure.REJECTED, "unclassified")


async def test_a_rate_limit_slows_the_line_for_as_long_as_it_says(line: Line) -> None:
    limited = await sent(line, Sending(status=429, code=63018, retry_after="7"))
    assert limited == NotAccepted(SendFailure.RATE_LIMITED, "line_rate", 7)
    assert await sent(line) == NotAccepted(SendFailure.RATE_LIMITED, "line_braked", 7)
    assert line.twilio.sends == []
    line.advance(7)
    assert isinstance(await sent(line), Accepted)


async def test_a_rate_limit_that_does_not_say_how_long_lasts_a_second(line: Line) -> None:
    limited = await sent(line, Sending(status=429, retry_after="soon"))
    assert limited == NotAccepted(SendFailure.RATE_LIMITED, "rate_limited", 1)


async def test_a_line_that_is_stopped_sends_nothing_but_a_probe(line: Line) -> None:
    line.configure(token="wrong")
    assert await sent(line) == NotAccepted(SendFailure.STOPPED, "unauthorized")
    assert line.channel.stopped
    assert await sent(line) == NotAccepted(SendFailure.STOPPED, "line_stopped")
    line.advance(PROBE_SECONDS)
    assert await sent(line) == NotAccepted(SendFailure.STOPPED, "unauthorized")


async def test_a_line_that_a_person_has_mended_works_again(line: Line) -> None:
    await sent(line, Sending(recorded=False, status=401))
    line.advance(PROBE_SECONDS)
    assert isinstance(await sent(line), Accepted)
    assert not line.channel.stopped


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"<html>", "unreadable"), (b"{}", "unreadable"), (b" " * (4 * 1024 * 1024 + 1), "too_large")],
)
async def test_a_201_that_cannot_be_read_leaves_it_open(
    line: Line, body: bytes, reason: str
) -> None:
    answer = await sent(line, Sending(body=body))
    assert answer == NotAccepted(SendFailure.UNKNOWN, reason)


async def test_a_connection_that_breaks_after_the_send_leaves_it_open(line: Line) -> None:
    assert await sent(line, Sending(drop=True)) == NotAccepted(SendFailure.UNKNOWN, "disconnected")
    assert line.twilio.texts_to(PHONE) == ["hello"]


async def test_a_connection_that_was_never_made_has_sent_nothing(line: Line) -> None:
    line.configure(base_url="http://127.0.0.1:9")
    assert await sent(line) == NotAccepted(SendFailure.NOT_SENT, "no_connection")


async def test_a_send_that_is_never_answered_leaves_it_open(line: Line) -> None:
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(sent(line, Sending(hang=True)))
        await until(lambda: line.twilio.holding == 1)
        line.advance(15)
    assert sending.result() == NotAccepted(SendFailure.UNKNOWN, "timeout")
