"""Reads Twilio's webhooks: messages of customers, and statuses of ours. Pure.

Sources: the vendor's documentation of the messaging webhook and of status callbacks.

* Both come to one address, and only the word of the status tells them apart.
* There is no time in either. Who wrote is always the customer: nothing else comes by webhook.
* Nothing here raises: what cannot be read is `Unusable`, with a fixed word.
"""

from collections.abc import Mapping

from relevo.http.fields import count_of, degrees_of, id_of
from relevo.http.twilio_fields import address_of, bare_address, form_of, texts_of
from relevo.http.twilio_sending import why_failed
from relevo.messages import (
    Address,
    Arrival,
    Author,
    Ignored,
    InboundMessage,
    StatusUpdate,
    Unusable,
)

MEDIA_MAX = 10
"""WhatsApp sends one in a message, other networks up to this many."""

_STATUSES = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "undelivered": "failed",
    "failed": "failed",
    "canceled": "failed",
}
_ON_ITS_WAY = frozenset({"accepted", "scheduled", "queued", "sending", "partially_delivered"})
_KINDS = frozenset({
    *("text", "image", "video", "audio", "document", "sticker", "location", "contacts", "voice"),
    *("button", "interactive", "reaction", "order"),
})  # fmt: skip
_BY_CONTENT_TYPE = {"image": "image", "video": "video", "audio": "audio"}


def arrivals(body: bytes, sender: Address | None = None) -> tuple[Arrival, ...]:
    """Read a webhook's body: one entry, always. What was written to another sender is set aside."""
    form = form_of(body)
    return (Unusable("not_form") if form is None else _arrival(texts_of(form), sender),)


def _arrival(fields: Mapping[str, str], sender: Address | None) -> Arrival:
    keys = _keys_of(fields)
    if not keys:
        return Unusable("no_id")
    status = (fields.get("MessageStatus") or fields.get("SmsStatus", "")).strip().casefold()
    if ours := _STATUSES.get(status):
        return StatusUpdate(keys, ours, _why(fields) if ours == "failed" else "")
    if status in _ON_ITS_WAY:
        return Ignored(status)
    if status not in ("", "received", "receiving"):
        return Unusable("unknown_event")
    if "Body" not in fields and not _media_of(fields) and "MessageType" not in fields:
        return Unusable("unknown_event")
    # An account may have several senders, and a reply by another one would reach nobody.
    written_to = address_of(fields.get("To", ""))
    if sender is not None and written_to not in (sender, None):
        return Unusable("other_line")
    addresses = _addresses_of(fields)
    if not addresses:
        return Unusable("no_address")
    kind = _kind_of(fields)
    media = "\n".join(_media_of(fields))
    return InboundMessage(
        keys, addresses, Author.CUSTOMER, kind, _body_of(fields, kind), None, media=media
    )


def _keys_of(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return the message's ids; the three names are one thing."""
    found = (id_of(fields.get(name)) for name in ("MessageSid", "SmsMessageSid", "SmsSid"))
    return tuple(dict.fromkeys(key for key in found if key))


def _why(fields: Mapping[str, str]) -> str:
    return why_failed(fields.get("ErrorCode"), fields.get("ChannelStatusMessage", ""))


def _addresses_of(fields: Mapping[str, str]) -> tuple[Address, ...]:
    """Return the customer's addresses, a phone first; none if they did not write by WhatsApp."""
    sender = address_of(fields.get("From", ""))
    if sender is None and fields.get("From", "").strip():
        return ()
    ids = (fields.get("ExternalUserId", ""), fields.get("ParentExternalUserId", ""))
    found = [sender, bare_address(fields.get("WaId", "")), *map(address_of, ids)]
    known = [address for address in dict.fromkeys(found) if address is not None]
    return tuple(sorted(known, key=lambda address: address.kind != "phone"))


def _media_of(fields: Mapping[str, str]) -> list[str]:
    numbers = range(min(count_of(fields.get("NumMedia")), MEDIA_MAX))
    return [url for number in numbers if (url := fields.get(f"MediaUrl{number}", "").strip())]


def _kind_of(fields: Mapping[str, str]) -> str:
    """Return the kind by its name; without one, by what is there."""
    if given := fields.get("MessageType", "").strip().casefold():
        return given if given in _KINDS else "other"
    if count_of(fields.get("NumMedia")):
        content_type = fields.get("MediaContentType0", "").strip().casefold()
        if content_type in ("text/vcard", "text/x-vcard"):
            return "contacts"
        return _BY_CONTENT_TYPE.get(content_type.partition("/")[0], "document")
    if fields.get("ButtonText") or fields.get("ButtonPayload"):
        return "button"
    return "location" if _place(fields) else "text"


def _body_of(fields: Mapping[str, str], kind: str) -> str:
    """Return what was said: a place and its name, a text or caption, a pressed button's title."""
    place = _place(fields) if kind == "location" else ""
    return place or fields.get("Body", "") or fields.get("ButtonText", "")


def _place(fields: Mapping[str, str]) -> str:
    """Return "lat, long", and on a line of its own how it is called."""
    latitude = degrees_of(fields.get("Latitude"))
    longitude = degrees_of(fields.get("Longitude"))
    if latitude is None or longitude is None:
        return ""
    named = ", ".join(name for key in ("Label", "Address") if (name := fields.get(key, "").strip()))
    return f"{latitude}, {longitude}" + (f"\n{named}" if named else "")
