"""Sends through WATI, and the webhooks that its fake would call."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from relevo.events import SendFailure
from relevo.messages import (
    Address,
    Arrival,
    Author,
    InboundMessage,
    NewContact,
    StatusUpdate,
    correlation_key,
)
from relevo.outcomes import Accepted, NotAccepted
from tests.fakes.clock import until
from tests.fakes.wati import Sending, delivered, failed, new_contact, result_false
from tests.wati_rig import ANA, NOW, PHONE, Line, opened_line

BSUID = Address("bsuid", f"US.{PHONE}")


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        yield opened


async def sent(line: Line, *sendings: Sending) -> Accepted | NotAccepted:
    line.wati.send_next(*sendings)
    return await line.channel.send(ANA, "hello", "relevo-1")


async def test_a_text_arrives_as_it_was_written(line: Line) -> None:
    text = "Sí & ¿100% más+? #1\n你好 👍 a=b;c"
    answer = await line.channel.send(ANA, text, "relevo-hotel-7-1")
    (ledger,) = line.wati.sends
    assert (ledger.address, ledger.text, ledger.local_id) == (PHONE, text, "relevo-hotel-7-1")
    assert answer == Accepted((ledger.said.id, correlation_key("relevo-hotel-7-1")))


async def test_a_text_of_the_greatest_length_arrives(line: Line) -> None:
    text = "ש" * 4096
    assert isinstance(await line.channel.send(ANA, text, "relevo-1"), Accepted)
    assert line.wati.texts_to(PHONE) == [text]


async def test_what_no_url_can_hold_is_left_out(line: Line) -> None:
    await line.channel.send(ANA, "a\ud83db\0", "relevo-1")
    assert line.wati.texts_to(PHONE) == ["a\ufffdb"]


async def test_a_bsuid_can_be_written_to(line: Line) -> None:
    await line.channel.send(BSUID, "hello", "relevo-1")
    assert line.wati.texts_to(PHONE) == ["hello"]


async def test_a_refusal_inside_a_200_is_a_refusal(line: Line) -> None:
    closed = await sent(line, result_false("Ticket has been expired."))
    assert closed == NotAccepted(SendFailure.REFUSED, "window_closed")
    other = await sent(line, result_false("Invalid contact"))
    assert other == NotAccepted(SendFailure.REJECTED, "result_false")
    assert line.wati.sends == []


@pytest.mark.parametrize(
    ("status", "failure", "reason"),
    [
        (302, SendFailure.REJECTED, "http_302"),
        (400, SendFailure.REJECTED, "http_400"),
        (404, SendFailure.REJECTED, "http_404"),
        (422, SendFailure.REJECTED, "http_422"),
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


async def test_a_400_about_the_window_is_a_refusal_too(line: Line) -> None:
    answer = await sent(line, Sending(recorded=False, status=400, info="Ticket has been expired."))
    assert answer == NotAccepted(SendFailure.REFUSED, "window_closed")


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"<html>", "unreadable"), (b"{}", "unreadable"), (b" " * (4 * 1024 * 1024 + 1), "too_large")],
)
async def test_a_200_that_cannot_be_read_leaves_it_open(
    line: Line, body: bytes, reason: str
) -> None:
    answer = await sent(line, Sending(body=body))
    assert answer == NotAccepted(SendFailure.UNKNOWN, reason)


async def test_a_connection_that_breaks_after_the_send_leaves_it_open(line: Line) -> None:
    assert await sent(line, Sending(drop=True)) == NotAccepted(SendFailure.UNKNOWN, "disconnected")
    assert line.wati.texts_to(PHONE) == ["hello"]


async def test_a_connection_that_broke_while_idle_sends_nothing_twice(line: Line) -> None:
    await sent(line)
    assert await sent(line, Sending(drop=True)) == NotAccepted(SendFailure.UNKNOWN, "disconnected")
    assert line.wati.texts_to(PHONE) == ["hello", "hello"]


async def test_a_send_that_is_never_answered_leaves_it_open(line: Line) -> None:
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(sent(line, Sending(hang=True)))
        await until(lambda: line.wati.holding == 1)
        line.advance(15)
    assert sending.result() == NotAccepted(SendFailure.UNKNOWN, "timeout")
    await until(lambda: line.wati.open_requests == 0)


async def test_a_wrong_token_is_said_without_showing_it(line: Line) -> None:
    line.configure(token="wrong")
    assert await sent(line) == NotAccepted(SendFailure.STOPPED, "unauthorized")


def parsed(line: Line, body: object) -> Arrival:
    (arrival,) = line.channel.parse(orjson.dumps(body))
    return arrival


async def test_the_echo_of_our_own_send_is_the_assistant_s(line: Line) -> None:
    await sent(line)
    (ledger,) = line.wati.sends
    echo = parsed(line, ledger.said.webhook("_v2"))
    assert isinstance(echo, InboundMessage)
    assert (echo.author, echo.body) == (Author.ASSISTANT, "hello")
    assert echo.keys == (
        ledger.said.whatsapp_id,
        ledger.said.id,
        correlation_key("relevo-1"),
    )
    assert parsed(line, delivered(ledger.said)) == StatusUpdate(echo.keys, "delivered")
    assert parsed(line, failed(ledger.said)) == StatusUpdate(echo.keys, "failed", "window_closed")


async def test_a_webhook_and_the_history_tell_one_message_alike(line: Line) -> None:
    for said in (
        line.wati.customer_message(PHONE, "hello", NOW),
        line.wati.agent_message(PHONE, "good morning", NOW, "Maria"),
        line.wati.automation_message(PHONE, "thank you", NOW),
        line.wati.broadcast(PHONE, "our offers", NOW),
    ):
        told = parsed(line, said.webhook())
        assert isinstance(told, InboundMessage)
        (item,) = [i for i in (await line.recall()).items if i.body == said.text]
        assert (item.author, item.author_name, item.kind, item.event_at) == (
            told.author,
            told.author_name,
            told.kind,
            told.event_at,
        )


async def test_a_new_contact_is_announced_beside_the_message(line: Line) -> None:
    assert parsed(line, new_contact(PHONE, NOW)) == NewContact((ANA, BSUID))
