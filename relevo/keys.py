"""Keys of the API: what they read like, and what they allow. Pure; chance is an argument.

A key is `rlv_` and its public id, `_` and its secret, both of base62. The id says which key it is,
in lists and in logs; the secret is 32 random bytes, of which only a hash of the whole key is ever
kept. A fast hash is enough: what has 256 bits of chance in it cannot be tried out.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum

PREFIX = "rlv"
ID_BYTES = 9
SECRET_BYTES = 32
CHANCE_BYTES = ID_BYTES + SECRET_BYTES
"""How much chance a key is made of."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARACTERS = 13
_SECRET_CHARACTERS = 43
"""As many digits of base 62 as these bytes may need; fewer are filled up."""
_KEY = re.compile(
    rf"{PREFIX}_([0-9A-Za-z]{{{_ID_CHARACTERS}}})_[0-9A-Za-z]{{{_SECRET_CHARACTERS}}}"
)


class Scope(StrEnum):
    """What a key may do. None includes another."""

    READ = "read"
    """See conversations, threads and turns."""
    SEND = "send"
    """Have messages sent, and cancel them."""
    MANAGE = "manage"
    """Hold, resume, answer now, tag, close, reopen, link."""
    OPERATE = "operate"
    """Dead letters and the quarantine."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever calls the API: a business, by one of its keys."""

    business_id: str
    key_id: str
    scopes: frozenset[Scope]


def made_of(chance: bytes) -> tuple[str, str]:
    """Return a new key's public id and its whole text, made of `CHANCE_BYTES` random bytes."""
    assert len(chance) == CHANCE_BYTES
    key_id = _base62(chance[:ID_BYTES], _ID_CHARACTERS)
    return key_id, f"{PREFIX}_{key_id}_{_base62(chance[ID_BYTES:], _SECRET_CHARACTERS)}"


def id_of(text: str) -> str | None:
    """Return the public id that a key's text names; None: this is no key."""
    read = _KEY.fullmatch(text)
    return None if read is None else read[1]


def hash_of(text: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(text.encode()).digest()


def is_key(text: str, kept: bytes) -> bool:
    """Tell whether this is the key of which that is kept, and nothing by the time it takes."""
    return hmac.compare_digest(hash_of(text), kept)


def _base62(number: bytes, characters: int) -> str:
    left, digits = int.from_bytes(number), ""
    while left:
        left, digit = divmod(left, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits.rjust(characters, _DIGITS[0])
