"""Reads WATI's webhook events and its answers to a send. Pure.

Sources: the vendor's webhook and REST documentation, versions 2.2 to 2.6, and its support articles
14111740, 11823158, 15068845 and 15068969.

* One message may come as `X`, `X_v2` and `X_bsuid`; they read alike, and their ids make them one.
* The author of an event is never its assignee: a customer's message names the operator too.
* Nothing here raises for a webhook: what cannot be read is `Unusable`, with a fixed word.
* A 200 may still say no: `result` is read before anything else in an answer.
"""

import re

from relevo.events import SendFailure
from relevo.http.fields import id_of, read_json, read_object, text_of, truth_of, word_of
from relevo.http.wati_fields import (
    Thing,
    addresses_of,
    body_of,
    event_at_of,
    family_of,
    has_text,
    keys_of,
    kind_of,
    outbound_author,
)
from relevo.messages import (
    Arrival,
    Author,
    Ignored,
    InboundMessage,
    NewContact,
    StatusUpdate,
    Unusable,
    correlation_key,
)
from relevo.outcomes import Accepted, NotAccepted

EVENTS_MAX = 1000
"""Events in one body. WATI sends one; a longer list is no delivery, and is kept raw as a whole."""

_STATUSES = {
    "sentMessageDELIVERED": "delivered",
    "sentMessageREAD": "read",
    "sentMessageREPLIED": "read",  # names our message; who replies has read it
    "sessionMessageFailed": "failed",
    "templateMessageFailed": "failed",
}
_BESIDE_THE_CHAT = re.compile(
    r"chatbotTriggered|(ticket|template(?!Message)|waba|account|phone|business|cta|call)[A-Za-z]+"
)
_WINDOW_CLOSED = re.compile(r"expired|(?<![0-9])24(?![0-9])", re.IGNORECASE)

_NO_ID = Unusable("no_id")
_NO_ADDRESS = Unusable("no_address")


def arrivals(body: bytes, assistant_operator: str) -> tuple[Arrival, ...]:
    """Read a webhook's body: one event, or a list of them. Never raises, never returns nothing."""
    try:
        read = read_json(body)
    except ValueError:
        return (Unusable("not_json"),)
    events = read if isinstance(read, list) else [read]
    if not events:
        return (Unusable("no_events"),)
    if len(events) > EVENTS_MAX:
        return (Unusable("too_many_events"),)
    return tuple(_arrival(event, assistant_operator) for event in events)


def _arrival(event: object, assistant_operator: str) -> Arrival:
    if not isinstance(event, dict):
        return Unusable("not_an_object")
    family = family_of(event)
    if family in ("message", "sessionMessageSent", "templateMessageSent"):
        return _message(event, family, assistant_operator)
    if status := _STATUSES.get(family):
        keys = keys_of(event)
        return StatusUpdate(keys, status, word_of(event.get("failedCode"))) if keys else _NO_ID
    if family == "newContactMessageReceived":
        addresses = addresses_of(event)
        return NewContact(addresses) if addresses else _NO_ADDRESS
    if beside := _BESIDE_THE_CHAT.fullmatch(family):
        return Ignored(beside[1] or family)
    return Unusable("unknown_event")


def _message(event: Thing, family: str, assistant_operator: str) -> InboundMessage | Unusable:
    owner = truth_of(event.get("owner"))
    if not has_text(event) or (owner is None and event.get("owner") is not None):
        return Unusable("wrong_type")
    keys, addresses = keys_of(event), addresses_of(event)
    if not keys:
        return _NO_ID
    if not addresses:
        return _NO_ADDRESS
    author, name = Author.CUSTOMER, ""
    if family == "templateMessageSent":
        author = Author.AUTOMATION
    elif family == "sessionMessageSent" or owner:
        author, name = outbound_author(event, assistant_operator)
    kind, event_at = kind_of(event), event_at_of(event)
    media = "" if kind in ("text", "location") else text_of(event.get("data"))
    return InboundMessage(
        keys, addresses, author, kind, body_of(event, kind), event_at, name, media
    )


def send_answer(body: bytes, correlation_id: str) -> Accepted | NotAccepted:
    """Read the 200 of a send; which ids it gives differs from tenant to tenant."""
    answer = read_object(body)
    if answer is None:
        return NotAccepted(SendFailure.UNKNOWN, "unreadable")
    verdicts = {truth_of(answer.get("result")), truth_of(answer.get("ok"))}
    if False in verdicts:
        if window_closed(body):
            return NotAccepted(SendFailure.REFUSED, "window_closed")
        return NotAccepted(SendFailure.REJECTED, "result_false")
    message = answer.get("message")
    given = [*keys_of(message if isinstance(message, dict) else {}), *keys_of(answer)]
    given.append(id_of(answer.get("messageId")))
    keys = [key for key in given if key]
    if True not in verdicts and not keys:
        return NotAccepted(SendFailure.UNKNOWN, "unreadable")
    return Accepted(tuple(dict.fromkeys([*keys, correlation_key(correlation_id)])))


def window_closed(body: bytes) -> bool:
    """Tell whether a refusal speaks of the 24 hours in which a customer may be written to."""
    answer = read_object(body) or {}
    said = (text_of(answer.get(key)) for key in ("info", "message", "error"))
    return any(_WINDOW_CLOSED.search(text) for text in said)
