"""Reads what the API is asked, within bounds: path, query, body and Idempotency-Key."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from relevo.http.api_problems import Problem, invalid, not_found, refused
from relevo.http.api_shapes import ID_MAX
from relevo.http.bodies import Bodies, TooMuchError
from relevo.http.encodings import TooLargeError

BODY_BYTES_MAX = 64 * 1024
PATH_CHARACTERS_MAX = 200
IDEMPOTENCY_HEADER = "Idempotency-Key"

_ID = re.compile("[1-9][0-9]{0,18}")
_IDEMPOTENCY_KEY = re.compile("[\x21-\x7e]{1,200}")

M = TypeVar("M", bound=BaseModel)


class Reader:
    """Reads requests; what cannot be used is a Problem."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies

    def path(self, request: web.Request) -> Mapping[str, Any]:
        """Return what the route names: `id` as a whole number, everything else as text."""
        return {name: _of_path(name, text) for name, text in request.match_info.items()}

    def query(self, request: web.Request, shape: type[M]) -> M:
        """Return the parameters; each may be given once."""
        given = request.query
        twice = next((name for name in given if len(given.getall(name)) > 1), None)
        if twice is not None:
            raise invalid(f"query.{twice}"[:PATH_CHARACTERS_MAX], "Should be given once.")
        try:
            return shape.model_validate(dict(given))
        except ValidationError as error:
            raise refused(error, "query") from None

    async def raw(self, request: web.Request) -> bytes:
        """Return the body as it came."""
        if request.body_exists:
            _refuse_other_than_json(request)
        try:
            return await self._bodies.read(request)
        except TooLargeError:
            raise Problem("too_large", f"The body is larger than {BODY_BYTES_MAX} bytes.") from None
        except TooMuchError:
            detail = "Too many bodies are half read; nothing was done. Ask again."
            raise Problem("unavailable", detail, headers={"Retry-After": "5"}) from None
        except TimeoutError:
            raise Problem(
                "too_slow", "The rest of the body did not come; nothing was done."
            ) from None

    def body(self, raw: bytes, shape: type[M]) -> M:
        """Return what a body says; one that is empty says nothing."""
        try:
            read = orjson.loads(raw) if raw else {}
        except orjson.JSONDecodeError:
            raise Problem("unreadable", "The body is not JSON in UTF-8.") from None
        try:
            return shape.model_validate(read)
        except ValidationError as error:
            raise refused(error, "body") from None

    def idempotency_key(self, request: web.Request) -> str | None:
        """Return the Idempotency-Key, if there is one."""
        key = request.headers.get(IDEMPOTENCY_HEADER)
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            what = "Should be 1 to 200 visible ASCII characters; a UUID does well."
            raise invalid(f"header.{IDEMPOTENCY_HEADER}", what)
        return key


def _of_path(name: str, text: str) -> str | int:
    if name != "id":
        if len(text) > PATH_CHARACTERS_MAX or not text.isprintable():
            raise not_found("thing")
        return text
    number = int(text) if _ID.fullmatch(text) else 0
    if not 1 <= number <= ID_MAX:
        raise not_found("thing")
    return number


def _refuse_other_than_json(request: web.Request) -> None:
    encoded = request.headers.get("Content-Encoding", "identity").lower() != "identity"
    if encoded or request.content_type != "application/json":
        raise Problem("not_json", "Send the body as `Content-Type: application/json`, unencoded.")
