"""Reads ManyChat's answer to a send: was it taken, and if not, may it be tried again? Pure.

Sources: the vendor's API description: `{"status": "success"}` without any id, or an HTTP 400 with
`status` "error", a `message` and perhaps a `code`. What a 429 looks like is not documented.

* A 200 may say no, too: `status` is read before the HTTP status.
* What is said of the message decides, and the HTTP status only where nothing is.
"""

import re
from collections.abc import Mapping

import orjson

from relevo.events import SendFailure
from relevo.http.fields import count_of, read_object, scrubbed, text_of, truth_of
from relevo.http.meta_errors import FailureKind, by_text
from relevo.http.send_failures import RATE_LIMITED, TAKEN, UNAUTHORIZED, UNREADABLE, by_status
from relevo.messages import correlation_key
from relevo.outcomes import Accepted

WINDOW_CLOSED = FailureKind(SendFailure.REFUSED, "window_closed")
CHANNEL_ERROR = FailureKind(SendFailure.REJECTED, "channel_error")

_BY_CODE: Mapping[int, FailureKind] = {
    3011: WINDOW_CLOSED,
    **dict.fromkeys((3021, 3031, *range(3040, 3050)), CHANNEL_ERROR),
}
_WORDED = (
    (re.compile(r"(?<![0-9])24.?h", re.IGNORECASE), WINDOW_CLOSED),
    (re.compile(r"rate limit|too many requests", re.IGNORECASE), RATE_LIMITED),
    (re.compile(r"(wrong|invalid|expired)[ a-z]{0,20} token", re.IGNORECASE), UNAUTHORIZED),
)


def send_body(subscriber: str, text: str) -> bytes:
    """Return the body of sendContent: one text, for WhatsApp."""
    messages = [{"type": "text", "text": scrubbed(text)}]
    content = {"type": "whatsapp", "messages": messages}
    data = {"version": "v2", "content": content}
    return orjson.dumps({"subscriber_id": int(subscriber), "data": data})


def send_answer(status: int, body: bytes, correlation_id: str) -> Accepted | FailureKind:
    """Judge a send by its answer: what it says was not taken was not, what it leaves open is."""
    answer = read_object(body) or {}
    verdict = truth_of(answer.get("status"))
    if status in TAKEN and verdict is not False:
        # There is no id to remember, and nothing will ever name ours.
        return Accepted((correlation_key(correlation_id),)) if verdict else UNREADABLE
    said = text_of(answer.get("message"))
    if kind := _BY_CODE.get(count_of(answer.get("code"))) or by_text(said):
        return kind
    if kind := next((kind for words, kind in _WORDED if words.search(said)), None):
        return kind
    return _said_no(status)


def _said_no(status: int) -> FailureKind:
    if status in TAKEN:
        return FailureKind(SendFailure.REJECTED, "status_error")
    return by_status(status)
