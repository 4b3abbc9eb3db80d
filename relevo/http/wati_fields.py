"""Reads what WATI's webhook events and history items have in common, field by field. Pure.

Sources: the vendor's webhook and REST documentation, versions 2.2 to 2.6.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from relevo.http.fields import (
    WORD_CHARS_MAX,
    degrees_of,
    id_of,
    instant_of,
    text_of,
    word_of,
)
from relevo.messages import Address, Author, correlation_key

LOCAL_PREFIX = "relevo-"
"""Our correlation ids begin with this, so an echo that names one is the assistant's."""

Thing = Mapping[str, Any]
"""An event or an item: anything that WATI writes about one message."""

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
# A word that ends in "bot" ("Bot ", "hotelbot", "Chatbot 2") or camel case ("SalesBot"); but the
# surnames Botero, Talbot and Abbot are colleagues'.
_BOT = re.compile(
    r"(?<![^\W_])(?:[a-z0-9]*|Chat|CHAT|Ro|RO)(?:bot|Bot|BOT)s?(?![^\W\d_])|[a-z]Bot\b"
)


def outbound_author(event: Thing, assistant_operator: str) -> tuple[Author, str]:
    """Tell who of the business wrote a message, and an agent's name, by the best evidence.

    Ranked: our correlation id; a chatbot's mark; the assistant's own operator account; an operator
    called a bot; any other operator, by name or, where there is none, by e-mail. An assignee is no
    evidence, and without any it is UNKNOWN.
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
    # Of an e-mail only what names the person: a company may be called something with "bot".
    if _BOT.search(name or email.partition("@")[0]):
        return Author.AUTOMATION, ""
    operator = name or email
    return (Author.AGENT, operator) if operator else (Author.UNKNOWN, "")


def family_of(event: Thing) -> str:
    """Return the event's name, the same for all twins."""
    name = event.get("eventType")
    return name.removesuffix("_bsuid").removesuffix("_v2") if isinstance(name, str) else ""


def has_text(event: Thing) -> bool:
    """Tell a message whose text is text, or absent, from one that must not be guessed at."""
    return isinstance(event.get("text"), str | None)


def keys_of(event: Thing) -> tuple[str, ...]:
    """Return every id of a message, the one that all twins share first."""
    local = id_of(event.get("localMessageId"))
    found = (
        id_of(event.get("whatsappMessageId")),
        id_of(event.get("id")),
        correlation_key(local) if local else "",
    )
    return tuple(dict.fromkeys(key for key in found if key))


def addresses_of(event: Thing) -> tuple[Address, ...]:
    """Return the customer's addresses; WATI's conversation only where there is no other."""
    phone = word_of(event.get("waId")).lstrip("+")
    found = [Address("phone", phone)] if phone.isascii() and phone.isdigit() else []
    if bsuid := id_of(event.get("bsuid")):
        found.append(Address("bsuid", bsuid))
    if not found and (conversation := id_of(event.get("conversationId"))):
        found.append(Address("wati", conversation))
    return tuple(found)


def kind_of(event: Thing) -> str:
    """Return the kind by its name; older answers number the first eight."""
    given = event.get("type")
    if given is None and event.get("text"):
        return "text"
    word = word_of(given).casefold()
    kind = _NUMERIC_KINDS.get(word, word)
    return kind if kind in _KINDS else "other"


def body_of(event: Thing, kind: str) -> str:
    """Return what was said: a pressed button's title, a place's coordinates, a text or caption."""
    for key in ("listReply", "interactiveButtonReply", "buttonReply"):
        reply = event.get(key)
        if isinstance(reply, dict) and (
            title := text_of(reply.get("title")) or text_of(reply.get("text"))
        ):
            return title
    place = _coordinates(event) if kind == "location" else ""
    return place or text_of(event.get("text"))


def _coordinates(event: Thing) -> str:
    """Return "lat, long"; the keys are not documented."""
    for place in (event.get("location"), event.get("data")):
        if isinstance(place, dict):
            latitude = degrees_of(place.get("latitude", place.get("lat")))
            longitude = degrees_of(place.get("longitude", place.get("lng", place.get("long"))))
            if latitude is not None and longitude is not None:
                return f"{latitude}, {longitude}"
    return text_of(event.get("data")).strip()


def event_at_of(event: Thing) -> datetime | None:
    """Return when a message was sent.

    WhatsApp's own `timestamp` is preferred: `created` is when WATI stored it, and an automatic
    reply's `created` can be that of the message which caused it.
    """
    return instant_of(event.get("timestamp")) or instant_of(event.get("created"))


def latest_at_of(event: Thing) -> datetime | None:
    """Return the latest time that a message has, sent or stored."""
    times = (instant_of(event.get("timestamp")), instant_of(event.get("created")))
    return max((time for time in times if time is not None), default=None)
