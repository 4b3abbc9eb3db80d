"""What a line of the log holds, and what it must never hold."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import orjson
import pytest

from relevo.clock import SystemClock
from relevo.errors import ConfigError
from relevo.messages import Address, Author, InboundMessage
from relevo.metrics.logs import FRAMES_MAX, Logging, masked, start_logging, turn_fields
from relevo.turns import Outcome, RecallReason, RecallStatus, Stage, Turn, Verdict

PHONE = "+50370001234"
TEXT = "Quisiera una mesa para dos"
AT_NOON = datetime(2025, 10, 7, 12, 0, tzinfo=UTC)


class StoppedClock(SystemClock):
    def now(self) -> datetime:
        return AT_NOON


class Started:
    """Logging into memory."""

    def __init__(self, level: str = "info") -> None:
        self.stream = BytesIO()
        self.levels = list[str]()
        self.logging = start_logging(StoppedClock(), level, self.stream, self.levels.append)
        self.log = self.logging.log

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        (line,) = self.lines
        return line


@pytest.fixture
def started() -> Iterator[Callable[[str], Started]]:
    running = list[Logging]()

    def start(level: str) -> Started:
        made = Started(level)
        running.append(made.logging)
        return made

    yield start
    for one in reversed(running):
        one.stop()


@pytest.fixture
def logs(started: Callable[[str], Started]) -> Started:
    return started("info")


def failing(depth: int = 0) -> None:
    if depth:
        failing(depth - 1)
    raise ValueError(f"{PHONE}: {TEXT}")


def test_an_event_is_one_line_of_json(logs: Started) -> None:
    logs.log.info("started", port=8080, at=AT_NOON)
    logs.log.warning("slow")
    assert logs.lines == [
        {
            "event": "started",
            "port": 8080,
            "at": "2025-10-07T12:00:00Z",
            "level": "info",
            "timestamp": "2025-10-07T12:00:00Z",
        },
        {"event": "slow", "level": "warning", "timestamp": "2025-10-07T12:00:00Z"},
    ]


def test_the_level_is_a_setting(started: Callable[[str], Started]) -> None:
    quiet = started("error")
    quiet.log.info("started")
    logging.getLogger("relevo.store").warning("slow")
    quiet.log.error("failed")
    assert [line["event"] for line in quiet.lines] == ["failed"]


def test_a_level_that_does_not_exist_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="'loud' is not one of debug, info"):
        start_logging(StoppedClock(), "loud")


def test_lines_are_counted_by_level(logs: Started) -> None:
    logs.log.info("started")
    logs.log.debug("unseen")
    logging.getLogger("aiohttp.server").error("Error handling request")
    assert logs.levels == ["info", "error"]


@pytest.mark.parametrize(
    ("phone", "shown"), [(PHONE, "***34"), ("50370001299", "***99"), ("12345", "***"), ("", "***")]
)
def test_a_phone_shows_its_last_two_digits(phone: str, shown: str) -> None:
    assert masked(phone) == shown


def test_what_is_not_plain_is_named_by_its_type(logs: Started) -> None:
    message = InboundMessage(
        ("k",), (Address("phone", PHONE),), Author.CUSTOMER, "text", TEXT, None
    )
    failure = ValueError(TEXT)
    logs.log.info("odd", message=message, address=message.addresses[0], failure=failure)
    line = logs.line
    assert (line["message"], line["address"]) == ("InboundMessage", "Address")
    assert line["failure"] == "ValueError"


def test_an_exception_is_its_type_and_its_places_without_its_text(logs: Started) -> None:
    try:
        try:
            failing()
        except ValueError as error:
            raise RuntimeError(TEXT) from error
    except RuntimeError:
        logs.log.exception("failed")
    line = logs.line
    assert (line["level"], line["error"], line["error_from"]) == (
        "error",
        "RuntimeError",
        ["ValueError"],
    )
    (place,) = line["error_at"]
    path, _, number = place.rpartition(":")
    assert path == __file__
    assert number.isdigit()
    assert TEXT.encode() not in logs.stream.getvalue()


def test_an_exception_in_hand_can_be_logged_later(logs: Started) -> None:
    group = ExceptionGroup("group", [ValueError(TEXT), KeyError(PHONE)])
    logs.log.error("task_failed", exc_info=group)
    line = logs.line
    assert (line["error"], line["error_from"]) == ("ExceptionGroup", ["ValueError", "KeyError"])
    assert line["error_at"] == []


def test_a_deep_traceback_keeps_its_innermost_places(logs: Started) -> None:
    try:
        failing(depth=2 * FRAMES_MAX)
    except ValueError:
        logs.log.exception("failed")
    assert len(logs.line["error_at"]) == FRAMES_MAX


def test_our_own_loggers_are_written_whole(logs: Started) -> None:
    logging.getLogger("relevo.store").info("database is up after %d s", 3)
    line = logs.line
    assert (line["event"], line["logger"]) == ("log", "relevo.store")
    assert line["message"] == "database is up after 3 s"


@pytest.mark.parametrize(
    ("words", "arguments", "kept"),
    [
        ("Unhandled exception in %s:", (PHONE,), "Unhandled exception in %s"),
        ("Exception in callback Inbox.flush(%r)", (TEXT,), "Exception in callback Inbox.flush"),
        (f"refused: {TEXT}", (), "refused"),
        (f"Error near '{TEXT}'", (), "Error near"),
        (f"{PHONE} {TEXT}", (), "+"),
        (f"Future exception\n{TEXT}", (), "Future exception"),
    ],
)
def test_of_a_librarys_line_only_fixed_words_are_kept(
    logs: Started, words: str, arguments: tuple[str, ...], kept: str
) -> None:
    logging.getLogger("pykka").error(words, *arguments)
    assert logs.line["message"] == kept


def test_libraries_are_heard_from_warning_up(started: Callable[[str], Started]) -> None:
    talkative = started("debug")
    logging.getLogger("openai").info("HTTP Request")
    logging.getLogger("openai").warning("Retrying")
    logging.getLogger("relevo.http").debug("ours")
    assert [line["logger"] for line in talkative.lines] == ["openai", "relevo.http"]


def test_a_level_between_two_names_counts_as_the_lower(logs: Started) -> None:
    logging.getLogger("relevo.http").log(35, "odd")
    assert logs.line["level"] == "warning"


async def test_an_error_that_only_the_loop_saw_is_logged_without_its_text(logs: Started) -> None:
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[None] = loop.create_future()

    def call_back(text: str) -> None:
        loop.call_soon(asked.set_result, None)
        raise ValueError(text)

    loop.call_soon(call_back, TEXT)
    await asked
    line = logs.line
    assert (line["logger"], line["level"], line["error"]) == ("asyncio", "error", "ValueError")
    assert line["message"].startswith("Exception in callback")
    assert line["error_at"][-1].startswith(__file__)
    assert TEXT.encode() not in logs.stream.getvalue()


def test_a_line_that_cannot_be_written_is_counted_and_forgotten() -> None:
    stream, lost = BytesIO(), list[int]()
    started = start_logging(StoppedClock(), stream=stream, on_lost=lambda: lost.append(1))
    stream.close()
    started.log.info("started")
    started.stop()
    assert lost == [1]


def test_stopped_logging_leaves_the_standard_library_as_it_was() -> None:
    root, ours = logging.getLogger(), logging.getLogger("relevo")
    before = (root.level, ours.level, list(root.handlers))
    started = Started("debug")
    assert (root.level, ours.level, list(root.handlers)) != before
    started.logging.stop()
    assert (root.level, ours.level, list(root.handlers)) == before


def test_a_turn_is_told_by_its_evidence_and_never_by_its_words(logs: Started) -> None:
    turn = Turn(
        id=41,
        stage=Stage.ENDED,
        channel_id="hotel-wati",
        address=Address("phone", PHONE),
        opened_at=datetime(2025, 10, 7, 17, 7, 17, tzinfo=UTC),
        closed_at=datetime(2025, 10, 7, 17, 7, 52, tzinfo=UTC),
        previous_customer_at=datetime(2025, 10, 7, 16, 54, 17, tzinfo=UTC),
        previous_assistant_at=datetime(2025, 10, 7, 16, 54, 52, tzinfo=UTC),
        verdict=Verdict.GAP,
        silence_seconds=780.0,
        threshold_seconds=300,
        message_ids=(41,),
        newest_at=datetime(2025, 10, 7, 17, 7, 18, tzinfo=UTC),
        recall=RecallStatus.COMPLETE,
        recall_reasons=(RecallReason.GAP,),
        recall_known_to=datetime(2025, 10, 7, 16, 54, 50, tzinfo=UTC),
        recalled=1,
        missed_ids=(42,),
        outcome=Outcome.ANSWERED,
        ended_at=datetime(2025, 10, 7, 17, 7, 58, tzinfo=UTC),
    )
    logs.log.info("turn", **turn_fields("hotel", 7, turn))
    line = logs.line
    assert line.pop("timestamp")
    assert line == {
        "event": "turn",
        "level": "info",
        "business": "hotel",
        "conversation": 7,
        "turn": 41,
        "messages": 1,
        "previous_customer_at": "2025-10-07T16:54:17Z",
        "previous_assistant_at": "2025-10-07T16:54:52Z",
        "silence_seconds": 780.0,
        "threshold_seconds": 300,
        "verdict": "gap",
        "known_to": "2025-10-07T16:54:50Z",
        "recall": "complete",
        "recall_reasons": ["gap"],
        "recalled": 1,
        "missed": 1,
        "outcome": "answered",
        "reason": "",
        "gather_seconds": 35.0,
        "answer_seconds": 6.0,
        "total_seconds": 41.0,
    }
    assert turn_fields("hotel", 7, replace(turn, ended_at=None))["total_seconds"] is None
