"""What is planned for one customer of a simulated world: who writes, and what goes wrong."""

from dataclasses import dataclass
from enum import Enum, auto

from relevo.events import AnswerFailure, SendFailure
from relevo.messages import Author, Source
from relevo.turns import RecallStatus, Rules


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message, and after how many seconds webhooks bring it; none: only the history has it."""

    author: Author
    at_seconds: float
    delays: tuple[float, ...] = ()
    in_history: bool = True
    timed: bool = True
    one_id: bool = True
    changes: tuple[tuple[float, bool], ...] = ()
    """After how many seconds it is edited, or revoked (True)."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How the provider's history answers: what, and after how long (None: never)."""

    status: RecallStatus = RecallStatus.COMPLETE
    seconds: float | None = 1


@dataclass(frozen=True, slots=True)
class Thinking:
    """How the AI answers: parts of a reply, or a failure.

    `stored` tells the truth behind an unknown outcome, after `stored_seconds`.
    """

    parts: int = 1
    failure: AnswerFailure | None = None
    seconds: float | None = 1
    stored: bool = True
    stored_seconds: float = 1


@dataclass(frozen=True, slots=True)
class Taking:
    """How the provider takes a part; `arrives` tells the truth behind an unknown outcome."""

    failure: SendFailure | None = None
    arrives: bool = True
    named: bool = True
    seconds: float | None = 1
    echo_seconds: float | None = None


class Wish(Enum):
    """What a person may want of a conversation, besides writing in it."""

    HOLD = auto()
    GIVE_BACK = auto()
    ANSWER = auto()
    WRITE = auto()
    """Say something now, as a colleague."""
    WRITE_AHEAD = auto()
    """Have said now what a colleague wrote before."""
    SAY = auto()
    """Have an automation say something now."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What a person does; a hold lasts so long, or until the chat is given back (None)."""

    wish: Wish
    hold_seconds: float | None = None

    @property
    def author(self) -> Author:
        """Who says it."""
        return Author.AUTOMATION if self.wish is Wish.SAY else Author.AGENT

    @property
    def source(self) -> Source:
        """How it comes to be said."""
        return Source.API if self.wish is Wish.WRITE else Source.SCHEDULE


@dataclass(frozen=True, slots=True)
class History:
    """Everything that happens to one customer; each list is used in its order, then its default."""

    rules: Rules
    arrivals: tuple[Arrival, ...]
    recalls: tuple[Asking, ...] = ()
    ensures: tuple[Thinking, ...] = ()
    thoughts: tuple[Thinking, ...] = ()
    sends: tuple[Taking, ...] = ()
    crashes: tuple[tuple[float, float], ...] = ()
    """When the process dies, and for how many seconds."""
    crashing_commits: tuple[tuple[int, bool], ...] = ()
    """Commits by number that the process dies at: before them, or right after (True)."""
    slips: tuple[int, ...] = ()
    """Commits by number that an agent's webhook slips in before."""
    returns: tuple[int, ...] = ()
    """Commits by number that a webhook slips in before, for what only the history knew."""
    slipping_changes: tuple[tuple[int, bool], ...] = ()
    """Commits by number that the newest message is edited, or revoked (True), right before."""
    deeds: tuple[tuple[float, Deed], ...] = ()
    """When people do what."""
    slipping_deeds: tuple[tuple[int, Deed], ...] = ()
    """Commits by number that people do something right before."""
    sweeps: tuple[float, ...] = ()
    new_contact: bool = False
