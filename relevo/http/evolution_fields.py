"""Reads what Evolution's webhook events and history rows have in common, field by field. Pure.

Sources: Evolution API 2.3.6 and 2.3.7 (`whatsapp.baileys.service.ts`), Baileys 7 (`Types`,
`decode-wa-message.ts`, `jid-utils.ts`).

* A chat is named by a JID: a phone, or a lid, which is WhatsApp's own number for a person and tells
  no phone. Either may come alone, and the other later.
* Of what we wrote ourselves the second JID may be our own: it is taken only where it cannot be.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from relevo.http.fields import count_of, degrees_of, id_of, instant_of, text_of, truth_of, word_of
from relevo.messages import Address, Ignored

LID = "lid"

Thing = Mapping[str, Any]
"""A message as Evolution writes it, or a part of one."""

_KIND_BY_SERVER = {
    "s.whatsapp.net": "phone",
    "c.us": "phone",
    "hosted": "phone",
    "lid": LID,
    "hosted.lid": LID,
}
_CHATS_OF_MANY = {
    "g.us": "group",
    "broadcast": "broadcast",
    "newsletter": "newsletter",
    "bot": "bot",
}
_PHONE_DIGITS_MIN = 5
"""Shorter "phones" are WhatsApp's own."""

_WRAPPERS = (
    *("ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension"),
    *("documentWithCaptionMessage", "deviceSentMessage", "botInvokeMessage"),
)
_WRAPPED_MAX = 5
_KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "extendedTextMessage": ("text", ("text",)),
    "imageMessage": ("image", ("caption",)),
    "videoMessage": ("video", ("caption",)),
    "ptvMessage": ("video", ("caption",)),
    "audioMessage": ("audio", ()),
    "documentMessage": ("document", ("caption", "fileName", "title")),
    "stickerMessage": ("sticker", ()),
    "locationMessage": ("location", ("name",)),
    "liveLocationMessage": ("location", ("caption",)),
    "contactMessage": ("contacts", ("displayName",)),
    "contactsArrayMessage": ("contacts", ("displayName",)),
    "reactionMessage": ("reaction", ("text",)),
    "buttonsResponseMessage": ("button", ("selectedDisplayText", "selectedButtonId")),
    "templateButtonReplyMessage": ("button", ("selectedDisplayText", "selectedId")),
    "listResponseMessage": ("interactive", ("title", "description")),
    "interactiveResponseMessage": ("interactive", ("body",)),
    "buttonsMessage": ("interactive", ("contentText",)),
    "listMessage": ("interactive", ("description", "title")),
    "interactiveMessage": ("interactive", ("body",)),
    "templateMessage": ("template", ("hydratedTemplate", "hydratedFourRowTemplate")),
    "orderMessage": ("order", ("message", "orderTitle")),
    "pollCreationMessage": ("other", ("name",)),
    "pollCreationMessageV3": ("other", ("name",)),
}
_SAID_BENEATH = ("text", "hydratedContentText")
_SAYS_NOTHING = (
    *("protocolMessage", "editedMessage", "keepInChatMessage", "pinInChatMessage"),
    *("encReactionMessage", "senderKeyDistributionMessage"),
)
_BESIDE = frozenset({"messageContextInfo", "senderKeyDistributionMessage", "base64", "mediaUrl"})
_PLACES = frozenset({"locationMessage", "liveLocationMessage"})


class Content(NamedTuple):
    """What a message says: its kind, its text or caption, and where its medium is kept."""

    kind: str
    body: str
    media: str = ""


def part_of(thing: Thing, name: str) -> Thing:
    """Return a nested object; an empty one if it is none."""
    part = thing.get(name)
    return part if isinstance(part, dict) else {}


def address_of(value: object) -> Address | None:
    """Read the JID of one person, with or without its device; None if it is none."""
    user, _, server = word_of(value).partition("@")
    kind = _KIND_BY_SERVER.get(server)
    user = user.partition(":")[0].partition("_")[0]
    if kind is None or not (user.isascii() and user.isdigit()):
        return None
    if kind == "phone" and len(user) < _PHONE_DIGITS_MIN:
        return None
    return Address(kind, user)


