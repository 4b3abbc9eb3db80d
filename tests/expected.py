"""What the oracle knows of a message, and says of a turn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from relevo.messages import Author, Fate
from relevo.turns import Outcome, RecallReason, RecallStatus, Rules, Verdict
from tests.facts import Said

TELLABLE = {Author.CUSTOMER, Author.AGENT, Author.AUTOMATION}
TOLD_LATER = ("context", "held", "failed")
"""How a message waits that is told with the next answer, and not answered."""

FATES = {
    Outcome.ANSWERED: Fate.ANSWERED,
    Outcome.ANSWERED_BY_HUMAN: Fate.ANSWERED_BY_HUMAN,
    Outcome.HELD: Fate.HELD,
    Outcome.NO_REPLY: Fate.NO_REPLY,
    Outcome.REFUSED: Fate.REFUSED,
    Outcome.FAILED: Fate.DEAD,
}


class WrongError(AssertionError):
    """The world did what no rule allows, or did not do what one asks for."""


@dataclass(slots=True)
class Known:
    """A message we have, and how it stands."""

    said: Said
    received_at: datetime
    by_webhook: bool
    waits: str | None
    """unread, failed, context, held, asked, due; None: told, or never to be."""
    fate: Fate | None = None
    accepted: bool = False
    through_us: bool = False
    """A person wrote it through us, for then and there."""
    answers: bool = True
    """Rule 9 counts it, if an agent's: it was not written before its time, and has not failed."""
    edits: int | None = None
    """The number of the message that this is the new text of."""
    edited_at: datetime | None = None
    revoked: bool = False
    counted: bool = False
    """A colleague's, and a turn has ended or was answered since."""

    @property
    def event_at(self) -> datetime:
        return self.said.event_at

    @property
    def written_at(self) -> datetime:
        return self.received_at if self.through_us else self.said.event_at

    @property
    def asks(self) -> bool:
        """Tell a person's request from what anybody said."""
        return self.said.author is Author.SYSTEM


@dataclass(slots=True, kw_only=True)
class Leaving:
    """What should be sent, and how far it came."""

    parts: int = 0
    accepted: int = 0
    not_sent: int = 0
    outcome: Outcome | None = None


@dataclass(slots=True)
class Errand(Leaving):
    """A send that answers nobody."""

    message: Known


@dataclass(slots=True)
class Expected(Leaving):
    """What a turn should be."""

    own: list[Known]
    previous_customer_at: datetime | None
    previous_assistant_at: datetime | None
    verdict: Verdict
    silence_seconds: float | None
    reasons: list[RecallReason]
    opened_at: datetime
    since: datetime | None
    recall_ends_at: datetime | None
    recall: RecallStatus = RecallStatus.NOT_NEEDED
    looked_at: datetime | None = None
    missed: list[Known] = field(default_factory=list)
    failing: bool = False
    refused: bool = False
    answered_at: datetime | None = None
    stage: str = "recalling"

    @property
    def customers(self) -> list[Known]:
        return [k for k in self.own if not k.asks]


@dataclass(slots=True)
class Messages:
    """Everything that is known, and how the rules sort it."""

    rules: Rules
    chat: Sequence[Said]
    new_contact: bool = False
    known: dict[int, Known] = field(default_factory=dict)
    told_to: datetime | None = None
    open: Expected | None = None
    now: datetime | None = None

    def _waiting(self, *why: str) -> list[Known]:
        found = [k for k in self.known.values() if k.waits in why]
        in_turn = self.open.own if self.open is not None else []
        return sorted((k for k in found if k not in in_turn), key=lambda k: k.event_at)

    def _keep(self, author: Author, text: str, at: datetime, waits: str) -> Known:
        """Keep a message of our own making."""
        number = -len(self.known) - 1
        said = Said(number, author, at, text)
        kept = self.known[number] = Known(said, at, by_webhook=False, waits=waits)
        return kept

    def _judge_lateness(self, k: Known) -> None:
        late = (k.received_at - k.event_at).total_seconds() > self.rules.late_answer_seconds
        if late and self.told_to is not None and k.event_at < self.told_to:
            k.waits, k.fate = "context", Fate.CONTEXT

    def _make_context(self, messages: Iterable[Known]) -> None:
        for k in messages:
            k.waits, k.fate = "context", Fate.CONTEXT

    def _found(self, shown: Iterable[Said], at: datetime) -> Iterable[Known]:
        """Keep what only the history knew."""
        for said in shown:
            if said.number not in self.known:
                tellable = said.timed and said.author in TELLABLE
                k = Known(said, at, by_webhook=False, waits="context" if tellable else None)
                k.fate = Fate.CONTEXT if said.author is Author.CUSTOMER else None
                self.known[said.number] = k
                yield k

    def _is_late(self, now: datetime, seen_to: datetime | None) -> bool:
        assert seen_to is not None
        return (now - seen_to).total_seconds() > self.rules.gap_seconds


def later(*instants: datetime | None) -> datetime | None:
    return max((i for i in instants if i is not None), default=None)
