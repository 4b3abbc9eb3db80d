"""Reads single messages of Meta's WhatsApp webhooks, field by field. Pure.

Sources: Meta's reference of Cloud API webhooks (v24, May to June 2026) and its document on
business-scoped user ids.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from relevo.http.fields import degrees_of, id_of, text_of, word_of
from relevo.messages import Address, AddressChange, correlation_key

LOCAL_PREFIX = "relevo-"
"""Our correlation ids begin with this, so an echo that names one is the assistant's."""

Thing = Mapping[str, Any]
"""A message, a status or a part of one."""

MEDIA = frozenset({"image", "audio", "voice", "video", "document", "sticker"})
_KINDS = MEDIA | {"text", "button", "interactive", "location", "contacts", "reaction", "order"}
_TEXT_IN = {"text": "body", "button": "text"}
_CONTACTS_SHOWN_MAX = 20
CONTACTS_MAX = 4000
"""Of one delivery, whose messages are no more than a thousand."""


def objects_of(things: object) -> tuple[Thing, ...]:
    """Return the objects of a list; whatever else there is counts for nothing."""
    if not isinstance(things, list):
        return ()
    return tuple(thing for thing in things if isinstance(thing, dict))


def keys_of(event: Thing) -> tuple[str, ...]:
    """Return the ids of a message or a status: Meta's, and ours where it is given back."""
    ours = id_of(event.get("biz_opaque_callback_data"))
    found = (id_of(event.get("id")), correlation_key(ours) if ours else "")
    return tuple(key for key in found if key)


def is_ours(event: Thing) -> bool:
    """Tell a message that names our correlation id; echoes of API sends are not documented."""
    return word_of(event.get("biz_opaque_callback_data")).startswith(LOCAL_PREFIX)


class Contacts:
    """Whom a delivery names beside its messages; a thousand messages find theirs without a search.

    A contact is the sender's if it has an id of theirs, never for its place in the list; where the
    message names nobody, only the one contact of its delivery can be meant.
    """

    def __init__(self, things: object) -> None:
        listed = objects_of(things)
        self._known = [
            (_phone(contact.get("wa_id")), id_of(contact.get("user_id")))
            for contact in listed[:CONTACTS_MAX]
        ]
        self._only = len(listed) == 1
        self._places: dict[Address, int] = {}
        for place, ids in enumerate(self._known):
            for address in _addresses(*ids):
                self._places.setdefault(address, place)

    def completed(self, phone: str, bsuid: str) -> tuple[Address, ...]:
        """Return the addresses of whom a message names so, with what their contact adds."""
        named = _addresses(phone, bsuid)
        places = [self._places[address] for address in named if address in self._places]
        if not named and self._only:
            places = [0]
        its_phone, its_bsuid = self._known[min(places)] if places else ("", "")
        return _addresses(phone or its_phone, bsuid or its_bsuid)


def addresses_of(message: Thing, contacts: Contacts) -> tuple[Address, ...]:
    """Return the customer's addresses, a phone first; a contact adds what the message lacks."""
    return contacts.completed(_phone(message.get("from")), id_of(message.get("from_user_id")))


def recipients_of(echo: Thing) -> tuple[Address, ...]:
    """Return the addresses of the customer that a colleague wrote to."""
    return _addresses(_phone(echo.get("to")), id_of(echo.get("to_user_id")))


def address_change_of(event: Thing) -> AddressChange | None:
    """Return what a system event says of a customer's number or BSUID; None: it links nothing.

    Meta gives the old phone as `from`, the new one as `wa_id`, and `user_id` is the new BSUID. The
    old one, `previous_user_id`, is known only from others' code.
    """
    system = _part(event, "system")
    phone, new = _phone(event.get("from")), _phone(system.get("wa_id"))
    old = _addresses(phone, id_of(system.get("previous_user_id")))
    names = _addresses(new if new != phone else "", id_of(system.get("user_id")))
    return AddressChange(old, names) if old and names else None


def kind_of(message: Thing) -> str:
    """Return the kind by its name; a recorded voice is no other audio."""
    kind = word_of(message.get("type"))
    if kind == "audio" and _part(message, "audio").get("voice") is True:
        return "voice"
    return kind if kind in _KINDS else "unsupported"


def has_text(message: Thing) -> bool:
    """Tell a message whose text can be read, or that needs none, from one not to be guessed at."""
    kind = word_of(message.get("type"))
    name = _TEXT_IN.get(kind)
    return name is None or isinstance(_part(message, kind).get(name), str)


def body_of(message: Thing, kind: str) -> str:
    """Return what was said: a text, a button's title, a form's answers, a caption, a place."""
    part = _part(message, word_of(message.get("type")))
    match kind:
        case "text" | "button":
            return text_of(part.get(_TEXT_IN[kind]))
        case "interactive":
            return _pressed(part)
        case "location":
            return _place(part)
        case "contacts":
            shown = objects_of(message.get("contacts"))[:_CONTACTS_SHOWN_MAX]
            return "\n".join(filter(None, map(_card, shown)))
        case "reaction":
            return text_of(part.get("emoji"))
        case "order":
            return text_of(part.get("text"))
        case _:
            return text_of(part.get("caption")) or text_of(part.get("filename"))


def media_of(message: Thing, kind: str) -> str:
    """Return the id under which Meta keeps a file, for a week; empty where there is none."""
    return id_of(_part(message, word_of(message.get("type"))).get("id")) if kind in MEDIA else ""


def target_of(change: Thing, kind: str) -> str:
    """Return the id of the message that is edited or revoked."""
    return id_of(_part(change, kind).get("original_message_id"))


def new_content_of(edit: Thing) -> tuple[str, str]:
    """Return the kind of the message that is edited, and how it reads now, as far as one can."""
    message = _part(_part(edit, "edit"), "message")
    kind = kind_of(message)
    return kind, body_of(message, kind)


def _part(message: Thing, name: str) -> Thing:
    part = message.get(name)
    return part if isinstance(part, dict) else {}


def _phone(value: object) -> str:
    """Return an international number with its plus, a national one as it is; empty if it is none.

    Meta writes international ones. What begins with a nought cannot be one: no country does.
    """
    digits = word_of(value).removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return ""
    return digits if digits.startswith("0") else f"+{digits}"


def _addresses(phone: str, bsuid: str) -> tuple[Address, ...]:
    found = (Address("phone", phone), Address("bsuid", bsuid))
    return tuple(address for address in found if address.value)


def _pressed(interactive: Thing) -> str:
    """Return what a customer chose; it may be missing, with an error of Meta's beside it."""
    for name in ("button_reply", "list_reply"):
        if title := text_of(_part(interactive, name).get("title")):
            return title
    form = _part(interactive, "nfm_reply")
    return text_of(form.get("response_json")) or text_of(form.get("body"))


def _place(location: Thing) -> str:
    """Return "lat, long", and below it what the place is called."""
    latitude, longitude = (degrees_of(location.get(name)) for name in ("latitude", "longitude"))
    where = "" if latitude is None or longitude is None else f"{latitude}, {longitude}"
    names = (text_of(location.get("name")), text_of(location.get("address")))
    return "\n".join(filter(None, (where, ", ".join(filter(None, names)))))


def _card(contact: Thing) -> str:
    """Return a shared contact's name and numbers, on one line."""
    return " ".join(filter(None, _on_card(contact)))


def _on_card(contact: Thing) -> Iterator[str]:
    yield text_of(_part(contact, "name").get("formatted_name"))
    for phone in objects_of(contact.get("phones")):
        yield text_of(phone.get("phone")) or _phone(phone.get("wa_id"))
