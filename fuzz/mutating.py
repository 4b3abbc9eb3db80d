"""Changes what a provider writes where it means something: fields, not bytes.

A fuzzer that flips bytes of JSON mostly makes what is not JSON any more. Pure but for its chance.
"""

import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

CHANGES_MAX = 4
LONE = "\u00a7"
"""The sign of a paragraph stands for half an emoji and a NUL, which no writer of JSON writes."""

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 1.5, 1e300, "", " ", "0", "-1", LONE, "relevo-1"),
    *("true", "1786460935", "1786460935000", "2026-08-11T12:04:13-03:00", "9" * 30, "x" * 600),
    *("+0501234567", "whatsapp:+1", "US.1", "1@lid", "1555@s.whatsapp.net", "1@g.us", "a@b@c"),
    *([], {}, [[]], [{}], [None], {"id": 1}, {"text": "x"}, {"low": 1, "high": 1}),
)


def mutated(body: bytes, seed: int, *, form: bool) -> bytes | None:
    """Return the body with some of its fields changed; None if it has none."""
    chance = random.Random(seed)
    try:
        value: Any = dict(_pairs(body)) if form else orjson.loads(body)
    except ValueError:
        return None
    found = list(_places(value))
    if not found:
        return None
    for _ in range(chance.randint(1, CHANGES_MAX)):
        _change(found, chance)
    return _written(value, form=form)


def _pairs(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("utf-8", "surrogateescape"), keep_blank_values=True)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys."""
    if isinstance(value, dict):
        keys: list[Any] = list(value)
    else:
        keys = list(range(len(value))) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _change(found: list[tuple[Any, Any]], chance: random.Random) -> None:
    """Change one place: an odd value, another place's value or name, or nothing there at all."""
    (holder, key), (other, another) = chance.choice(found), chance.choice(found)
    try:
        match chance.randrange(5):
            case 0 | 1:
                holder[key] = chance.choice(ODD)
            case 2:
                holder[key] = orjson.loads(orjson.dumps(other[another]))
            case 3 if isinstance(holder, dict) and isinstance(another, str):
                holder[another] = holder.pop(key)
            case _:
                del holder[key]
    except (KeyError, IndexError, TypeError, ValueError):
        return  # gone with an earlier change, or a number that JSON does not take


def _written(value: Any, *, form: bool) -> bytes | None:
    if form:
        texts = {name: _text(field) for name, field in value.items()}
        return urlencode(texts, errors="surrogatepass").encode()
    try:
        return orjson.dumps(value).replace(LONE.encode(), rb"\ud83d\u0000")
    except TypeError:
        return None


def _text(field: object) -> str:
    return field.replace(LONE, "\ud83d\0") if isinstance(field, str) else str(field)
