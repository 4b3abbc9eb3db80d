"""Reads what a ManyChat flow's External Request brings. Pure.

Sources: the vendor's Dynamic Block documentation and its API's description. There is no webhook of
messages: the body is written by whoever builds the flow, either "Full Contact Data" as it is, or an
own object with the names below. It tells the customer's side only.

* There is no message id. The key is made of the subscriber, the text and `last_interaction`:
  repeats of one delivery are one message, whatever body they came in, and equal texts of two times
  are two. Two equal texts within the same second of that clock cannot be told from a repeat.
* Without a clock that moves, an equal text within `REPEAT_SECONDS` is a repeat, and one that comes
  two such periods after the last is not. A burst is longer: what is wrongly taken for a
  repeat was said twice in one breath.
* A clock without an offset is of the account's zone, which nobody tells us: it tells messages
  apart, and no time. Neither is one believed that lags far behind: whether `last_interaction` is
  always that of the very message is not documented, and a message dated to the one before, days
  ago, would be too late to be answered.
"""

import re
from datetime import datetime, timedelta
from hashlib import sha256

from relevo.http.fields import instant_of, read_json, text_of, word_of
from relevo.messages import Address, Arrival, Author, InboundMessage, Unusable

SUBSCRIBER = "subscriber"
"""ManyChat's number of a contact: replies go to it, and it means something on its line only."""

EVENTS_MAX = 1000
REPEAT_SECONDS = 15
LAG_MAX = timedelta(minutes=15)
"""A flow calls when the customer writes; an older time is not that of what they wrote."""

_SUBSCRIBER_NAMES = ("subscriber_id", "user_id", "contact_id", "id", "key")
_TEXT_NAMES = ("text", "message", "last_input_text")
_PHONE_NAMES = ("whatsapp_phone", "phone")
_SUBSCRIBER = re.compile(r"(?:user:)?0*([1-9][0-9]{0,18})")
_PHONE = re.compile(r"\+?[0-9][0-9 ().\-]{4,30}")
_BSUID = re.compile(r"[A-Za-z]{2}\.[A-Za-z0-9.]+")
_VARIABLE = re.compile(r"\s*\{\{[^{}]{1,200}\}\}\s*")
_TO_THE_SECOND = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?"
    r"(?P<offset>Z|[+-][0-9]{2}:?[0-9]{2})?"
)


def arrivals(body: bytes, now: datetime) -> tuple[Arrival, ...]:
    """Read a body: one object, or a list of them. Never raises, never returns nothing.

    `now` is when it came; it counts only where the body has no clock.
    """
    try:
        read = read_json(body)
    except ValueError:
        return (Unusable("not_json"),)
    events = read if isinstance(read, list) else [read]
    if not events:
        return (Unusable("no_events"),)
    if len(events) > EVENTS_MAX:
        return (Unusable("too_many_events"),)
    return tuple(_arrival(event, now) for event in events)


def subscriber_of(value: object) -> str:
    """Return a subscriber's number as its digits, also from "user:123"; empty if it is none."""
    found = _SUBSCRIBER.fullmatch(word_of(value))
    return found[1] if found else ""


def _arrival(event: object, now: datetime) -> Arrival:
    if not isinstance(event, dict):
        return Unusable("not_an_object")
    found = (subscriber_of(event.get(name)) for name in _SUBSCRIBER_NAMES)
    subscriber = next((number for number in found if number), "")
    if not subscriber:
        return Unusable("no_address")
    text = _said(event)
    if isinstance(text, Unusable):
        return text
    event_at, mark = _clock(event.get("last_interaction"))
    return InboundMessage(
        keys=_keys(subscriber, text, mark, now),
        addresses=_addresses(event, subscriber),
        author=Author.CUSTOMER,
        # Pictures and voice notes come without anything that tells what they are.
        kind="text" if text.strip() else "other",
        body=text,
        event_at=event_at if event_at is not None and event_at >= now - LAG_MAX else None,
    )


def _said(event: dict[str, object]) -> str | Unusable:
    """Return the first text there is; empty where the flow has the field, and nothing in it."""
    given = [event[name] for name in _TEXT_NAMES if name in event]
    if not given:
        return Unusable("no_text")
    for value in given:
        if value is None or value == "":
            continue
        # A variable without quotation marks makes a number of a customer's digits.
        text = text_of(value) if isinstance(value, str) else word_of(value)
        if not text and not isinstance(value, str):
            return Unusable("wrong_type")
        return Unusable("not_rendered") if _VARIABLE.fullmatch(text) else text
    return ""


def _addresses(event: dict[str, object], subscriber: str) -> tuple[Address, ...]:
    """Return the subscriber first: it is what can be written to."""
    phones = (word_of(event.get(name)) for name in _PHONE_NAMES)
    phone = next((number for number in phones if _PHONE.fullmatch(number)), "")
    bsuid = word_of(event.get("whatsapp_bsuid"))
    found = [Address(SUBSCRIBER, subscriber)]
    if phone:
        found.append(Address("phone", phone))
    if _BSUID.fullmatch(bsuid):
        found.append(Address("bsuid", bsuid))
    return tuple(found)


def _clock(value: object) -> tuple[datetime | None, str]:
    """Return when it was, if that is known, and what tells this time from others; or neither.

    A day, a minute or a variable that was not filled in stands still: it tells nothing apart.
    """
    instant = instant_of(value)
    if instant is None:
        return None, ""
    if not isinstance(value, str) or value.strip().replace(".", "", 1).isdigit():
        return instant, instant.isoformat()
    found = _TO_THE_SECOND.fullmatch(value.strip())
    if found is None:
        return None, ""
    return (instant, instant.isoformat()) if found["offset"] else (None, found[0])


def _keys(subscriber: str, text: str, mark: str, now: datetime) -> tuple[str, ...]:
    if mark:
        return (_key(subscriber, text, mark),)
    period = int(now.timestamp() // REPEAT_SECONDS)
    # The period before too: a repeat may come just after the turn of one.
    return tuple(_key(subscriber, text, f"period {number}") for number in (period, period - 1))


def _key(*parts: str) -> str:
    told = "\0".join(parts)  # texts are scrubbed of NUL, so no two lists of parts are one
    return f"manychat:{sha256(told.encode()).hexdigest()[:40]}"
