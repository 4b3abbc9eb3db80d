"""Reads single fields of what providers write, in every form they have been seen in. Pure.

A field that cannot be read is empty or None, never an error: types vary from tenant to tenant, and
one odd field must not cost a customer's message.
"""

import json  # noqa: TID251  (orjson refuses lone surrogates, and customers' phones send them)
import math
import re
from datetime import UTC, datetime
from typing import Any, NoReturn

import orjson

WORD_CHARS_MAX = 512
"""A longer id, address or name is none: the longest seen have about 80 characters."""

_COUNT_DIGITS = 18
_WHOLE_NUMBER_MAX = 1 << 64
_EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)  # WhatsApp's first year
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 1e11
_MICROSECONDS_FROM = 1e14
_EPOCH = re.compile(r"[0-9]{9,17}(\.[0-9]{1,9})?")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(body: bytes) -> Any:
    """Read JSON, also with lone surrogates or broken UTF-8 in its texts. Raises ValueError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _read_tolerantly(body)


def _read_tolerantly(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig", "replace"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def read_object(body: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None if the body is anything else."""
    try:
        read = read_json(body)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def scrubbed(text: str) -> str:
    """Return the text without what no database and no URL can hold: NUL and lone surrogates."""
    if text.isprintable():  # neither is, and hardly any text has one
        return text
    return _SURROGATE.sub("\ufffd", text).replace("\0", "")


def text_of(value: object) -> str:
    """Return a text, scrubbed; empty if it is none."""
    return scrubbed(value) if isinstance(value, str) else ""


def word_of(value: object) -> str:
    """Return an id, a code or a name as text, trimmed; empty if it can be none of these."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    if isinstance(value, int) and abs(value) >= _WHOLE_NUMBER_MAX:
        return ""
    word = scrubbed(str(value)).strip()
    return word if len(word) <= WORD_CHARS_MAX else ""


def id_of(value: object) -> str:
    """Return an id as text; an empty one, or zero, is none."""
    word = word_of(value)
    return "" if word == "0" else word


def count_of(value: object) -> int:
    """Return a count, given as a number or as its digits; 0 if it is none."""
    word = word_of(value)
    return int(word) if word.isascii() and word.isdigit() and len(word) <= _COUNT_DIGITS else 0


def truth_of(value: object) -> bool | None:
    """Read a boolean or a result word; None if it is neither."""
    if isinstance(value, bool):
        return value
    word = word_of(value).casefold()
    if word in ("true", "1", "success", "ok"):
        return True
    return False if word in ("false", "0", "error", "fail", "failed", "failure") else None


def instant_of(value: object) -> datetime | None:
    """Read Unix seconds, milli- or microseconds, or ISO 8601 (UTC unless it says otherwise)."""
    try:
        if isinstance(value, str) and not _EPOCH.fullmatch(value.strip()):
            instant = _read_iso(value.strip())
        elif isinstance(value, str | int | float):
            instant = _read_epoch(float(value))
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return instant if _EARLIEST <= instant < _LATEST else None


def _read_iso(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def _read_epoch(number: float) -> datetime:
    if number >= _MICROSECONDS_FROM:
        return datetime.fromtimestamp(number / 1e6, UTC)
    if number >= _MILLISECONDS_FROM:
        return datetime.fromtimestamp(number / 1e3, UTC)
    return datetime.fromtimestamp(number, UTC)


def degrees_of(value: object) -> float | None:
    """Read a latitude or longitude; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        degrees = float(value)
    except (ValueError, OverflowError):
        return None
    return degrees if math.isfinite(degrees) else None
