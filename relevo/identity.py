"""Who a customer is: the same person under however many spellings of an address.

Rules:

* A normalised phone is E.164 with its plus. Normalising twice changes nothing.
* A spelling counts only if its E.164 reads back as itself (noughts too many do not).
* Digits without a plus are read both ways. Providers write international numbers without it, people
  write national ones: a reading that is a number in service somewhere wins over one that only has a
  possible length, and at equal standing the international reading wins.
* What cannot be read as a phone is kept without its separators. It never meets a good phone: that
  one is E.164, and E.164 can be read.

The tables of phone numbers are those of the phonenumbers library; the core has no other dependency.
"""

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, ValidationResult

from relevo.messages import Address

PHONE = "phone"

_PHONES_REMEMBERED_MAX = 50_000  # about 15 MB; a busy business writes with fewer people a day
_VALUE_CHARACTERS_MAX = 40  # a phone has at most 15 digits; the rest is room for separators
_SEPARATORS = re.compile(r"[\s().\-]")
_DIGITS = re.compile(r"\+?\d+")


def canonical_key(business_id: str, addresses: tuple[Address, ...], region: str) -> str:
    """Return the key under which a business knows this person, the same for every spelling.

    `addresses` has at least one entry; the first phone that can be read is the key, else the first
    address as it stands.
    """
    for address in addresses:
        if address.kind == PHONE and (e164 := phone(address.value, region)) is not None:
            return f"{PHONE}:{business_id}:{e164}"
    first = normalised(addresses[0], region)
    return f"{first.kind}:{business_id}:{first.value}"


def normalised(address: Address, region: str) -> Address:
    """Return the address in its one spelling. Other kinds than phones stay as they are."""
    if address.kind != PHONE:
        return address
    return Address(PHONE, phone(address.value, region) or _bare(address.value) or address.value)


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
        number = phonenumbers.parse(text, region)
        again = phonenumbers.parse(_e164(number))
    except NumberParseException:
        return None
    length = phonenumbers.is_possible_number_with_reason(number)
    return number if length == ValidationResult.IS_POSSIBLE and again == number else None


def _e164(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)
