"""Sends through ManyChat: every way in which one can end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from relevo.events import SendFailure
from relevo.http.manychat_sending import send_answer
from relevo.messages import Address, correlation_key
from relevo.outcomes import Accepted, NotAccepted
from tests.fakes.clock import until
from tests.fakes.manychat import PHONE, SUBSCRIBER, Sending
from tests.manychat_rig import ANA, NOW, Line, opened_line

BY_PHONE = Address("phone", PHONE)
WRONG = {"status": "error", "message": "Wrong token"}


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        yield opened


async def sent(
    line: Line, *sendings: Sending, address: Address = ANA, text: str = "hello"
) -> Accepted | NotAccepted:
    line.manychat.send_next(*sendings)
    return await line.channel.send(address, text, "relevo-1")


async def test_a_text_arrives_as_it_was_written(line: Line) -> None:
    text = 'Sí & ¿100% más+? "#1"\n你好 👍 {{first_name}}'
    assert await sent(line, text=text) == Accepted((correlation_key("relevo-1"),))
    [ledger] = line.manychat.sends
    assert (ledger.subscriber, ledger.text, ledger.at) == (SUBSCRIBER, text, NOW)


async def test_what_json_cannot_hold_is_left_out(line: Line) -> None:
    await sent(line, text="a\ud83db\0")
    assert line.manychat.texts() == ["a\ufffdb"]


@pytest.mark.parametrize(
    ("code", "failure", "reason"),
    [
        (3011, SendFailure.REFUSED, "window_closed"),
        (3021, SendFailure.REJECTED, "channel_error"),
        (3031, SendFailure.REJECTED, "channel_error"),
        (3041, SendFailure.REJECTED, "channel_error"),
        (3049, SendFailure.REJECTED, "channel_error"),
        (9999, SendFailure.REJECTED, "http_400"),
    ],
)
async def test_a_code_says_why_it_was_not_taken(
    line: Line, code: int, failure: SendFailure, reason: str
) -> None:
    answer = await sent(line, Sending(recorded=False, status=400, code=code, said="no"))
    assert answer == NotAccepted(failure, reason)
    assert not line.channel.stopped
    assert line.manychat.sends == []


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
        (524, SendFailure.UNKNOWN, "http_524"),
        (204, SendFailure.UNKNOWN, "http_204"),
    ],
)
async def test_a_status_says_what_is_known_about_a_send(
    line: Line, status: int, failure: SendFailure, reason: str
) -> None:
    answer = await sent(line, Sending(recorded=False, status=status))
    assert answer == NotAccepted(failure, reason)


@pytest.mark.parametrize(
    ("said", "failure", "reason"),
    [
        ("Contact has been inactive for 24 hours", SendFailure.REFUSED, "window_closed"),
        ("(#131047) Re-engagement message", SendFailure.REFUSED, "window_closed"),
        ("Invalid API token", SendFailure.STOPPED, "unauthorized"),
        ("Subscriber does not exist", SendFailure.REJECTED, "http_400"),
        ("Unexpected token in text 1240", SendFailure.REJECTED, "http_400"),
    ],
)
async def test_words_say_why_where_no_code_does(
    line: Line, said: str, failure: SendFailure, reason: str
) -> None:
    answer = await sent(line, Sending(recorded=False, status=400, said=said))
    assert answer == NotAccepted(failure, reason)


def test_a_refusal_inside_a_200_is_a_refusal() -> None:
    def judged(answer: dict[str, Any]) -> object:
        outcome = send_answer(200, orjson.dumps(answer), "relevo-1")
        assert not isinstance(outcome, Accepted)
        return outcome.failure, outcome.word

    refusal = {"status": "error", "code": "3011"}
    assert judged(refusal) == (SendFailure.REFUSED, "window_closed")
    assert judged({"status": "error"}) == (SendFailure.REJECTED, "status_error")
    assert judged(WRONG) == (SendFailure.STOPPED, "unauthorized")


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"<html>", "unreadable"), (b"{}", "unreadable"), (b" " * (1024 * 1024 + 1), "too_large")],
)
async def test_a_200_that_cannot_be_read_leaves_it_open(
    line: Line, body: bytes, reason: str
) -> None:
    assert await sent(line, Sending(body=body)) == NotAccepted(SendFailure.UNKNOWN, reason)


async def test_a_connection_that_breaks_after_the_send_leaves_it_open(line: Line) -> None:
    assert await sent(line, Sending(drop=True)) == NotAccepted(SendFailure.UNKNOWN, "disconnected")
    assert line.manychat.texts() == ["hello"]


async def test_a_send_that_is_never_answered_leaves_it_open(line: Line) -> None:
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(sent(line, Sending(hang=True)))
        await until(lambda: line.manychat.holding == 1)
        line.advance(15)
    assert sending.result() == NotAccepted(SendFailure.UNKNOWN, "timeout")
    await until(lambda: line.manychat.open_requests == 0)


async def test_where_nobody_listens_nothing_has_left(line: Line) -> None:
    line.configure(base_url="http://127.0.0.1:9")
    assert await sent(line) == NotAccepted(SendFailure.NOT_SENT, "no_connection")


@pytest.mark.parametrize(("asked", "seconds"), [("", 1.0), ("7", 7.0), ("9999", 60.0)])
async def test_a_rate_limit_slows_the_line_down(line: Line, asked: str, seconds: float) -> None:
    limited = Sending(recorded=False, status=429, retry_after=asked)
    assert await sent(line, limited) == NotAccepted(
        SendFailure.RATE_LIMITED, "rate_limited", seconds
    )
    braked = await sent(line)
    assert braked == NotAccepted(SendFailure.RATE_LIMITED, "line_braked", seconds)
    line.advance(seconds)
    assert isinstance(await sent(line), Accepted)


async def test_a_wrong_token_stops_the_line_until_one_send_is_taken(line: Line) -> None:
    right, line.manychat.token = line.manychat.token, "another"
    assert await sent(line) == NotAccepted(SendFailure.STOPPED, "unauthorized")
    assert line.channel.stopped
    assert await sent(line) == NotAccepted(SendFailure.STOPPED, "line_stopped")
    line.manychat.token = right
    line.advance(60)
    assert isinstance(await sent(line), Accepted)
    assert not line.channel.stopped


# Where only a phone is known


@pytest.mark.parametrize("contact", [{"id": str(SUBSCRIBER)}, [{"id": SUBSCRIBER}]])
async def test_a_phone_is_written_to_by_its_subscriber(line: Line, contact: object) -> None:
    line.manychat.contacts[PHONE] = contact
    assert isinstance(await sent(line, address=BY_PHONE), Accepted)
    assert (line.manychat.looked_up, line.manychat.texts()) == ([PHONE], ["hello"])
    assert line.manychat.sends[0].subscriber == SUBSCRIBER


@pytest.mark.parametrize("contact", [[], None, "no", [{"id": 1}, {"id": 2}], {"id": "x"}])
async def test_a_phone_that_names_nobody_for_certain_is_not_written_to(
    line: Line, contact: object
) -> None:
    line.manychat.contacts[PHONE] = contact
    answer = await sent(line, address=BY_PHONE)
    assert answer == NotAccepted(SendFailure.REJECTED, "no_subscriber")
    assert line.manychat.sends == []


@pytest.mark.parametrize(
    "address", [Address("bsuid", "US.1"), ANA._replace(value="../getInfo"), ANA._replace(value="")]
)
async def test_what_is_no_subscriber_is_not_written_to(line: Line, address: Address) -> None:
    answer = await sent(line, address=address)
    assert answer == NotAccepted(SendFailure.REJECTED, "no_subscriber")


@pytest.mark.parametrize(
    ("status", "failure", "reason"),
    [
        (503, SendFailure.NOT_SENT, "http_503"),
        (404, SendFailure.REJECTED, "http_404"),
        (202, SendFailure.REJECTED, "no_subscriber"),
        (429, SendFailure.RATE_LIMITED, "rate_limited"),
    ],
)
async def test_a_lookup_that_fails_has_sent_nothing(
    line: Line, status: int, failure: SendFailure, reason: str
) -> None:
    line.manychat.lookup_status = status
    answer = await sent(line, address=BY_PHONE)
    assert isinstance(answer, NotAccepted)
    assert (answer.failure, answer.reason) == (failure, reason)
    assert line.manychat.sends == []


@pytest.mark.parametrize(("seconds", "texts"), [(4, ["hello"]), (5, [])])
async def test_a_text_whose_lookup_took_too_long_does_not_leave(
    line: Line, seconds: float, texts: list[str]
) -> None:
    line.manychat.contacts[PHONE] = {"id": SUBSCRIBER}
    line.manychat.before_found = lambda: line.advance(seconds)
    answer = await sent(line, address=BY_PHONE)
    assert line.manychat.texts() == texts
    if not texts:
        assert isinstance(answer, NotAccepted)
        assert answer.failure is SendFailure.NOT_SENT
