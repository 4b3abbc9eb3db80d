"""Reads Evolution's webhook events. Pure.

Sources: Evolution API 2.3.6 and 2.3.7 (`channel.service.ts`, `whatsapp.baileys.service.ts`).

* `sender` is the line's own JID and not the customer; `date_time` is local time with a false Z;
  `apikey` may be a secret. Of these only the first is looked at.
* What was typed on the phone or the web comes as messages.upsert with `fromMe`, what was sent by
  the API as send.message, in older versions as both. Which of these are our own replies is told
  by their ids, and by what they say: here everything of the business is a colleague's.
* messages.edited carries WhatsApp's own protocol message, whatever that is about: an edit, or a
  revocation, which comes as messages.delete too. Its key is that of the message it is about, but
  `fromMe` in it is meant from the writer's side, so it does not tell whose it is. WhatsApp lets
  nobody but the author change a message in a chat of two.
* What has no content (it could not be decrypted yet) may come again under its id: it is kept raw.
* Nothing here raises for a webhook: what cannot be read is `Unusable`, with a fixed word.
"""

import re
from collections.abc import Iterator
from itertools import islice

from relevo.http.evolution_fields import (
    Content,
    Thing,
    address_of,
    addresses_of,
    changed_at_of,
    chat_of_many,
    content_of,
    event_at_of,
    is_revocation,
    key_id_of,
    part_of,
)
from relevo.http.fields import id_of, read_json, truth_of, word_of
from relevo.http.meta_errors import UNCLASSIFIED
from relevo.messages import (
    Address,
    Arrival,
    Author,
    Edit,
    Ignored,
    InboundMessage,
    Revocation,
    StatusUpdate,
    Unusable,
)

EVENTS_MAX = 1000
"""Messages in one body. Evolution sends one; a longer list is kept raw as a whole."""

_MESSAGES = frozenset({"messages.upsert", "send.message"})
_STATUSES = "messages.update"
_EDITED, _DELETED = "messages.edited", "messages.delete"
_BESIDE_THE_CHAT = re.compile(
    r"messages\.set|send\.message\.update"
    r"|(?:application|call|chats|connection|contacts|group|groups|instance|labels|logout|presence"
    r"|qrcode|remove|status|typebot)(?:\.[a-z.]+)?"
)
_STATUS_WORDS = {
    **dict.fromkeys(("SERVER_ACK", "2"), "sent"),
    **dict.fromkeys(("DELIVERY_ACK", "3"), "delivered"),
    **dict.fromkeys(("READ", "4", "PLAYED", "5"), "read"),
    **dict.fromkeys(("ERROR", "0"), "failed"),
}
_UNREADABLE = (("other", ""), ("text", ""))
"""What nobody edits a message into: a form that is not known must not empty what was said."""

_STATUSES_OF_NO_USE = frozenset({"PENDING", "1", "DELETED"})


def arrivals(body: bytes, instance: str) -> tuple[Arrival, ...]:
    """Read a webhook's body: one event, or a list of them. Never raises, never returns nothing."""
    try:
        read = read_json(body)
    except ValueError:
        return (Unusable("not_json"),)
    events = read if isinstance(read, list) else [read]
    if not events:
        return (Unusable("no_events"),)
    each = (arrival for event in events for arrival in _event(event, instance))
    found = tuple(islice(each, EVENTS_MAX + 1))
    return found if len(found) <= EVENTS_MAX else (Unusable("too_many_events"),)


def _event(event: object, instance: str) -> Iterator[Arrival]:
    if not isinstance(event, dict):
        yield Unusable("not_an_object")
        return
    name = word_of(event.get("event")).lower().replace("_", ".")
    if word_of(event.get("instance")) not in ("", instance):
        yield Unusable("other_instance")  # a global webhook: on this line it would answer another's
    elif name in _MESSAGES or name == _STATUSES:
        own = address_of(event.get("sender"))
        for thing in _things(event.get("data")):
            yield _status(thing) if name == _STATUSES else _message(thing, own)
    elif name in (_EDITED, _DELETED):
        for thing in _things(event.get("data")):
            yield _change(thing, name)
    elif _BESIDE_THE_CHAT.fullmatch(name):
        yield Ignored(name)
    else:
        yield Unusable("unknown_event")


def _things(data: object) -> list[object]:
    """Return what an event is about: `data` is one thing, a list, or a list beneath `messages`."""
    if isinstance(data, dict) and isinstance(data.get("messages"), list):
        data = data["messages"]
    return (data or [None]) if isinstance(data, list) else [data]


def _message(thing: object, own: Address | None) -> Arrival:
    if not isinstance(thing, dict):
        return Unusable("not_an_object")
    key = part_of(thing, "key")
    if many := chat_of_many(key):
        return Ignored(many)
    key_id, ours, content = key_id_of(key), truth_of(key.get("fromMe")), content_of(thing)
    if isinstance(content, Ignored):
        return content
    if not key_id:
        return Unusable("no_id")
    if ours is None or content is None:
        return Unusable("wrong_type")
    if not (addresses := addresses_of(key, own)):
        is_own = own is not None and address_of(key.get("remoteJid")) == own
        return Ignored("own_chat") if is_own else Unusable("no_address")
    return _said(key_id, addresses, Author.AGENT if ours else Author.CUSTOMER, content, thing)


def _said(
    key_id: str, addresses: tuple[Address, ...], author: Author, content: Content, thing: Thing
) -> InboundMessage:
    return InboundMessage(
        keys=(key_id,),
        addresses=addresses,
        author=author,
        kind=content.kind,
        body=content.body,
        event_at=event_at_of(thing),
        media=content.media,
    )


def _change(thing: object, name: str) -> Arrival:
    """Read what an author did about an earlier message; other protocol messages change none."""
    if not isinstance(thing, dict):
        return Unusable("not_an_object")
    key = part_of(thing, "key") or thing
    if many := chat_of_many(key):
        return Ignored(many)
    edited = part_of(thing, "editedMessage")
    revoked = name == _DELETED or is_revocation(thing)
    if not revoked and not edited:
        return Ignored(name)
    if not (target := key_id_of(key)):
        return Unusable("no_id")
    if revoked:
        return Revocation(target, Author.UNKNOWN, changed_at_of(thing))
    content = content_of({"message": part_of(edited, "message") or edited})
    if not isinstance(content, Content) or content[:2] in _UNREADABLE:
        return Unusable("wrong_type")
    return Edit(target, Author.UNKNOWN, content.body, changed_at_of(thing))


def _status(thing: object) -> Arrival:
    """Read what became of a message of ours; what we have done with a customer's is no news."""
    if not isinstance(thing, dict):
        return Unusable("not_an_object")
    key = part_of(thing, "key") or thing
    if many := chat_of_many(key):
        return Ignored(many)
    given = thing.get("status", part_of(thing, "update").get("status"))
    word = word_of(given).upper()
    is_theirs = truth_of(key.get("fromMe")) is False
    if is_theirs or given is None or word in _STATUSES_OF_NO_USE:
        return Ignored(_STATUSES)
    if (status := _STATUS_WORDS.get(word)) is None:
        return Unusable("wrong_type")
    if not (key_id := id_of(thing.get("keyId")) or key_id_of(key)):
        return Unusable("no_id")
    # WhatsApp's own numbers for failures are not Meta's, and have no list.
    return StatusUpdate((key_id,), status, UNCLASSIFIED.word if status == "failed" else "")
