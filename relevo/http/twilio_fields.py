"""Reads what Twilio's webhooks and its list of messages have in common, field by field. Pure.

Sources: the vendor's documentation of the messaging webhook and of the Message resource.
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from relevo.http.fields import id_of, scrubbed
from relevo.identity import PHONE
from relevo.messages import Address

FIELDS_MAX = 1000
"""Twilio sends some thirty; a form of more is none of its."""

FORM_BYTES_MAX = 128 * 1024
"""The longest text of WhatsApp, with four escaped bytes a character, has half of it. A form is read
before it is known who sent it, so this is what a stranger can cost."""

BSUID = "bsuid"
PREFIX = "whatsapp:"

_PHONE = re.compile(r"\+?([0-9]{5,20})")
_BSUID = re.compile(r"[A-Za-z]{2}\.[A-Za-z0-9._-]{1,200}")

Form = Mapping[str, list[str]]
"""The fields of a form, each with every value it was given; bytes that are not UTF-8 are kept."""


def form_of(body: bytes) -> Form | None:
    """Read a form, application/x-www-form-urlencoded; None if it is none, or none of Twilio's."""
    if len(body) > FORM_BYTES_MAX:
        return None
    try:
        pairs = parse_qsl(
            body.decode("utf-8", "surrogateescape"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=FIELDS_MAX,
        )
    except ValueError:
        return None
    form: dict[str, list[str]] = {}
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form or None


def texts_of(form: Form) -> dict[str, str]:
    """Return the first value of every field, as text that can be stored."""
    return {name: scrubbed(values[0]) for name, values in form.items()}


def address_of(value: str) -> Address | None:
    """Read an address of WhatsApp, `whatsapp:+1…` or `whatsapp:US.…`; None for any other."""
    scheme, _, rest = value.strip().partition(":")
    return bare_address(rest) if scheme.casefold() == "whatsapp" else None


def bare_address(value: str) -> Address | None:
    """Read a phone, with a plus or without it, or a business-scoped id."""
    # A plus that was not escaped comes as a space.
    word = id_of(value.strip())
    if phone := _PHONE.fullmatch(word):
        # International, so nobody has to guess; but for a nought, with which no country begins.
        return Address(PHONE, phone[1] if phone[1].startswith("0") else f"+{phone[1]}")
    return Address(BSUID, word) if _BSUID.fullmatch(word) else None


def written(address: Address) -> str:
    """Return an address as Twilio writes it; empty for a kind that it does not know."""
    known = bare_address(address.value) if address.kind in (PHONE, BSUID) else None
    return f"{PREFIX}{known.value}" if known is not None and known.kind == address.kind else ""
