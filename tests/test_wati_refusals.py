"""What WATI's and Meta's refusals mean for a send, for its customer and for its line."""

import logging
from collections.abc import AsyncIterator

import orjson
import pytest

from relevo.events import SendFailure
from relevo.http.circuit import PROBE_SECONDS
from relevo.http.meta_errors import META_ERRORS, META_WORDS
from relevo.http.wati_sending import send_answer
from relevo.messages import Address
from relevo.metrics.contract import FAILED_REASONS, OTHER
from relevo.outcomes import Accepted, NotAccepted
from tests.fakes.wati import Sending
from tests.wati_rig import ANA, Line, opened_line

BEN = Address("phone", "15550105678")
WRONG_TOKEN = Sending(recorded=False, status=401)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        yield opened


def answers(content: object, *, status: int = 200) -> Sending:
    return Sending(recorded=False, status=status, body=orjson.dumps(content))


def coded(code: int) -> Sending:
    """Meta's error as it is documented, inside a refusal of WATI's."""
    error = {"message": f"(#{code}) no", "code": code, "fbtrace_id": "A"}
    return answers({"result": False, "error": error}, status=400)


async def sent(line: Line, *sendings: Sending, to: Address = ANA) -> Accepted | NotAccepted:
    line.wati.send_next(*sendings)
    return await line.channel.send(to, "hello", "relevo-1")


async def told(line: Line, sending: Sending) -> tuple[SendFailure, str]:
    answer = await sent(line, sending)
    assert isinstance(answer, NotAccepted)
    return answer.failure, answer.reason


