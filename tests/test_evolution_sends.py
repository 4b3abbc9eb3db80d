"""A send to Evolution, and everything that can become of it."""

import asyncio
import logging
from collections.abc import AsyncIterator

import orjson
import pytest

from relevo.events import SendFailure
from relevo.http.circuit import PROBE_SECONDS
from relevo.messages import Address
from relevo.outcomes import Accepted, NotAccepted
from tests.evolution_rig import ANA, ANA_LID, LID, PHONE, Line, opened_line
from tests.fakes.clock import until
from tests.fakes.evolution import INSTANCE, Sending, refused


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        yield opened


async def sent(line: Line, *sendings: Sending, to: Address = ANA) -> Accepted | NotAccepted:
    line.evolution.send_next(*sendings)
    return await line.channel.send(to, "hello", "relevo-1")


@pytest.mark.parametrize(
    ("address", "number"),
    [(ANA, PHONE), (Address("phone", f"+{PHONE}"), PHONE), (ANA_LID, f"{LID}@lid")],
)
async def test_a_text_is_sent_to_a_phone_or_a_lid(
    line: Line, address: Address, number: str
) -> None:
    answer = await sent(line, to=address)
    assert line.evolution.sends == [(number, "hello")]
    (said,) = line.evolution.said
    assert answer == Accepted((said.id,))


async def test_the_echo_of_a_send_has_the_id_that_its_answer_gave(line: Line) -> None:
    answer = await sent(line)
    (said,) = line.evolution.said
    for event in ("send.message", "messages.upsert"):
        (echo,) = line.channel.parse(orjson.dumps(said.webhook(event)))
        assert isinstance(answer, Accepted)
        assert getattr(echo, "keys", None) == answer.keys


async def test_an_address_that_evolution_cannot_reach_is_not_tried(line: Line) -> None:
    answer = await sent(line, to=Address("user", "7"))
    assert answer == NotAccepted(SendFailure.REJECTED, "no_address")
    assert line.evolution.sends == []


NOT_THERE = {"jid": f"{PHONE}@s.whatsapp.net", "exists": False, "number": PHONE}


@pytest.mark.parametrize(
    ("sending", "failure", "reason"),
    [
        (refused(400, NOT_THERE), SendFailure.REFUSED, "undeliverable"),
        (refused(400, [NOT_THERE]), SendFailure.REFUSED, "undeliverable"),
        (refused(400, ['instance requires property "text"']), SendFailure.REJECTED, "bad_request"),
        (refused(400, "Error: Connection Closed"), SendFailure.UNKNOWN, "http_400"),
        (refused(400, {"exists": True}), SendFailure.UNKNOWN, "http_400"),
        (refused(400), SendFailure.UNKNOWN, "http_400"),
        (Sending(status=400, body=b"<html>"), SendFailure.UNKNOWN, "http_400"),
        (Sending(body=b""), SendFailure.UNKNOWN, "unreadable"),
        (Sending(status=200, body=b"[]"), SendFailure.UNKNOWN, "unreadable"),
        (Sending(body=b'{"key":{"id":null}}'), SendFailure.UNKNOWN, "unreadable"),
        (Sending(body=b" " * (4 * 1024 * 1024 + 1)), SendFailure.UNKNOWN, "too_large"),
        (Sending(status=202, body=b"{}"), SendFailure.UNKNOWN, "http_202"),
        (refused(401, "Unauthorized"), SendFailure.STOPPED, "unauthorized"),
        (refused(403, "Forbidden"), SendFailure.STOPPED, "unauthorized"),
        (refused(404, "The instance does not exist"), SendFailure.STOPPED, "no_instance"),
        (refused(302), SendFailure.REJECTED, "http_302"),
        (refused(413), SendFailure.REJECTED, "http_413"),
        (refused(408), SendFailure.UNKNOWN, "http_408"),
        (refused(500, "Timed Out"), SendFailure.UNKNOWN, "http_500"),
        (refused(502), SendFailure.UNKNOWN, "http_502"),
        (Sending(drop=True), SendFailure.UNKNOWN, "disconnected"),
    ],
)
async def test_only_what_certainly_has_not_left_is_not_in_doubt(
    line: Line, sending: Sending, failure: SendFailure, reason: str
) -> None:
    assert await sent(line, sending) == NotAccepted(failure, reason)


async def test_a_send_that_is_never_answered_is_in_doubt(line: Line) -> None:
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(sent(line, Sending(hang=True)))
        await until(lambda: line.evolution.holding == 1)
        line.advance(15)
    assert sending.result() == NotAccepted(SendFailure.UNKNOWN, "timeout")


async def test_what_never_reached_the_gateway_has_not_left(line: Line) -> None:
    await line.evolution.stop()
    assert await sent(line) == NotAccepted(SendFailure.NOT_SENT, "no_connection")


@pytest.mark.parametrize(("retry_after", "seconds"), [("7", 7), ("900", 60)])
async def test_a_429_brakes_the_line_for_as_long_as_it_says(
    line: Line, retry_after: str, seconds: float
) -> None:
    limited = Sending(recorded=False, status=429, retry_after=retry_after)
    answer = await sent(line, limited)
    assert answer == NotAccepted(SendFailure.RATE_LIMITED, "rate_limited", seconds)
    again = await sent(line)
    assert isinstance(again, NotAccepted)
    assert again.reason == "line_braked"
    line.advance(seconds + 1)
    assert isinstance(await sent(line), Accepted)


async def test_a_429_that_does_not_say_how_long_brakes_the_line_too(line: Line) -> None:
    answer = await sent(line, Sending(recorded=False, status=429))
    assert isinstance(answer, NotAccepted)
    assert answer.retry_after_seconds


async def test_a_line_without_a_key_is_stopped_told_once_and_tried_again(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "relevo")
    line.configure(api_key="wrong")
    assert await sent(line) == NotAccepted(SendFailure.STOPPED, "unauthorized")
    assert await sent(line) == NotAccepted(SendFailure.STOPPED, "line_stopped")
    assert line.channel.stopped
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "wrong" not in caplog.text
    line.advance(PROBE_SECONDS + 1)
    assert await sent(line) == NotAccepted(SendFailure.STOPPED, "unauthorized")


async def test_a_line_that_works_again_says_so_once(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "relevo")
    await sent(line, refused(404, "The instance does not exist"))
    line.advance(PROBE_SECONDS + 1)
    assert isinstance(await sent(line), Accepted)
    assert not line.channel.stopped
    assert isinstance(await sent(line), Accepted)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


async def test_an_instance_that_is_gone_stops_the_line(line: Line) -> None:
    line.configure(instance=f"gone/../{INSTANCE}")
    assert await sent(line) == NotAccepted(SendFailure.STOPPED, "no_instance")


async def test_what_no_answer_can_hold_is_scrubbed_from_a_text(line: Line) -> None:
    await line.channel.send(ANA, "a\0b\ud83dc", "relevo-1")
    assert line.evolution.sends == [(PHONE, "ab\ufffdc")]
