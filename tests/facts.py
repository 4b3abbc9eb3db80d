"""What really happened in a simulated world: the oracle's only source."""

from dataclasses import dataclass
from datetime import datetime

from relevo.events import SendFailure
from relevo.messages import Author, Source
from relevo.turns import RecallStatus


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a chat, whoever saw it. `one_id`: webhook and history give it the same id."""

    number: int
    author: Author
    event_at: datetime
    body: str
    in_history: bool = True
    timed: bool = True
    one_id: bool = True


@dataclass(frozen=True, slots=True)
class Delivered:
    """A webhook brought it, for the first time or again."""

    at: datetime
    said: Said


@dataclass(frozen=True, slots=True)
class Edited:
    """Whoever wrote it says it anew. `asking`: the AI is being asked, or perhaps was, at this time.

    It was stored at `at`.
    """

    at: datetime
    number: int
    text: str
    event_at: datetime
    asking: bool


@dataclass(frozen=True, slots=True)
class Revoked:
    """Whoever wrote it has taken it back."""

    at: datetime
    number: int


@dataclass(frozen=True, slots=True)
class Held:
    """A person has taken the chat."""

    at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A person has given the chat back."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Requested:
    """A person wants an answer now; the chat is given back with it."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Queued:
    """This is to be said; what has the source `schedule` was written before its time."""

    at: datetime
    text: str
    author: Author
    source: Source


@dataclass(frozen=True, slots=True)
class Seen:
    """The machine has read all rows, and what it wrote about them is committed."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Acted:
    """The machine acted by itself: its timer was stepped, and what that wrote was committed."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Looking:
    """The provider's history is to be asked for a turn that is not answered yet."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Recalled:
    """The provider's history was read as it stood at `known_to`."""

    at: datetime
    known_to: datetime
    status: RecallStatus
    shown: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """The AI was asked, and told these messages."""

    at: datetime
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """The AI answered in so many parts."""

    at: datetime
    parts: int


@dataclass(frozen=True, slots=True)
class Failing:
    """The AI failed, or did not come back in time; `refused`: it will not answer this."""

    at: datetime
    refused: bool = False


@dataclass(frozen=True, slots=True)
class PartAccepted:
    """We learned that the provider took the next part."""

    at: datetime
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class LookedFor:
    """A part in doubt was looked for in the history; it showed this, and when it took the part."""

    at: datetime
    shown: tuple[Said, ...]
    taken_at: datetime | None


@dataclass(frozen=True, slots=True)
class PartFailed:
    """The provider said why it did not take it."""

    at: datetime
    failure: SendFailure


@dataclass(frozen=True, slots=True)
class Ended:
    """The open turn's row has an outcome. `given_up`: the outbox holds a dead part."""

    at: datetime
    given_up: bool
    late: bool = False


@dataclass(frozen=True, slots=True)
class Crashed:
    """The process died."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Restarted:
    """The process is back, and has read all rows."""

    at: datetime


Fact = (
    Delivered
    | Edited
    | Revoked
    | Held
    | GivenBack
    | Requested
    | Queued
    | Seen
    | Acted
    | Looking
    | Recalled
    | Asked
    | Answered
    | Failing
    | PartAccepted
    | LookedFor
    | PartFailed
    | Ended
    | Crashed
    | Restarted
)
