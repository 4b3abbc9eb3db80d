"""Reads Twilio's answer to a send: was it taken, and if not, may it be tried again? Pure.

Sources: the vendor's documentation of the Message resource, and its dictionary of errors.

* A code says more than the HTTP status it comes with, and is read first.
* A 201 means that Twilio has queued it. Whatever else becomes of it comes as a status.
"""

from relevo.events import SendFailure
from relevo.http.fields import count_of, id_of, read_object, text_of, word_of
from relevo.http.meta_errors import UNCLASSIFIED, FailureKind, by_text
from relevo.http.send_failures import TAKEN, UNAUTHORIZED, UNREADABLE, by_status
from relevo.messages import correlation_key
from relevo.outcomes import Accepted

_CLASSES: tuple[tuple[FailureKind, tuple[int, ...]], ...] = (
    (FailureKind(SendFailure.RATE_LIMITED, "line_rate"), (63017, 63018)),
    (FailureKind(SendFailure.RATE_LIMITED, "account_rate"), (20429,)),
    # For the rest of a day: whoever tries again before that only asks for more of the same.
    (FailureKind(SendFailure.STOPPED, "account_rate"), (63038,)),
    (UNAUTHORIZED, (20003, 63001)),
    (FailureKind(SendFailure.STOPPED, "account_blocked"), (20005,)),
    (FailureKind(SendFailure.STOPPED, "line_unregistered"), (63002, 63007)),
    (FailureKind(SendFailure.REFUSED, "window_closed"), (63016,)),
    (FailureKind(SendFailure.REFUSED, "undeliverable"), (21211, 63003, 63024)),
    (FailureKind(SendFailure.REFUSED, "not_allowed"), (21610, 63015)),
    (FailureKind(SendFailure.REFUSED, "marketing_limit"), (63032,)),
    (FailureKind(SendFailure.REJECTED, "bad_request"), (21602, 21604, 21617)),
)
TWILIO_ERRORS = {code: kind for kind, codes in _CLASSES for code in codes}

_FAILED = frozenset({"failed", "undelivered", "canceled"})


def send_answer(status: int, body: bytes, correlation_id: str) -> Accepted | FailureKind:
    """Judge a send by its answer: what it says was not taken was not, what it leaves open is."""
    answer = read_object(body) or {}
    if status not in TAKEN:
        return _coded(answer.get("code")) or by_status(status)
    if word_of(answer.get("status")).casefold() in _FAILED:
        return _coded(answer.get("error_code")) or UNCLASSIFIED
    sid = id_of(answer.get("sid"))
    return Accepted((sid, correlation_key(correlation_id))) if sid else UNREADABLE


def why_failed(code: object, said: str) -> str:
    """Return why the customer did not get what Twilio had taken, as a word.

    What WhatsApp said of it is passed on as a sentence, at times with Meta's own code.
    """
    return (_coded(code) or by_text(text_of(said)) or UNCLASSIFIED).word


def _coded(code: object) -> FailureKind | None:
    return TWILIO_ERRORS.get(count_of(code))
