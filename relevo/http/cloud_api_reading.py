"""Reads Meta's webhooks of WhatsApp, which 360dialog passes on as they are. Pure.

Sources: Meta's reference of Cloud API webhooks (v24, May to June 2026), its document on
business-scoped user ids, and the vendor's of 360dialog.

* A body holds up to a thousand updates of many kinds and customers; each is read by itself, and
  one that cannot be read costs only itself.
* Anything but an update's id may be missing: contacts, phone (`from`), BSUID (`from_user_id`).
* What is said with the phone's own app comes as `message_echoes`, without a name. Sends by API are
  not echoed, only their statuses are told.
* An edit or a revocation names its message and has an id of its own. Whose it is says the list it
  comes in, and not `from` and `to`, which were seen swapped in echoes of them.
* Nothing here raises for a webhook. What the core has no place for yet (groups, changes of number,
  the sync of old chats) is `Unusable`: kept raw, to be replayed once it has.
"""

from collections.abc import Iterator
from itertools import islice

from relevo.http.cloud_api_fields import (
    Contacts,
    Thing,
    address_change_of,
    addresses_of,
    body_of,
    has_text,
    is_ours,
    keys_of,
    kind_of,
    media_of,
    new_content_of,
    objects_of,
    recipients_of,
    target_of,
)
from relevo.http.fields import instant_of, read_json, word_of
from relevo.http.meta_errors import UNCLASSIFIED, by_code
from relevo.messages import (
    Arrival,
    Author,
    Edit,
    Ignored,
    InboundMessage,
    Revocation,
    StatusUpdate,
    Unusable,
)

UPDATES_MAX = 4000
"""In one body. Meta sends at most a thousand; more is no delivery, and is kept raw as a whole."""

ERRORS_MAX = 20
"""Of one status; one is what there is."""

_STATUSES = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "played": "read",
    "failed": "failed",
}
_CHANGES = frozenset({"edit", "revoke"})
_UNREADABLE = (("unsupported", ""), ("text", ""))
"""What nobody edits a message into: a form that is not known must not empty what was said."""

_BESIDE_THE_CHAT = frozenset({"system", "request_welcome"})
_NUMBER_CHANGES = frozenset({"user_changed_number", "user_changed_user_id"})
_LISTS = ("messages", "message_echoes", "statuses")
_NOT_AN_OBJECT = Unusable("not_an_object")
_WRONG_TYPE = Unusable("wrong_type")


def arrivals(body: bytes, phone_number_id: str) -> tuple[Arrival, ...]:
    """Read a webhook's body. Never raises, never returns nothing.

    `phone_number_id` is our line's; what another line of the same account got is not ours to
    answer. Empty: whatever comes is ours.
    """
    try:
        read = read_json(body)
    except ValueError:
        return (Unusable("not_json"),)
    if not isinstance(read, dict):
        return (_NOT_AN_OBJECT,)
    if "entry" not in read:
        return (Unusable("unknown_event"),)
    found = tuple(islice(_of_entries(read["entry"], phone_number_id), UPDATES_MAX + 1))
    if len(found) > UPDATES_MAX:
        return (Unusable("too_many_events"),)
    return found or (Unusable("no_events"),)


def _of_entries(entries: object, phone_number_id: str) -> Iterator[Arrival]:
    for entry in _objects(entries):
        if isinstance(entry, Unusable):
            yield entry
            continue
        for change in _objects(entry.get("changes")):
            if isinstance(change, Unusable):
                yield change
            else:
                yield from _of_change(change, phone_number_id)


def _of_change(change: Thing, phone_number_id: str) -> Iterator[Arrival]:
    field, value = word_of(change.get("field")), change.get("value")
    if field == "history":
        yield Unusable("history")
    elif field not in ("messages", "smb_message_echoes"):
        yield Ignored("other_field") if field else Unusable("unknown_event")
    elif not isinstance(value, dict):
        yield _WRONG_TYPE
    else:
        yield from _of_value(value, phone_number_id)


def _of_value(value: Thing, phone_number_id: str) -> Iterator[Arrival]:
    given = [name for name in _LISTS if value.get(name) is not None]
    metadata = value.get("metadata")
    line = word_of(metadata.get("phone_number_id")) if isinstance(metadata, dict) else ""
    foreign = bool(phone_number_id and line) and line != phone_number_id
    contacts = Contacts(value.get("contacts"))
    for name in given:
        for thing in _objects(value[name]):
            if isinstance(thing, Unusable):
                yield thing
            elif foreign:
                yield Ignored("other_line") if name == "statuses" else Unusable("other_line")
            elif name == "statuses":
                yield _status(thing)
            else:
                yield _message(thing, contacts, echo=name == "message_echoes")
    if not given:
        beside = any(value.get(name) for name in ("errors", "user_actions"))
        yield Ignored("beside_the_chat") if beside else Unusable("no_events")


def _objects(things: object) -> Iterator[Thing | Unusable]:
    """Yield what a list holds, or that something is no list, or no object."""
    if not isinstance(things, list):
        yield _WRONG_TYPE
        return
    for thing in things:
        yield thing if isinstance(thing, dict) else _NOT_AN_OBJECT


def _status(event: Thing) -> Arrival:
    keys, word = keys_of(event), word_of(event.get("status"))
    if not keys:
        return Unusable("no_id")
    if (status := _STATUSES.get(word)) is None:
        return Unusable("unknown_event")
    return StatusUpdate(keys, status, _why_failed(event) if status == "failed" else "")


def _why_failed(event: Thing) -> str:
    """Return why the customer did not get what Meta had taken, as a word."""
    errors = objects_of(event.get("errors"))[:ERRORS_MAX]
    kinds = (by_code(error.get("code")) for error in errors)
    return next((kind for kind in kinds if kind is not None), UNCLASSIFIED).word


def _message(event: Thing, contacts: Contacts, *, echo: bool) -> Arrival:
    given = word_of(event.get("type"))
    if _changes_number(event):
        return address_change_of(event) or Unusable("number_changed")
    if given in _BESIDE_THE_CHAT:
        return Ignored(given)
    if event.get("group_id"):
        # Whoever writes in a group is not to be answered alone, nor before everybody.
        return Unusable("group")
    if given in _CHANGES:
        return _change(event, given, Author.AGENT if echo else Author.CUSTOMER)
    kind = kind_of(event)
    if not has_text(event):
        return _WRONG_TYPE
    keys = keys_of(event)
    addresses = recipients_of(event) if echo else addresses_of(event, contacts)
    if not keys:
        return Unusable("no_id")
    if not addresses:
        return Unusable("no_address")
    author = (Author.ASSISTANT if is_ours(event) else Author.AGENT) if echo else Author.CUSTOMER
    event_at = instant_of(event.get("timestamp"))
    return InboundMessage(
        keys, addresses, author, kind, body_of(event, kind), event_at, media=media_of(event, kind)
    )


def _change(event: Thing, kind: str, author: Author) -> Arrival:
    target, event_at = target_of(event, kind), instant_of(event.get("timestamp"))
    if not target:
        return Unusable("no_id")
    if kind == "revoke":
        return Revocation(target, author, event_at)
    kind, body = new_content_of(event)
    if (kind, body) in _UNREADABLE:
        return _WRONG_TYPE
    return Edit(target, author, body, event_at)


def _changes_number(event: Thing) -> bool:
    """Tell the event that names a customer's next address, which nothing else links to the old."""
    system = event.get("system")
    return isinstance(system, dict) and word_of(system.get("type")) in _NUMBER_CHANGES
