"""How turns end, and what is sent, as the oracle understands it (rules 0, 9, 12)."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from relevo.events import SendFailure
from relevo.messages import Author, Fate
from relevo.turns import Outcome, RecallStatus
from tests.expected import FATES, Errand, Expected, Leaving, WrongError, later
from tests.facts import Ended, LookedFor, PartAccepted, PartFailed
from tests.oracle_people import Parted, People

NOT_SENT_MAX = 4

WAITS = {
    Outcome.ANSWERED_BY_HUMAN: "context",
    Outcome.HELD: "held",
    Outcome.FAILED: "failed",
}
"""How the messages wait that a turn leaves untold."""


@dataclass(slots=True)
class Endings(People):
    errands: list[Errand] = field(default_factory=list)
    errand: Errand | None = None
    last_assistant_at: datetime | None = None
    owed_since: datetime | None = None

    @property
    def _turn(self) -> Expected:
        if self.open is None:
            raise WrongError("a result without an open turn")
        return self.open

    def _leave_to_people(self, parted: Parted) -> None:
        """Rule 9: end the open turn if nothing of it waits for us."""
        if not parted.unanswered:
            self._end(Outcome.HELD if parted.held else Outcome.ANSWERED_BY_HUMAN)
            if parted.held:
                self._make_context(k for k in parted.followed if not k.asks)

    # What is sent.

    def _begin_errand(self) -> None:
        message = self._waiting("due")[0]
        message.waits = "context"
        self.errand = Errand(message, parts=1)
        self.errands.append(self.errand)

    def _looked_for(self, fact: LookedFor) -> None:
        tuple(self._found(fact.shown, fact.at))
        self._hold_what_came()
        if fact.taken_at is not None:
            self._accepted(PartAccepted(fact.at, fact.taken_at))

    def _accepted(self, fact: PartAccepted) -> None:
        leaving = self._leaving
        leaving.accepted += 1
        leaving.not_sent = 0
        if isinstance(leaving, Errand):
            # The AI is told of it as of any automation, at the time when it left.
            leaving.message.said = replace(leaving.message.said, event_at=fact.taken_at)
            self._end_errand(leaving, Outcome.SENT)
            return
        turn = self._turn
        turn.answered_at = later(turn.answered_at, fact.taken_at)
        if turn.accepted == turn.parts or not self._parted(turn.own).unanswered:
            self._end(Outcome.ANSWERED)

    def _refused(self, fact: PartFailed) -> None:
        leaving = self._leaving
        leaving.not_sent += fact.failure is SendFailure.NOT_SENT
        over = fact.failure in {SendFailure.REFUSED, SendFailure.REJECTED, SendFailure.STOPPED}
        if over or leaving.not_sent == NOT_SENT_MAX:
            refused = fact.failure is SendFailure.REFUSED
            self._give_up(Outcome.REFUSED if refused else Outcome.FAILED)

    @property
    def _leaving(self) -> Leaving:
        return self.errand or self._turn

    def _give_up(self, unsent: Outcome) -> None:
        """A part will never be sent. What was sent before it still answers the turn."""
        leaving = self._leaving
        if isinstance(leaving, Errand):
            self._end_errand(leaving, unsent)
        else:
            self._end(Outcome.ANSWERED if leaving.accepted else unsent)

    def _end_errand(self, errand: Errand, outcome: Outcome) -> None:
        """What never left is told to nobody. No mark moves (rule 0)."""
        errand.outcome, self.errand = outcome, None
        self._count_agents()
        if outcome is not Outcome.SENT:
            errand.message.waits, errand.message.answers = None, False
            self._hold_what_came()  # what it answered nobody has answered

    def _is_apology(self, errand: Errand) -> bool:
        return errand.message.said.body == self.rules.fallback_text

    def _needless(self, errand: Errand) -> None:
        """What is said because a turn has failed is withdrawn once people have the chat."""
        parted = self._parted([errand.message])
        if parted.unanswered:
            raise WrongError("an apology was withdrawn although nobody had the chat")
        self._end_errand(errand, Outcome.HELD if parted.held else Outcome.ANSWERED_BY_HUMAN)

    def _too_late(self, at: datetime) -> None:
        """What is to be said is stale when an answer would be; an apology also while it waits."""
        errand = self.errand
        late = timedelta(seconds=self.rules.late_answer_seconds)
        if errand is None or at < errand.message.received_at + late:
            raise WrongError("nothing was too late to be sent")
        self._end_errand(errand, Outcome.REFUSED)

    # How a turn ends.

    def _ended(self, fact: Ended) -> None:  # noqa: C901  (one case a reason)
        """The turn's row has ended; if no fact so far says how, it was given up or withdrawn."""
        if self.open is None and self.errand is None:
            return
        if self.errand is None and self._turn.stage == "answering":
            if not self._turn.failing:
                raise WrongError("a turn was given up although nothing failed")
            self._end(Outcome.FAILED)
        elif self.errand is None and self._turn.stage != "sending":
            raise WrongError("a turn ended while its recall was under way")
        elif fact.late:
            self._too_late(fact.at)
        elif fact.given_up or self._leaving.accepted:
            self._give_up(Outcome.FAILED)
        elif self.errand is not None and self._is_apology(self.errand):
            self._needless(self.errand)
        elif self.errand is not None or self._parted(self._turn.own).unanswered:
            raise WrongError("a message was withdrawn although nobody had answered")
        else:
            self._leave_to_people(self._parted(self._turn.own))

    def _end(self, outcome: Outcome) -> None:
        turn, self.open = self._turn, None
        turn.outcome = outcome
        self._count_agents()
        if turn.stage == "recalling" and turn.reasons and turn.recall is RecallStatus.NOT_NEEDED:
            self.owed_since = turn.since
        if outcome is Outcome.ANSWERED:
            self.last_assistant_at = later(self.last_assistant_at, turn.answered_at)
        if turn.refused and any(k.waits == "failed" for k in turn.own):
            for k in turn.missed:  # perhaps what the AI refuses is among these
                k.waits = k.waits if k.waits == "unread" else None
        for k in turn.own:
            # What the AI refused once more is not offered a third time; a request has been heard.
            over = k.asks or (turn.refused and k.waits == "failed")
            k.fate = FATES[outcome] if not k.asks else None
            k.waits = WAITS.get(outcome) if not over else None
            if k.revoked and k.waits is not None:
                k.fate, k.waits = Fate.REVOKED, None
        if outcome is Outcome.FAILED and turn.stage == "answering" and self.rules.fallback_text:
            assert self.now is not None
            self._keep(Author.AUTOMATION, self.rules.fallback_text, self.now, "due")
