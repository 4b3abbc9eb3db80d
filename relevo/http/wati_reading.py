"""Reads what WATI says: webhook events, pages of history, answers to a send. Pure.

Sources: the vendor's webhook and REST documentation, versions 2.2 to 2.6, and its support articles
14111740, 11823158, 15068845 and 15068969.

* One message may come as `X`, `X_v2` and `X_bsuid`; they read alike, and their ids make them one.
* The author of an event is never its assignee: a customer's message names the operator too.
* Outbound authors are told by ranked evidence (`outbound_author`) and never guessed.
* Nothing here raises for a webhook: what cannot be read is `Unusable`, with a fixed word.
* A 200 may still say no: `result` is read before anything else in an answer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relevo.errors import ProviderError
from relevo.events import SendFailure
from relevo.http.fields import (
    WORD_CHARS_MAX,
    degrees_of,
    id_of,
    instant_of,
    read_json,
    read_object,
    text_of,
    truth_of,
    word_of,
)
from relevo.messages import (
    Address,
    Arrival,
    Author,
    HistoryItem,
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
LOCAL_PREFIX = "relevo-"
"""Our correlation ids begin with this, so an echo that names one is the assistant's."""

_Event = Mapping[str, Any]

_KINDS = frozenset({
    *("text", "image", "video", "audio", "document", "sticker", "location", "contacts", "voice"),
    *("button", "interactive", "reaction", "order", "catalog", "media_placeholder", "template"),
})  # fmt: skip
_NUMERIC_KINDS = dict(
    zip(
        "01234567",
        ("text", "image", "video", "audio", "document", "sticker", "location", "contacts"),
        strict=True,
    )
)
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
# A word that ends in "bot" ("Bot ", "hotelbot", "Chatbot 2") or camel case ("SalesBot"); but the
# surnames Botero, Talbot and Abbot are colleagues'.
_BOT = re.compile(
    r"(?<![^\W_])(?:[a-z0-9]*|Chat|CHAT|Ro|RO)(?:bot|Bot|BOT)s?(?![^\W\d_])|[a-z]Bot\b"
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
    family = _family(event)
    if family in ("message", "sessionMessageSent", "templateMessageSent"):
        return _message(event, family, assistant_operator)
    if status := _STATUSES.get(family):
        keys = _keys(event)
        return StatusUpdate(keys, status, word_of(event.get("failedCode"))) if keys else _NO_ID
    if family == "newContactMessageReceived":
        addresses = _addresses(event)
        return NewContact(addresses) if addresses else _NO_ADDRESS
    if beside := _BESIDE_THE_CHAT.fullmatch(family):
        return Ignored(beside[1] or family)
    return Unusable("unknown_event")


def _message(event: _Event, family: str, assistant_operator: str) -> InboundMessage | Unusable:
    owner = truth_of(event.get("owner"))
    if not _has_text(event) or (owner is None and event.get("owner") is not None):
        return Unusable("wrong_type")
    keys, addresses = _keys(event), _addresses(event)
    if not keys:
        return _NO_ID
    if not addresses:
        return _NO_ADDRESS
    author, name = Author.CUSTOMER, ""
    if family == "templateMessageSent":
        author = Author.AUTOMATION
    elif family == "sessionMessageSent" or owner:
        author, name = outbound_author(event, assistant_operator)
    kind, event_at = _kind(event), _event_at(event)
    media = "" if kind in ("text", "location") else text_of(event.get("data"))
    return InboundMessage(keys, addresses, author, kind, _body(event, kind), event_at, name, media)


def outbound_author(event: _Event, assistant_operator: str) -> tuple[Author, str]:
    """Tell who of the business wrote a message, and an agent's name, by the best evidence.

    Ranked: our correlation id; a chatbot's mark; the assistant's own operator account; an operator
    called a bot; any other operator. An assignee is no evidence, and without any it is UNKNOWN.
    """
    name = text_of(event.get("operatorName")).strip()[:WORD_CHARS_MAX]
    email = word_of(event.get("operatorEmail"))
    if word_of(event.get("localMessageId")).startswith(LOCAL_PREFIX):
        return Author.ASSISTANT, ""
    if id_of(event.get("chatbotTriggeredEventId")):
        return Author.AUTOMATION, ""
    ours = assistant_operator.strip().casefold()
    if ours and ours in (name.casefold(), email.casefold()):
        return Author.ASSISTANT, ""
    if _BOT.search(name):
        return Author.AUTOMATION, ""
    return (Author.AGENT, name) if name else (Author.UNKNOWN, "")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of history: its messages, how many things were on it, how far back it reaches.

    An entry's instant is the latest that WATI gives for it, sent or stored. `length` counts
    everything, also tickets and what could not be read. `size_max` is the page size that the answer
    claims, 0 if it does not. `oldest_at` is the oldest of the latest instants.
    """

    entries: tuple[tuple[HistoryItem, datetime | None], ...]
    length: int
    size_max: int
    oldest_at: datetime | None


def history_page(body: bytes, assistant_operator: str) -> Page:
    """Read an answer of getMessages. Raises `ProviderError` if it is none; a bad item is left out.

    `messages` may be null; the pages of a customer without any are.
    """
    answer = read_object(body)
    if answer is None or "messages" not in answer:
        raise ProviderError("unreadable")
    if truth_of(answer.get("result")) is False:
        raise ProviderError("result_false")
    messages = answer["messages"]
    claimed = None
    if isinstance(messages, dict) and "items" in messages:
        messages, claimed = messages["items"], messages.get("pageSize")
    if not isinstance(messages, list | None):
        raise ProviderError("unreadable")
    things = [(thing, _latest_at(thing)) for thing in messages or () if isinstance(thing, dict)]
    return Page(
        entries=tuple(
            (item, latest_at)
            for thing, latest_at in things
            if (item := _history_item(thing, assistant_operator)) is not None
        ),
        length=len(messages or ()),
        size_max=claimed if isinstance(claimed, int) else 0,
        oldest_at=min((time for _, time in things if time is not None), default=None),
    )


def _history_item(thing: _Event, assistant_operator: str) -> HistoryItem | None:
    """Read one message; None for tickets and for what belongs to no readable side."""
    family, owner = _family(thing), truth_of(thing.get("owner"))
    keys, event_at = _keys(thing), _event_at(thing)
    if family == "broadcastMessage":
        body = text_of(thing.get("finalText")) or text_of(thing.get("text"))
        return HistoryItem(0, Author.AUTOMATION, "template", body, event_at, keys)
    if family not in ("message", "") or owner is None or not _has_text(thing):
        return None
    author, name = outbound_author(thing, assistant_operator) if owner else (Author.CUSTOMER, "")
    kind = _kind(thing)
    return HistoryItem(0, author, kind, _body(thing, kind), event_at, keys, name)


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
    given = [*_keys(message if isinstance(message, dict) else {}), *_keys(answer)]
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


def _family(event: _Event) -> str:
    name = event.get("eventType")
    return name.removesuffix("_bsuid").removesuffix("_v2") if isinstance(name, str) else ""


def _has_text(event: _Event) -> bool:
    """Tell a message whose text is text, or absent, from one that must not be guessed at."""
    return isinstance(event.get("text"), str | None)


def _keys(event: _Event) -> tuple[str, ...]:
    """Return every id of a message, the one that all twins share first."""
    local = id_of(event.get("localMessageId"))
    found = (
        id_of(event.get("whatsappMessageId")),
        id_of(event.get("id")),
        correlation_key(local) if local else "",
    )
    return tuple(dict.fromkeys(key for key in found if key))


def _addresses(event: _Event) -> tuple[Address, ...]:
    phone = word_of(event.get("waId")).lstrip("+")
    found = [Address("phone", phone)] if phone.isascii() and phone.isdigit() else []
    if bsuid := id_of(event.get("bsuid")):
        found.append(Address("bsuid", bsuid))
    if not found and (conversation := id_of(event.get("conversationId"))):
        found.append(Address("wati", conversation))
    return tuple(found)


def _kind(event: _Event) -> str:
    given = event.get("type")
    if given is None and event.get("text"):
        return "text"
    word = word_of(given).casefold()
    kind = _NUMERIC_KINDS.get(word, word)
    return kind if kind in _KINDS else "other"


def _body(event: _Event, kind: str) -> str:
    """Return what was said: a pressed button's title, a place's coordinates, a text or caption."""
    for key in ("listReply", "interactiveButtonReply", "buttonReply"):
        reply = event.get(key)
        if isinstance(reply, dict) and (
            title := text_of(reply.get("title")) or text_of(reply.get("text"))
        ):
            return title
    place = _coordinates(event) if kind == "location" else ""
    return place or text_of(event.get("text"))


def _coordinates(event: _Event) -> str:
    """Return "lat, long"; the keys are not documented."""
    for place in (event.get("location"), event.get("data")):
        if isinstance(place, dict):
            latitude = degrees_of(place.get("latitude", place.get("lat")))
            longitude = degrees_of(place.get("longitude", place.get("lng", place.get("long"))))
            if latitude is not None and longitude is not None:
                return f"{latitude}, {longitude}"
    return text_of(event.get("data")).strip()


def _event_at(event: _Event) -> datetime | None:
    """Return when a message was sent.

    WhatsApp's own `timestamp` is preferred: `created` is when WATI stored it, and an automatic
    reply's `created` can be that of the message which caused it.
    """
    return instant_of(event.get("timestamp")) or instant_of(event.get("created"))


def _latest_at(event: _Event) -> datetime | None:
    """Return the latest time that a message has, sent or stored."""
    times = (instant_of(event.get("timestamp")), instant_of(event.get("created")))
    return max((time for time in times if time is not None), default=None)
