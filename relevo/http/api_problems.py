"""What the API answers when it does not do what was asked: problem details, RFC 9457.

`type` is `urn:problem-type:relevo:` and one of the words of `WORDS`, for a program; `detail` says
to a person what is wrong and what to do; `errors` say where. Nothing tells of the inside.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:problem-type:relevo:"

HEADERS: Mapping[str, str] = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""What every answer of the API carries."""

ERRORS_MAX = 20
PLACE_CHARACTERS_MAX = 80

WORDS: Mapping[str, int] = {
    "unreadable": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_slow": 408,
    "conflict": 409,
    "too_large": 413,
    "not_json": 415,
    "invalid": 422,
    "key_reused": 422,
    "too_many_requests": 429,
    "error": 500,
    "unavailable": 503,
}
"""Every kind of problem with its status."""


class Problem(Exception):  # noqa: N818  (it is what is answered, RFC 9457's own word)
    """A request is not done, for a reason that is told. Nothing was changed."""

    def __init__(
        self,
        word: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`errors` are {where, what}: `body.text`, and a sentence."""
        super().__init__(word)
        self.word = word
        self._detail = detail
        self._errors = errors
        self._headers = headers or {}

    def response(self) -> web.Response:
        """Return what is answered."""
        status = WORDS[self.word]
        told: dict[str, Any] = {
            "type": f"{TYPE_PREFIX}{self.word}",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": self._detail,
        }
        if self._errors:
            told["errors"] = self._errors
        return web.Response(
            status=status,
            body=orjson.dumps(told),
            content_type=CONTENT_TYPE,
            headers={**HEADERS, **self._headers},
        )


_SENTENCES = {
    "extra_forbidden": "There is no such field here.",
    "missing": "Is needed.",
    "model_type": "Should be a JSON object.",
}
"""Instead of pydantic's, which speak of Python."""
_SUBJECT = re.compile("(Value error, |Input |String )(?=should)")


def not_found(what: str) -> Problem:
    """Return that there is no such thing, or it is another's: nobody learns which."""
    return Problem("not_found", f"There is no such {what}.")


def invalid(where: str, what: str) -> Problem:
    """Return that one field cannot be used, and why."""
    return _invalid([{"where": where, "what": what}])


def refused(error: ValidationError, part: str) -> Problem:
    """Return what a model says of a `part` of the request: query or body. Never what was sent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return _invalid(
        [{"where": _place(part, each["loc"]), "what": _what(each)} for each in found[:ERRORS_MAX]]
    )


def _invalid(errors: Sequence[Mapping[str, str]]) -> Problem:
    detail = "The request cannot be used as it is; `errors` say where, and what should be there."
    return Problem("invalid", detail, errors=errors)


def _what(error: ErrorDetails) -> str:
    if error["type"] in _SENTENCES:
        return _SENTENCES[error["type"]]
    said = _SUBJECT.sub("", error["msg"])
    return f"{said[:1].upper()}{said[1:]}."


def _place(part: str, loc: Sequence[int | str]) -> str:
    return ".".join((part, *map(str, loc)))[:PLACE_CHARACTERS_MAX]
