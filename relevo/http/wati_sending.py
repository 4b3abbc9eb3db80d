"""Reads WATI's answer to a send: was it taken, and if not, may it be tried again? Pure.

Sources: the vendor's REST documentation, versions 2.2 to 2.6, which does not say what a refusal
looks like. `result` false has been seen in a 200, with a sentence in `info` or `message`; whether
Meta's codes are passed on, and where, is not known, so they are looked for wherever an error of
Meta's or of WATI's would have them, and only in an answer that says no.

* A 200 may still say no: `result` is read before anything else in an answer.
* What an answer says of the message decides, and its HTTP status only where it says nothing.
"""

import re
from collections.abc import Iterator

from relevo.events import SendFailure
from relevo.http.fields import count_of, id_of, read_object, text_of, truth_of, word_of
from relevo.http.meta_errors import PROPER_FROM, FailureKind, by_code, by_text
from relevo.http.send_failures import RATE_LIMITED, TAKEN, UNREADABLE, by_status
from relevo.http.wati_fields import Thing, keys_of
from relevo.messages import correlation_key
from relevo.outcomes import Accepted

_WORDED = (
    (
        re.compile(r"expired|(?<![0-9])24(?![0-9])", re.IGNORECASE),
        FailureKind(SendFailure.REFUSED, "window_closed"),
    ),
    (re.compile(r"rate limit|too many", re.IGNORECASE), RATE_LIMITED),
)
_ERRORS_MAX = 10


def send_answer(status: int, body: bytes, correlation_id: str) -> Accepted | FailureKind:
    """Judge a send by its answer: what it says was not taken was not, what it leaves open is."""
    answer = read_object(body) or {}
    if status not in TAKEN or _says_no(answer):
        return _coded(answer) or _worded(answer) or _said_no(status)
    message = answer.get("message")
    given = [*keys_of(message if isinstance(message, dict) else {}), *keys_of(answer)]
    given.append(id_of(answer.get("messageId")))
    keys = [key for key in given if key]
    if True not in _verdicts(answer) and not keys:
        return UNREADABLE
    return Accepted(tuple(dict.fromkeys([*keys, correlation_key(correlation_id)])))


def _says_no(answer: Thing) -> bool:
    verdicts = _verdicts(answer)
    if False in verdicts or _has_failed(answer.get("message")):
        return True
    return True not in verdicts and any(answer.get(name) for name in ("error", "errors"))


def _verdicts(answer: Thing) -> set[bool | None]:
    return {truth_of(answer.get("result")), truth_of(answer.get("ok"))}


def _has_failed(message: object) -> bool:
    return isinstance(message, dict) and (
        word_of(message.get("statusString")).casefold() == "failed"
        or bool(message.get("failedDetail"))
    )


def _coded(answer: Thing) -> FailureKind | None:
    """Return what a code of Meta's in it means; None: there is none that we know."""
    for error in _errors(answer):
        for name in ("failedCode", "code", "errorCode", "error_code"):
            code = error.get(name)
            is_metas = name == "failedCode" or "fbtrace_id" in error
            if (is_metas or count_of(code) >= PROPER_FROM) and (kind := by_code(code)):
                return kind
    return next((kind for said in _said(answer) if (kind := by_text(said))), None)


def _worded(answer: Thing) -> FailureKind | None:
    said = " ".join(_said(answer))
    return next((kind for words, kind in _WORDED if words.search(said)), None)


def _errors(answer: Thing) -> Iterator[Thing]:
    """Return everything in an answer that may be an error, or name one."""
    nested = [answer.get("error"), answer.get("message"), answer.get("info")]
    listed = answer.get("errors")
    nested += listed[:_ERRORS_MAX] if isinstance(listed, list) else [listed]
    yield answer
    for thing in nested:
        if isinstance(thing, dict):
            yield thing
            inner = (thing.get("error"), thing.get("error_data"))
            yield from (error for error in inner if isinstance(error, dict))


def _said(answer: Thing) -> Iterator[str]:
    """Return what is said of an error; never `text`, which is what we wanted to send."""
    for error in _errors(answer):
        for name in ("info", "message", "error", "failedDetail", "details", "detail", "title"):
            if said := text_of(error.get(name)):
                yield said


def _said_no(status: int) -> FailureKind:
    if status in TAKEN:
        return FailureKind(SendFailure.REJECTED, "result_false")
    return by_status(status)
