"""Reads Evolution's answer to a send: was it taken, and if not, may it be tried again? Pure.

Sources: Evolution API 2.3.6 and 2.3.7 (`whatsapp.baileys.service.ts`, `exceptions/`). Whatever goes
wrong inside it is a 400 with the error's text, also what goes wrong after the message has left: a
400 proves nothing unless it says of itself that it came before.
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from relevo.events import SendFailure
from relevo.http.evolution_fields import Thing, key_id_of, part_of
from relevo.http.fields import read_object, text_of, truth_of
from relevo.http.meta_errors import FailureKind
from relevo.http.send_failures import RATE_LIMITED, UNAUTHORIZED, UNREADABLE
from relevo.outcomes import Accepted

NOT_ON_WHATSAPP = FailureKind(SendFailure.REFUSED, "undeliverable")
BAD_REQUEST = FailureKind(SendFailure.REJECTED, "bad_request")

_BY_STATUS: Mapping[int, FailureKind] = {
    HTTPStatus.UNAUTHORIZED: UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: UNAUTHORIZED,
    HTTPStatus.NOT_FOUND: FailureKind(SendFailure.STOPPED, "no_instance"),
    HTTPStatus.TOO_MANY_REQUESTS: RATE_LIMITED,
}
_TAKEN = frozenset({HTTPStatus.OK, HTTPStatus.CREATED})
_TAKEN_OR_NOT = frozenset({
    *range(200, 300),
    *(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_TIMEOUT),
    *range(500, 600),
})  # fmt: skip
_SCHEMA = re.compile(r"requires property|does not meet|is not (?:of a type|one of|allowed)")
"""How its check of a request's form words what it finds, before anything is sent."""

_SAID_MAX = 10
_DEPTH_MAX = 3


def send_answer(status: int, body: bytes) -> Accepted | FailureKind:
    """Judge a send by its answer: only what certainly has not left is not UNKNOWN."""
    answer = read_object(body) or {}
    if status in _TAKEN:
        key_id = key_id_of(part_of(answer, "key"))
        return Accepted((key_id,)) if key_id else UNREADABLE
    if status == HTTPStatus.BAD_REQUEST and (kind := _before_sending(answer)):
        return kind
    if kind := _BY_STATUS.get(status):
        return kind
    failure = SendFailure.UNKNOWN if status in _TAKEN_OR_NOT else SendFailure.REJECTED
    return FailureKind(failure, f"http_{status}")


def _before_sending(answer: Thing) -> FailureKind | None:
    said = list(_flat(part_of(answer, "response").get("message", answer.get("message"))))
    if any(isinstance(one, dict) and truth_of(one.get("exists")) is False for one in said):
        return NOT_ON_WHATSAPP
    return BAD_REQUEST if any(_SCHEMA.search(text_of(one)) for one in said) else None


def _flat(said: object, depth: int = 0) -> Iterator[object]:
    if isinstance(said, list) and depth < _DEPTH_MAX:
        for one in said[:_SAID_MAX]:
            yield from _flat(one, depth + 1)
    else:
        yield said
