"""What everything that the API takes or gives has in common, and the shapes that many use.

A model of an answer is also the list of what may leave: whatever else the store knows stays inside.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import core_schema

from relevo.http.api_problems import not_found

ID_MAX = 2**63 - 1
PAGE_MAX = 100
CURSOR_CHARACTERS_MAX = 200

_WHOLE = re.compile("[0-9]{1,19}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class Taken(BaseModel):
    """A query or a body. An unknown field is refused, and no error repeats what was sent."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        defer_build=True,
        use_attribute_docstrings=True,
    )


class Given(BaseModel):
    """An answer, or a part of one, made of a mapping or of an object."""

    model_config = ConfigDict(
        frozen=True,
        from_attributes=True,
        hide_input_in_errors=True,
        defer_build=True,
        use_attribute_docstrings=True,
    )


class Nothing(Taken):
    """No parameters, no body."""


@dataclass(frozen=True, slots=True)
class Fits:
    """A text that a pattern fits, all of it; of any other is said what it should be.

    The document has the pattern, people get the sentence. Of several each is looked at. A pattern
    must never try one character in two ways: texts are as long as strangers make them.
    """

    pattern: str
    should: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Look at what has been found to be a text of a length that may be."""
        return core_schema.no_info_after_validator_function(self._look, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Tell the pattern as JSON Schema writes one."""
        return {**handler(schema), "pattern": f"^{self.pattern}$"}

    def _look(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise ValueError(self.should)
        return text


def whole(value: object) -> object:
    """Take a whole number as a query writes it: digits and nothing else."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) else "not a number"


def integer(value: object) -> object:
    """Take what JSON Schema calls an integer: 5.0 is one, and some programs write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _switch(value: object) -> object:
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("should be true or false")


def _instant_in_time(value: object) -> object:
    """Take an instant as RFC 3339 writes it; what else a datetime could be made of is none."""
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("should be an instant with its offset, such as 2026-03-02T12:00:00Z")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("should be an instant that there is") from None


Limit = Annotated[int, Field(ge=1, le=PAGE_MAX, strict=True), BeforeValidator(whole)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Instant = Annotated[datetime, BeforeValidator(_instant_in_time)]
Line = Annotated[
    str,
    Field(min_length=1, max_length=200),
    Fits(r"[^\x00-\x1f\x7f]+", "should be one line, without control characters"),
]
"""A text of one line."""
SEEN = r"[^\x00-\x20\x7f-\xa0]"
"""A character that can be seen."""
Label = Annotated[
    str,
    Field(min_length=1, max_length=200),
    Fits(
        rf"{SEEN}([^\x00-\x1f\x7f]*{SEEN})?",
        "should be one line, which neither begins nor ends with a space",
    ),
]
"""A tag, a lead: what looks like one of somebody else's books has to be it."""
CursorText = Annotated[
    str,
    Field(min_length=1, max_length=CURSOR_CHARACTERS_MAX),
    Fits("[A-Za-z0-9_-]+", "should be a cursor as it was given"),
]


class Position(NamedTuple):
    """A place in a list that is ordered by time and id."""

    at: datetime
    id: int


def cursor(*parts: Any) -> str:
    """Return where a list goes on, as a text that means nothing to anybody else."""
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def read_cursor(text: str, shape: Sequence[type]) -> list[Any]:
    """Return the parts of a cursor: texts, whole numbers, instants; or raise a Problem."""
    try:
        padded = text + "=" * (-len(text) % 4)
        parts = orjson.loads(base64.b64decode(padded, b"-_", validate=True))
        assert isinstance(parts, list)
        return [_part(part, kind) for part, kind in zip(parts, shape, strict=True)]
    except (ValueError, TypeError, AssertionError, OverflowError, binascii.Error):
        raise not_found("cursor of this list") from None


def _part(part: object, kind: type) -> object:
    if kind is datetime and isinstance(part, str):
        return _instant(part)
    if kind is int and isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= ID_MAX:
        return part
    raise ValueError


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError
    return instant.astimezone(UTC)
