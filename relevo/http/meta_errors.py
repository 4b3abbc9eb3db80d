"""What an error code of Meta means for a send: whether, when and to whom it may be tried again.

Every provider of WhatsApp passes these codes on in a form of its own. Sources: Meta's reference of
Cloud API errors and its throughput limits; a code that is not here means nothing to us.
"""

import re
from dataclasses import dataclass

from relevo.events import SendFailure
from relevo.http.fields import word_of

OPEN = SendFailure.UNKNOWN
LATER = SendFailure.NOT_SENT
PACE = SendFailure.RATE_LIMITED
STOP = SendFailure.STOPPED
REFUSE = SendFailure.REFUSED
REJECT = SendFailure.REJECTED


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Why a send failed: what that means for it, a word for it, and how long it lasts."""

    failure: SendFailure
    word: str
    pause_seconds: float | None = None
    """With RATE_LIMITED: how long to wait where the provider does not say, if that is known."""
    pair: bool = False
    """A limit between the line and this one customer: nobody else has to wait."""


_CLASSES: tuple[tuple[FailureKind, tuple[int, ...]], ...] = (
    (FailureKind(OPEN, "meta_unavailable"), (1, 2, 131000, 131016)),
    (FailureKind(LATER, "meta_maintenance"), (131057, 133004)),
    (FailureKind(PACE, "account_rate", pause_seconds=60), (4, 80007)),
    (FailureKind(PACE, "line_rate"), (130429,)),
    # One message in 6 s; after a burst the debt is paid back at that rate.
    (FailureKind(PACE, "pair_rate", pause_seconds=6, pair=True), (131056,)),
    (FailureKind(STOP, "unauthorized"), (0, 190)),
    (FailureKind(STOP, "no_permission"), (3, 10, *range(200, 300), 131005)),
    (FailureKind(STOP, "account_blocked"), (368, 131031)),
    (FailureKind(STOP, "account_payment"), (131042,)),
    (FailureKind(STOP, "line_unregistered"), (131045, 133010)),
    (FailureKind(REFUSE, "window_closed"), (131047,)),
    (FailureKind(REFUSE, "undeliverable"), (131026,)),
    (FailureKind(REFUSE, "spam_limit"), (131048,)),
    (FailureKind(REFUSE, "marketing_limit"), (131049, 131050, 130472)),
    (FailureKind(REFUSE, "not_allowed"), (131030, 130497)),
    (FailureKind(REFUSE, "bsuid_not_taken"), (131062,)),
    (FailureKind(REJECT, "bad_request"), (100, 131008, 131009, 131051, 131052, 131053)),
)

META_ERRORS = {code: kind for kind, codes in _CLASSES for code in codes}
UNCLASSIFIED = FailureKind(REJECT, "unclassified")
"""A failure that names no code we know."""

META_WORDS = (*dict.fromkeys(kind.word for kind, _ in _CLASSES), UNCLASSIFIED.word)

PROPER_FROM = 1000
"""Smaller codes are Meta's only where nothing else can be meant: HTTP's, and those of providers, go
by the same numbers."""

_IN_TEXT = re.compile(r"\(#([0-9]{1,6})\)|(?<![0-9])(80007|13[0-9]{4})(?![0-9])")


def by_code(value: object) -> FailureKind | None:
    """Return what a code means, given as a number or its digits; None: it is none of Meta's."""
    word = word_of(value)
    return META_ERRORS.get(int(word)) if word.isascii() and word.isdigit() else None


def by_text(text: str) -> FailureKind | None:
    """Return what the first of Meta's codes in a text means: "(#131047) …", or a long one alone."""
    kinds = (by_code(found[1] or found[2]) for found in _IN_TEXT.finditer(text))
    return next((kind for kind in kinds if kind is not None), None)
