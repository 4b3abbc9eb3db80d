"""What a step wants stored, and what is read back: the core's half of the store.

A `Writes` is one conversation's part of a transaction: conditional on its version, all or nothing.
"""

from dataclasses import dataclass
from typing import Self

from relevo.messages import Fate, Message, Untold
from relevo.turns import Conversation, Part, Turn


@dataclass(frozen=True, slots=True)
class Absorbed:
    """Two rows were one message: `duplicate` goes, its keys stay with `kept`.

    `by_webhook`: the duplicate came by webhook, so the kept row has now been seen by one too.
    """

    duplicate: int
    kept: int
    by_webhook: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A turn that was given up, with the reason a person reads."""

    turn_id: int
    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class Writes:
    """One step's part of a commit.

    `conversation` carries the expected version and the new marks; the row gets `version + 1`.
    A `recalled` message whose key turns out to be stored already makes the whole step a lost race.
    """

    conversation: Conversation
    turn: Turn | None = None
    recalled: tuple[Message, ...] = ()
    """New rows from history; their `untold` says whether they wait to be told."""
    parts: tuple[Part, ...] = ()
    """Outbox rows to insert or replace."""
    answers: bool = False
    """These parts are new: each becomes a message of the thread too, known by its correlation."""
    fates: tuple[tuple[int, Fate], ...] = ()
    untold: tuple[tuple[int, Untold], ...] = ()
    """Messages that now wait to be told, and why; replaces what was there."""
    told: tuple[int, ...] = ()
    """Messages that no longer wait."""
    keys: tuple[tuple[int, str], ...] = ()
    """Ids that a message was also seen under."""
    absorbed: tuple[Absorbed, ...] = ()
    dead_letter: DeadLetter | None = None
    supersedes: bool = False
    """This conversation has been answered: open dead letters are closed whose messages are not dead
    any more."""
    opens: bool = False
    """This is the first commit of `turn`: the one that closes its burst."""
    fallback_text: str = ""
    """What to say to the customer of a turn that failed: a message of ours, due at once."""
    matched: int = 0
    """History items of the recall that were messages we had already."""


class Unread(int):
    """How many rows of a conversation want a turn; `pressing` if one of them waits for no burst."""

    pressing: bool

    def __new__(cls, rows: int, *, pressing: bool = False) -> Self:
        """Count them."""
        self = super().__new__(cls, rows)
        self.pressing = pressing
        return self


@dataclass(frozen=True, slots=True)
class Rows:
    """A conversation as the store holds it, read in one snapshot.

    `untold` and `witnesses` as in `events.Looked`; `turn` is the open one; `parts` its outbox rows
    in order; `told` the turn's own messages once the answer is stored (they are needed again should
    its sending fail). Only `window` reads fill `Message.keys`.
    """

    conversation: Conversation
    tags: tuple[str, ...] = ()
    untold: tuple[Message, ...] = ()
    witnesses: tuple[Message, ...] = ()
    turn: Turn | None = None
    parts: tuple[Part, ...] = ()
    told: tuple[Message, ...] = ()
    fenced: bool = False
    """Another living process may still be acting on the open turn's effect."""
