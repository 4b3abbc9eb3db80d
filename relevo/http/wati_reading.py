"""Reads WATI's webhook events. Pure.

Sources: the vendor's webhook and REST documentation, versions 2.2 to 2.6, and its support articles
14111740, 11823158, 15068845 and 15068969.

* One message may come as `X`, `X_v2` and `X_bsuid`; they read alike, and their ids make them one.
* The author of an event is never its assignee: a customer's message names the operator too.
* Nothing here raises for a webhook: what cannot be read is `Unusable`, with a fixed word.
"""

import re

from relevo.http.fields import read_json, text_of, truth_of
from relevo.http.meta_errors import UNCLASSIFIED, by_code, by_text
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
)

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
        detail = _why_failed(event) if status == "failed" else ""
        return StatusUpdate(keys, status, detail) if keys else _NO_ID
    if family == "newContactMessageReceived":
        addresses = addresses_of(event)
        return NewContact(addresses) if addresses else _NO_ADDRESS
    if beside := _BESIDE_THE_CHAT.fullmatch(family):
        return Ignored(beside[1] or family)
    return Unusable("unknown_event")


def _why_failed(event: Thing) -> str:
    """Return why the customer did not get what WATI had taken, as a word."""
    said = text_of(event.get("failedDetail"))
    return (by_code(event.get("failedCode")) or by_text(said) or UNCLASSIFIED).word


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
