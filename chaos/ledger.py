"""The books of a story, and what is wrong with them. Pure; knows nothing of how Relevo works.

Every message of a customer is a token of its own, and the AI answers a turn by repeating the tokens
it was asked about. So a reply says itself which messages it answers.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from math import inf

TOKEN = re.compile(r"\bc\d+-\d+\b")
PART = re.compile(r"^(answer|rest of answer) (\d+)\b")

ANSWERED = "answered"
TOLD = "told"
"""The history brought it before its webhook did, and the AI was told it with an older turn."""
WITH_A_HUMAN = frozenset({ANSWERED, "answered_by_human", "context"})
"""Fates that a message may have in the end where a colleague has written too."""


@dataclass(slots=True)
class Letter:
    """A customer's message. The times are monotonic seconds of who plays the provider."""

    token: str
    phone: str
    said_at: datetime
    """By the customer's own clock."""
    posted_at: float = inf
    accepted_at: float = inf
    """When it was first answered 200."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider took for a customer, in its order."""

    phone: str
    text: str

    @property
    def tokens(self) -> list[str]:
        """Return the messages that this answers."""
        return TOKEN.findall(self.text)


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found; all of it must be empty."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Tell whether nothing is lost, doubled or out of order."""
        return not (self.lost or self.doubled or self.disordered)


def examine(
    letters: Iterable[Letter],
    replies: Sequence[Reply],
    fates: Mapping[str, str],
    with_agents: frozenset[str] = frozenset(),
    blind: frozenset[str] = frozenset(),
) -> Findings:
    """Compare what was said with what was answered.

    `fates` are the database's, by token; `with_agents` are phones that a colleague wrote to. A text
    that comes twice is wrong also where a doubt was its reason, for this provider's history is
    whole; but for the `blind`, sent again because nobody could be asked for too long.
    """
    letters = list(letters)
    answered = replies_of(replies)
    copies = Counter((reply.phone, reply.text) for reply in replies)
    return Findings(
        lost=[m.token for m in letters if _is_lost(m, answered, fates, with_agents)],
        doubled=[
            *(text for (_, text), count in copies.items() if count > 1 + (text in blind)),
            *(token for token, texts in answered.items() if len(texts) > 1),
        ],
        disordered=[*_overtaken(letters, replies), *_parts_in_disorder(replies)],
    )


def replies_of(replies: Iterable[Reply]) -> dict[str, set[str]]:
    """Return the different texts that answer each message."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for reply in replies:
        for token in reply.tokens:
            found[token].add(reply.text)
    return found


def _is_lost(
    letter: Letter,
    answered: Mapping[str, set[str]],
    fates: Mapping[str, str],
    with_agents: frozenset[str],
) -> bool:
    """Tell whether an accepted message was neither answered nor left to a colleague."""
    if letter.accepted_at == inf:
        return False  # nobody has promised anything
    fate = fates.get(letter.token)
    if fate == TOLD:
        return False
    if fate == ANSWERED or letter.phone not in with_agents:
        return fate != ANSWERED or letter.token not in answered
    return fate not in WITH_A_HUMAN


def _overtaken(letters: Iterable[Letter], replies: Sequence[Reply]) -> list[str]:
    """Return the messages answered before an older one, accepted before they were posted."""
    place: dict[str, tuple[int, int]] = {}
    for number, reply in enumerate(replies):
        for within, token in enumerate(reply.tokens):
            place.setdefault(token, (number, within))
    by_phone: defaultdict[str, list[Letter]] = defaultdict(list)
    for letter in letters:
        if letter.token in place:
            by_phone[letter.phone].append(letter)
    return [
        later.token
        for own in by_phone.values()
        for earlier, later in combinations(sorted(own, key=lambda m: m.posted_at), 2)
        if earlier.accepted_at <= later.posted_at
        and earlier.said_at <= later.said_at
        and place[earlier.token] > place[later.token]
    ]


def _parts_in_disorder(replies: Sequence[Reply]) -> list[str]:
    """Return the second parts that came without, or before, their first."""
    begun: set[str] = set()
    wrong = []
    for reply in replies:
        found = PART.match(reply.text)
        if found is None or (found[1] != "answer" and found[2] not in begun):
            wrong.append(reply.text[:40])
        else:
            begun.add(found[2])
    return wrong