def told_to_people(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    ours = [record for record in caplog.records if record.name.startswith("relevo")]
    return [(record.levelname, record.getMessage()) for record in ours]


CLASSES = {
    SendFailure.UNKNOWN: (1, 2, 131000, 131016),
    SendFailure.NOT_SENT: (131057, 133004),
    SendFailure.RATE_LIMITED: (4, 80007, 130429, 131056),
    SendFailure.STOPPED: (0, 3, 10, 190, 200, 299, 368, 131031),
    SendFailure.REFUSED: (131026, 131047, 131048, 131049, 131050, 130472, 131062),
    SendFailure.REJECTED: (100, 131008, 131009, 131051),
}


@pytest.mark.parametrize(("failure", "codes"), CLASSES.items())
async def test_a_code_of_meta_s_says_what_can_be_done(
    failure: SendFailure, codes: tuple[int, ...]
) -> None:
    for code in codes:
        async with opened_line() as line:
            answered, word = await told(line, coded(code))
            assert (answered, word) == (failure, META_ERRORS[code].word), code
            assert word in META_WORDS


@pytest.mark.parametrize(
    "answer",
    [
        {"result": False, "info": "(#131047) Re-engagement message"},
        {"result": False, "message": "Failed: 131047"},
        {"result": False, "code": 131047},
        {"result": "error", "errors": [{"code": "131047", "title": "Re-engagement message"}]},
        {"ok": False, "error": {"error": {"code": 131047}}},
        {"result": True, "message": {"statusString": "FAILED", "failedCode": "131047"}},
        {"ok": True, "message": {"id": "6a02", "failedDetail": "131047 Re-engagement"}},
        {"error": "(#131047)"},
    ],
)
async def test_a_code_is_found_wherever_it_is_passed_on(line: Line, answer: object) -> None:
    assert await told(line, answers(answer)) == (SendFailure.REFUSED, "window_closed")


@pytest.mark.parametrize(
    "answer",
    [
        {"result": False, "code": 200},
        {"result": False, "code": 100, "errors": [{"code": 3}]},
        {"result": False, "info": "call +15551310471 or 190"},
        {"result": False, "message": {"text": "my code is 131047"}},
        {"result": False, "code": {"a": 1}, "errors": [7, None, "x"], "error": ["?"]},
    ],
)
async def test_a_number_that_is_no_code_of_meta_s_means_nothing(line: Line, answer: object) -> None:
    assert await told(line, answers(answer)) == (SendFailure.REJECTED, "result_false")


def test_what_was_taken_is_taken_whatever_numbers_are_in_it() -> None:
    body = {"result": True, "code": 131047, "message": {"id": "6a02", "text": "(#131047)"}}
    assert isinstance(send_answer(200, orjson.dumps(body), "relevo-1"), Accepted)


def test_every_word_for_a_failure_has_its_series() -> None:
    assert set(FAILED_REASONS) == {*META_WORDS, OTHER}


async def test_a_code_outweighs_the_status_it_comes_with(line: Line) -> None:
    refused = answers({"message": "(#131047) Re-engagement message"}, status=500)
    assert await told(line, refused) == (SendFailure.REFUSED, "window_closed")


@pytest.mark.parametrize("info", ["Rate limit exceeded", "Too many requests"])
async def test_a_rate_limit_in_words_is_one(line: Line, info: str) -> None:
    refused = answers({"result": False, "info": info})
    assert await told(line, refused) == (SendFailure.RATE_LIMITED, "rate_limited")


async def test_a_rate_limit_brakes_the_whole_line_and_no_call_is_made_meanwhile(line: Line) -> None:
    limited = Sending(recorded=False, status=429, retry_after="7")
    assert await sent(line, limited) == NotAccepted(
        SendFailure.RATE_LIMITED, "rate_limited", retry_after_seconds=7
    )
    line.advance(3)
    assert await sent(line, to=BEN) == NotAccepted(
        SendFailure.RATE_LIMITED, "line_braked", retry_after_seconds=4
    )
    assert line.wati.sends == []
    line.advance(4)
    assert isinstance(await sent(line, to=BEN), Accepted)
    assert isinstance(await sent(line), Accepted)


async def test_a_rate_limit_that_does_not_say_how_long_grows_until_a_send_is_taken(
    line: Line,
) -> None:
    for seconds in (1, 2, 4):
        answer = await sent(line, Sending(recorded=False, status=429))
        assert answer == NotAccepted(SendFailure.RATE_LIMITED, "rate_limited", seconds)
        line.advance(seconds)
    assert isinstance(await sent(line), Accepted)
    assert (await sent(line, coded(130429))) == NotAccepted(
        SendFailure.RATE_LIMITED, "line_rate", 1
    )


async def test_the_pace_of_one_customer_brakes_nobody_else(line: Line) -> None:
    answer = await sent(line, coded(131056))
    assert answer == NotAccepted(SendFailure.RATE_LIMITED, "pair_rate", retry_after_seconds=6)
    assert isinstance(await sent(line, to=BEN), Accepted)


async def test_a_line_that_may_send_nothing_stops_and_tells_a_person_once(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.wati.sending = WRONG_TOKEN
    stopped = NotAccepted(SendFailure.STOPPED, "line_stopped")
    with caplog.at_level(logging.INFO):
        first = await sent(line)
        assert first == NotAccepted(SendFailure.STOPPED, "unauthorized")
        assert [await sent(line, to=BEN) for _ in range(3)] == [stopped] * 3
        assert line.channel.stopped
        line.advance(PROBE_SECONDS)
        probe = await sent(line, to=BEN)
        assert (probe, await sent(line)) == (first, stopped)
    [(level, message)] = told_to_people(caplog)
    assert (level, "hotel-wati: unauthorized" in message) == ("ERROR", True)


async def test_a_probe_that_is_taken_starts_the_line_again(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    await sent(line, coded(131031))
    line.advance(PROBE_SECONDS)
    with caplog.at_level(logging.INFO):
        assert isinstance(await sent(line), Accepted)
    assert not line.channel.stopped
    assert [level for level, _ in told_to_people(caplog)] == ["ERROR", "INFO"]
    assert isinstance(await sent(line, to=BEN), Accepted)


async def test_a_refusal_of_one_customer_stops_no_line(line: Line) -> None:
    for code in (131047, 131026, 131048, 131051, 131000):
        await sent(line, coded(code))
    assert not line.channel.stopped
    assert isinstance(await sent(line), Accepted)
