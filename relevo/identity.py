"""Who a customer is: the same person under however many spellings of an address.

Rules:

* A normalised phone is E.164 with its plus. Normalising twice changes nothing.
* A spelling counts only if its E.164 reads back as itself (noughts too many do not).
* WhatsApp spells some mobile numbers otherwise than their people do: without the ninth digit in
  Brazil, with a 1 after +52 in Mexico, and some gateways leave out the 9 after +54 in Argentina.
  These are one person, under the form that the tables call a mobile number.
* Digits without a plus are read both ways. Providers write international numbers without it, people
  write national ones: a reading that is a number in service somewhere wins over one that only has a
  possible length, and at equal standing the international reading wins.
* What cannot be read as a phone is kept without its separators. It never meets a good phone: that
  one is E.164, and E.164 can be read.

Whom a conversation is with is its canonical key, by the best of his addresses: a lead of the CRM,
else a phone, else the first of the others, which is provisional.

The tables of phone numbers are those of the phonenumbers library; the core has no other dependency.
The three countries' spellings: WhatsApp's help "About international phone number format" (Mexico,
Argentina), and what Evolution's `createJid` does to numbers of all three.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import phonenumbers
from phonenumbers import (
    NumberParseException,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberType,
    ValidationResult,
)

from relevo.messages import Address

PHONE = "phone"
LEAD = "lead"
"""A customer's id in the business's CRM: an address like any other, which lasts longest."""

BSUID = "bsuid"
"""Meta's business-scoped user id, on whatever provider's channel it comes."""

_LASTING = (LEAD, PHONE)
"""Kinds that mean the same everywhere in a business, the most lasting first."""

_TWO_SPELLINGS = ("+52", "+54", "+55")
_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_PHONES_REMEMBERED_MAX = 50_000  # about 15 MB; a busy business writes with fewer people a day
_VALUE_CHARACTERS_MAX = 40  # a phone has at most 15 digits; the rest is room for separators
_SEPARATORS = re.compile(r"[\s().\-]")
_DIGITS = re.compile(r"\+?\d+")


def canonical_key(
    business_id: str, addresses: Sequence[Address], region: str, scope: str = ""
) -> str:
    """Return the key under which a business knows this person, the same for every spelling.

    `addresses` has at least one entry: the first lead is the key, else the first phone that can be
    read, else the first address as it stands, with its `scope` if it means something only there.
    """
    for kind in _LASTING:
        for address in addresses:
            if address.kind == kind and (value := _lasting_value(address, region)) is not None:
                return f"{kind}:{business_id}:{value}"
    first = normalised(addresses[0], region)
    return ":".join(filter(None, (first.kind, business_id, scope, first.value)))


def better_key(
    business_id: str,
    key: str,
    addresses: Sequence[Address],
    region: str,
    changed: tuple[Address, Address] | None = None,
) -> str:
    """Return a conversation's key, given the one it has and all addresses that lead to it.

    It changes only for a more lasting kind, or if it is the phone that was `changed`, (old, new).
    """
    if changed is not None and changed[0].kind == changed[1].kind == PHONE:
        old, new = (f"{PHONE}:{business_id}:{address.value}" for address in changed)
        key = new if key == old else key
    best = canonical_key(business_id, addresses, region) if addresses else key
    return best if rank(best) < rank(key) else key


def rank(key: str) -> int:
    """Return how lasting a canonical key is; 0 lasts longest."""
    kind = key.partition(":")[0]
    return _LASTING.index(kind) if kind in _LASTING else len(_LASTING)


def scope(kind: str, channel_id: str, portfolio: str) -> str:
    """Return within what of a business an address means something; empty: everywhere.

    A phone and a lead do everywhere, a BSUID within the channel's portfolio at Meta, whichever
    provider tells it, and anything else within its channel.
    """
    if kind in _LASTING:
        return ""
    return portfolio if kind == BSUID else channel_id


def normalised(address: Address, region: str) -> Address:
    """Return the address in its one spelling. Other kinds than phones stay as they are."""
    if address.kind != PHONE:
        return address
    return Address(PHONE, phone(address.value, region) or _bare(address.value) or address.value)


def as_written(address: Address, region: str) -> Address:
    """Return the address in the spelling that its provider knows; a phone has its plus if it can.

    It is what we write to: a provider may know nobody under the other spelling.
    """
    if address.kind != PHONE:
        return address
    e164 = phone(address.value, region)
    if e164 is None:
        return normalised(address, region)
    if not e164.startswith(_TWO_SPELLINGS):
        return Address(PHONE, e164)
    written = "+" + (_bare(address.value) or "").removeprefix("+")
    return Address(PHONE, written if phone(written, region) == e164 else e164)


def _lasting_value(address: Address, region: str) -> str | None:
    return phone(address.value, region) if address.kind == PHONE else address.value


@lru_cache(maxsize=_PHONES_REMEMBERED_MAX)
def phone(value: str, region: str) -> str | None:
    """Return the phone as E.164 with its plus, or None when `value` is not a phone number.

    `region` is the ISO 3166 country of numbers that are written without a country code.
    """
    bare = _bare(value)
    if bare is None:
        return None
    readings = [_read(f"+{bare.removeprefix('+')}", None)]
    if not bare.startswith("+"):
        readings.append(_read(bare, region))
    numbers = [number for number in readings if number is not None]
    best = next(filter(phonenumbers.is_valid_number, numbers), next(iter(numbers), None))
    return None if best is None else _e164(best)


def digit_spellings(value: str, region: str) -> frozenset[str]:
    """Return how a phone may be written in digits alone; none for what is not one.

    For whoever looks for it in what is kept raw: as it is written here, and with and without the
    country, with noughts before.
    """
    e164 = phone(value, region)
    if e164 is None:
        return frozenset()
    written = (_bare(value) or "").removeprefix("+")
    national = phonenumbers.national_significant_number(phonenumbers.parse(e164))
    international = e164.removeprefix("+")
    return frozenset(
        {written, international, f"00{international}", national, f"0{national}"} - {""}
    )


def is_region(value: str) -> bool:
    """Tell whether this is an ISO 3166 country, in capitals, that has phone numbers."""
    return value in phonenumbers.SUPPORTED_REGIONS


def beginnings(text: str, region: str) -> tuple[str, ...]:
    """Return how a phone may begin, as E.164, of which somebody knows only this beginning.

    Empty if that cannot be a phone. The first is the digits as they are written. A whole number is
    its own beginning, in any spelling.
    """
    bare = _bare(text)
    if bare is None:
        return ()
    digits = bare.removeprefix("+")
    found = [f"+{digits}", phone(text, region) or f"+{digits}"]
    if not bare.startswith("+") and is_region(region):
        trunk = phonenumbers.ndd_prefix_for_region(region, strip_non_digits=True) or ""
        code = phonenumbers.country_code_for_region(region)
        found.append(f"+{code}{digits.removeprefix(trunk)}")
    return tuple(dict.fromkeys(found))


def _bare(value: str) -> str | None:
    """Return digits with an optional plus, or None: no letters, lids or group ids."""
    if len(value) > _VALUE_CHARACTERS_MAX:
        return None
    bare = _SEPARATORS.sub("", value)
    return bare if _DIGITS.fullmatch(bare) else None


def _read(text: str, region: str | None) -> PhoneNumber | None:
    """Return the number if its length exists, without leaving out an area code, and reads back."""
    try:
        number = _mobile(phonenumbers.parse(text, region))
        again = phonenumbers.parse(_e164(number))
    except NumberParseException:
        return None
    length = phonenumbers.is_possible_number_with_reason(number)
    return number if length == ValidationResult.IS_POSSIBLE and again == number else None


def _mobile(number: PhoneNumber) -> PhoneNumber:
    """Return a number that WhatsApp or a person spells otherwise as the mobile number it is."""
    digits = str(number.national_number)
    match number.country_code, len(digits):
        case 55, 10 if not phonenumbers.is_valid_number(number):  # DD NNNN-NNNN: the 9 is missing
            digits = f"{digits[:2]}9{digits[2:]}"
        case 52, 11 if digits.startswith("1"):
            digits = digits[1:]
        case 54, 10:
            digits = f"9{digits}"
        case _:
            return number
    mobile = PhoneNumber(number.country_code, int(digits))
    is_mobile = phonenumbers.number_type(mobile) in _MOBILE
    return mobile if is_mobile else number


def _e164(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)
