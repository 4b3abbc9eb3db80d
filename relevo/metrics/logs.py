"""Logs: JSON lines to stdout, for machines to read and for strangers to see.

* No message text, no secret; a phone only `masked`. Values that are not plain (a message, an
  address) are written as the name of their type.
* Of an exception: its type, the types it came from and file:line, never its text, which may quote
  what a customer wrote.
* The standard library's logging is bridged in. Our own loggers (`relevo.*`) are written whole;
  libraries' from warning up, and only the fixed words that their line begins with, because their
  arguments quote requests.
* A line that cannot be written is counted and forgotten: a full disk must not stop a turn.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from datetime import datetime
from typing import Any, BinaryIO

import orjson
import structlog
from structlog.typing import FilteringBoundLogger

from relevo.clock import Clock
from relevo.errors import ConfigError
from relevo.turns import Turn

LEVELS = ("debug", "info", "warning", "error", "critical")
FRAMES_MAX = 20
"""Innermost lines of a traceback that are kept: enough to find it, too few to fill a disk."""
CAUSES_MAX = 5
OURS = "relevo"

_EventDict = MutableMapping[str, Any]
_FIXED_WORDS = re.compile(r"""[^\n0-9<(\[{:'"=@]*""")


class Logging:
    """Logging that has been started; `log` is what the rest is given."""

    def __init__(self, log: FilteringBoundLogger, level: int) -> None:
        self.log = log
        self._bridge = _Bridge(log)
        self._root = logging.getLogger()
        self._ours = logging.getLogger(OURS)
        self._levels = (self._root.level, self._ours.level)
        self._root.addHandler(self._bridge)
        self._root.setLevel(max(level, logging.WARNING))
        self._ours.setLevel(level)

    def stop(self) -> None:
        """Take the bridge down and give the standard library its levels back."""
        self._root.removeHandler(self._bridge)
        self._root.setLevel(self._levels[0])
        self._ours.setLevel(self._levels[1])


def start_logging(
    clock: Clock,
    level: str = "info",
    stream: BinaryIO | None = None,
    on_event: Callable[[str], None] = lambda _level: None,
    on_lost: Callable[[], None] = lambda: None,
) -> Logging:
    """Write events from `level` up to `stream` (stdout), and bridge the standard library's.

    `on_event` is told the level of every line, `on_lost` that one could not be written. Raises
    ConfigError for a level that is none of `LEVELS`.
    """
    if level not in LEVELS:
        raise ConfigError(f"log level {level!r} is not one of {', '.join(LEVELS)}")

    def counted(_logger: object, _method: str, event: _EventDict) -> _EventDict:
        on_event(event["level"])
        return event

    def stamped(_logger: object, _method: str, event: _EventDict) -> _EventDict:
        event["timestamp"] = clock.now()
        return event

    log: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(structlog.BytesLoggerFactory(stream)(), on_lost),
        processors=[structlog.processors.add_log_level, counted, stamped, _without_text, _rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    return Logging(log, logging.getLevelNamesMapping()[level.upper()])


def masked(phone: str) -> str:
    """Return what may be shown of a phone: its last two digits, and of a short one nothing."""
    return f"***{phone[-2:]}" if len(phone) >= 6 else "***"  # noqa: PLR2004  (no phone is shorter)


def turn_fields(business_id: str, conversation_id: int, turn: Turn) -> dict[str, object]:
    """Return the fields of the event `turn`: why an ended turn did what it did, without any text.

    `gather_seconds` counts from the first message's own time to the end of gathering,
    `answer_seconds` from there to the end (recall, answer and sending), `total_seconds` is both.
    """
    return {
        "business": business_id,
        "conversation": conversation_id,
        "turn": turn.id,
        "messages": len(turn.message_ids),
        "previous_customer_at": turn.previous_customer_at,
        "previous_assistant_at": turn.previous_assistant_at,
        "silence_seconds": turn.silence_seconds,
        "threshold_seconds": turn.threshold_seconds,
        "verdict": turn.verdict,
        "known_to": turn.recall_known_to,
        "recall": turn.recall,
        "recall_reasons": turn.recall_reasons,
        "recalled": turn.recalled,
        "missed": len(turn.missed_ids),
        "outcome": turn.outcome,
        "reason": turn.reason,
        "gather_seconds": _seconds(turn.opened_at, turn.closed_at),
        "answer_seconds": _seconds(turn.closed_at, turn.ended_at),
        "total_seconds": _seconds(turn.opened_at, turn.ended_at),
    }


def _seconds(since: datetime, until: datetime | None) -> float | None:
    return None if until is None else (until - since).total_seconds()


class _Lines:
    """Writes lines; one that cannot be written costs no more than itself."""

    def __init__(self, out: structlog.BytesLogger, on_lost: Callable[[], None]) -> None:
        self._out = out
        self._on_lost = on_lost

    def msg(self, line: bytes) -> None:
        try:
            self._out.msg(line)
        except (OSError, ValueError):  # a closed file is a ValueError
            self._on_lost()

    debug = info = warning = error = critical = msg


class _Bridge(logging.Handler):
    """Hands records of the standard library's logging on as events."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record at the nearest level that has a name."""
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        error = record.exc_info[1] if record.exc_info else None
        self._log.log(level, "log", logger=record.name, message=_message(record), exc_info=error)


def _message(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] == OURS:
        return record.getMessage()
    words = _FIXED_WORDS.match(str(record.msg))
    assert words is not None
    return words.group().strip()


def _without_text(_logger: object, _method: str, event: _EventDict) -> _EventDict:
    """Replace an exception by its type and its places."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["error_from"] = [type(cause).__name__ for cause in _causes(error)]
        event["error_at"] = list(_places(error))[-FRAMES_MAX:]
    return event


def _causes(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions[:CAUSES_MAX]
    for _ in range(CAUSES_MAX):
        cause = error.__cause__ or error.__context__
        if cause is None:
            return
        yield cause
        error = cause


def _places(error: BaseException) -> Iterator[str]:
    traceback = error.__traceback__
    while traceback is not None:
        yield f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
        traceback = traceback.tb_next


def _rendered(_logger: object, _method: str, event: _EventDict) -> bytes:
    options = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_UTC_Z
    return orjson.dumps(event, default=_type_name, option=options)


def _type_name(value: object) -> str:
    return type(value).__name__
