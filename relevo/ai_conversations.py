"""The id of a conversation at the AI, as a type: whatever else is stored or sent, it is none.

A phone, another service's id or half a sentence in its place would mix up two customers' memories.
"""

import re
from typing import Final, Self

_ID: Final = re.compile(r"conv_[A-Za-z0-9_-]{1,200}")
_PREFIX: Final = "conv_"


class RefusedIdError(ValueError):
    """This is no id of an AI conversation; the text is a word for why, and nothing of the id."""


class AiConversation(str):
    """An id like `conv_68f0…`; making one of anything else raises RefusedIdError."""

    __slots__ = ()

    def __new__(cls, given: object) -> Self:
        """Check and take it."""
        if not isinstance(given, str):
            raise RefusedIdError("missing" if given is None else "not_text")
        if not given.startswith(_PREFIX):
            raise RefusedIdError("wrong_prefix" if given else "missing")
        if _ID.fullmatch(given) is None:
            raise RefusedIdError("wrong_characters")
        return super().__new__(cls, given)