def jid_of(address: Address) -> str:
    """Return the JID under which Evolution knows an address."""
    if address.kind == LID:
        return f"{address.value}@lid"
    return f"{address.value.lstrip('+')}@s.whatsapp.net" if address.kind == "phone" else ""


def chat_of_many(key: Thing) -> str:
    """Return what a chat is that is not with one person; empty if it is."""
    return _CHATS_OF_MANY.get(word_of(key.get("remoteJid")).rpartition("@")[2], "")


def addresses_of(key: Thing, own: Address | None) -> tuple[Address, ...]:
    """Return the customer's addresses, a phone before a lid; `own` is our line's, if it is known.

    In a chat that we wrote in, a second JID is worth something only as the phone of a lid, and if
    it is known not to be ours: one wrong pair would make all customers one person.
    """
    first = address_of(key.get("remoteJid"))
    second = [address_of(key.get(name)) for name in ("remoteJidAlt", "senderPn", "senderLid")]
    if truth_of(key.get("fromMe")):
        is_lid = first is not None and first.kind == LID
        second = [a for a in second[:1] if a and a.kind == "phone" and is_lid and own]
    found = [a for a in (first, *second) if a is not None and a != own]
    return tuple(dict.fromkeys(sorted(found, key=lambda address: address.kind == LID)))


def key_id_of(key: Thing) -> str:
    """Return the id under which a message is known to all who see it."""
    return id_of(key.get("id"))


def event_at_of(message: Thing) -> datetime | None:
    """Return when a message was sent: Unix seconds, or the two halves of a 64-bit number."""
    return _instant_of(message.get("messageTimestamp"))


def changed_at_of(change: Thing) -> datetime | None:
    """Return when a message was edited or revoked: Unix milliseconds, in the same two forms."""
    return _instant_of(change.get("timestampMs"))


def is_revocation(change: Thing) -> bool:
    """Tell a protocol message that takes a message back, by its name or its number in WhatsApp."""
    return word_of(change.get("type")) in ("REVOKE", "0")


def content_of(message: Thing) -> Content | Ignored | None:
    """Read what a message says; `Ignored` says nothing itself, None cannot be read.

    A kind that is not known is "other": whoever sent it wants to be heard.
    """
    outer = message.get("message")
    if not isinstance(outer, dict):
        return None
    inner: Thing = outer
    for _ in range(_WRAPPED_MAX):
        nested = (part_of(part_of(inner, name), "message") for name in _WRAPPERS)
        inner = next((part for part in nested if part), inner)
    text = inner.get("conversation")
    if isinstance(text, str):
        return Content("text", text_of(text))
    if text is not None:
        return None
    for name, (kind, fields) in _KINDS.items():
        if isinstance(said := inner.get(name), dict):
            media = text_of(outer.get("mediaUrl"))
            return _content(name, kind, said, fields, text_of(outer.get("speechToText")), media)
    if silent := next((name for name in _SAYS_NOTHING if inner.get(name)), ""):
        return Ignored(silent)
    return Content("other", "") if {*inner} - _BESIDE else None


def _content(
    name: str, kind: str, said: Thing, fields: tuple[str, ...], speech: str, media: str
) -> Content:
    body = next(_texts(said, fields), "")
    if name in _PLACES:
        body = _coordinates(said) or body
    elif kind == "audio":
        kind, body = "voice" if truth_of(said.get("ptt")) else kind, speech
    return Content(kind, body, media)


def _texts(said: Thing, fields: tuple[str, ...]) -> Iterator[str]:
    for name in fields:
        value = said.get(name)
        nested = (part_of(said, name).get(beneath) for beneath in _SAID_BENEATH)
        for text in (value, *nested):
            if found := text_of(text):
                yield found


def _instant_of(given: object) -> datetime | None:
    if isinstance(given, dict):
        low, high = given.get("low"), given.get("high")
        if not isinstance(low, int):
            return None
        return instant_of((count_of(high) << 32) + (low & 0xFFFF_FFFF))
    return instant_of(given)


def _coordinates(place: Thing) -> str:
    latitude = degrees_of(place.get("degreesLatitude"))
    longitude = degrees_of(place.get("degreesLongitude"))
    return "" if latitude is None or longitude is None else f"{latitude}, {longitude}"
