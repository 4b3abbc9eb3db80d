"""What must come of a history, by the rules of the design and from nothing else.

Written from the rules (their numbers stand beside what obeys them), not from the code: no module
that decides anything is imported here. The oracle is told what really happened, and knows what the
core has to infer: which deliveries are one message, and everything that the provider's history
holds. It works with plain records that change, and says of every turn what it should have been.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relevo.events import SendFailure
from relevo.messages import Author, Fate
from relevo.turns import Outcome, RecallReason, RecallStatus, Verdict
from tests.expected import FATES, TELLABLE, Expected, Known, Messages, WrongError, later
from tests.facts import (
    Acted,
    Answered,
    Asked,
    Crashed,
    Delivered,
    Ended,
    Fact,
    Failing,
    LookedFor,
    Looking,
    PartAccepted,
    PartFailed,
    Recalled,
    Restarted,
    Said,
)

OVERLAP = timedelta(seconds=120)
NOT_SENT_MAX = 4


@dataclass(slots=True)
class Oracle(Messages):
    turns: list[Expected] = field(default_factory=list)
    last_customer_at: datetime | None = None
    last_assistant_at: datetime | None = None
    known_to: datetime | None = None
    owed_since: datetime | None = None
    up: bool = True
    since_at: datetime | None = None  # nothing has kept a due burst from closing since then

    def run(self, facts: Iterable[Fact]) -> "Oracle":
        for fact in facts:
            self._nothing_is_overdue(fact.at)
            self._apply(fact)
            self.since_at = fact.at
        return self

    @property
    def fates(self) -> dict[str, Fate | None]:
        """Return the fate of every customer message that was accepted from a webhook."""
        return {k.said.body: k.fate for k in self.known.values() if k.accepted}

    def _apply(self, fact: Fact) -> None:
        handlers: dict[type, Callable[..., None]] = {
            Delivered: self._delivered,
            Acted: self._acted,
            Looking: self._looking,
            Recalled: self._recalled,
            Asked: self._asked,
            Failing: self._failing,
            Answered: self._answered,
            PartAccepted: self._part,
            LookedFor: self._looked_for,
            PartFailed: self._part,
            Ended: self._ended,
            Crashed: self._crashed,
            Restarted: self._restarted,
        }
        handlers[type(fact)](fact)

    @property
    def _turn(self) -> Expected:
        if self.open is None:
            raise WrongError("a result without an open turn")
        return self.open

    # Rules 1, 5, 9 and 11: what arrives.

    def _delivered(self, fact: Delivered) -> None:
        said, at = fact.said, fact.at
        k = self.known.get(said.number)
        if k is None:
            k = self.known[said.number] = Known(said, at, by_webhook=True, waits="context")
            if said.author is Author.CUSTOMER:
                k.waits, k.fate, k.accepted = "unread", Fate.IN_FLIGHT, True
                self._judge_lateness(k)
        elif not k.by_webhook:
            self._seen_by_webhook_too(k, at)
        if said.author is Author.AGENT and self.up:
            self._colleague_came()

    def _seen_by_webhook_too(self, k: Known, at: datetime) -> None:
        """Rule 5: unread again if neither told nor joined; else nothing new."""
        joined = self.open is not None and k in self.open.own
        customer = k.said.author is Author.CUSTOMER
        revived = customer and k.waits == "context" and not joined
        if revived:
            k.waits, k.fate, k.received_at = "unread", Fate.IN_FLIGHT, at
            self._judge_lateness(k)
        if revived or not k.said.one_id:
            k.by_webhook = True
            k.accepted = customer

    def _colleague_came(self) -> None:
        turn = self.open
        if turn is not None and turn.stage != "sending" and not self._unanswered(turn.own):
            self._end(Outcome.ANSWERED_BY_HUMAN)

    # Rules 2 to 4: a burst closes, is judged, and may need a recall.

    def _due_at(self) -> datetime | None:
        """Return when the machine has to act by itself, as far as a rule says."""
        if self.open is not None:
            return self.open.recall_ends_at if self.open.stage == "recalling" else None
        unread = self._waiting("unread")
        arrivals = [k.received_at for k in self._unanswered(unread)]
        if not arrivals:
            return min((k.received_at for k in unread), default=None)
        quiet = max(arrivals) + timedelta(seconds=self.rules.quiet_seconds)
        return min(quiet, min(arrivals) + timedelta(seconds=self.rules.gather_max_seconds))

    def _nothing_is_overdue(self, now: datetime) -> None:
        due_at = self._due_at() if self.up else None
        if due_at is not None and self.since_at is not None and max(due_at, self.since_at) < now:
            raise WrongError(f"nothing was done at {due_at}")

    def _acted(self, fact: Acted) -> None:
        now, due_at = fact.at, self._due_at()
        if due_at is None:
            return
        if now < due_at:
            raise WrongError(f"acted at {now}, before {due_at}")
        if self.open is not None:
            self.open.looked_at = now
            self._recall_over(RecallStatus.FAILED)
        else:
            self._close(now)

    def _close(self, now: datetime) -> None:
        waiting = self._waiting("unread", "failed")
        unanswered = self._unanswered(waiting)
        whole = not any(k.waits == "unread" for k in unanswered)
        followed = [k for k in waiting if k not in unanswered]
        own = followed if whole else unanswered
        turn = self.open = self._judged(own, now)
        self.turns.append(turn)
        delivered = [k.event_at for k in own if k.by_webhook]
        self.last_customer_at = later(self.last_customer_at, *delivered)
        if whole:
            self._end(Outcome.ANSWERED_BY_HUMAN)
            return
        self._make_context(followed)
        if not turn.reasons:
            self._start()

    def _judged(self, own: list[Known], now: datetime) -> Expected:
        opened_at = min(k.event_at for k in own)
        silence = None
        verdict = Verdict.FIRST_CONTACT
        if self.last_customer_at is not None:
            silence = max(0.0, (opened_at - self.last_customer_at).total_seconds())
            verdict = Verdict.GAP if silence > self.rules.gap_seconds else Verdict.NONE
        turn = Expected(
            own,
            self.last_customer_at,
            self.last_assistant_at,
            verdict,
            silence,
            reasons=[],
            opened_at=opened_at,
            since=None,
            recall_ends_at=None,
        )
        look_back = self.rules.first_contact_lookback_seconds > 0 and not self.new_contact
        due = {
            RecallReason.GAP: verdict is Verdict.GAP,
            RecallReason.FIRST_CONTACT: verdict is Verdict.FIRST_CONTACT and look_back,
            RecallReason.LATE: (now - opened_at).total_seconds() > self.rules.gap_seconds,
            RecallReason.OWED: self.owed_since is not None,
        }
        turn.reasons = [reason for reason, so in due.items() if so]
        if turn.reasons:
            self._begin_recall(turn, now)
        return turn

    def _begin_recall(self, turn: Expected, now: datetime) -> None:
        turn.stage = "recalling"
        turn.recall = RecallStatus.NOT_NEEDED
        turn.recall_ends_at = now + timedelta(seconds=self.rules.recall_timeout_seconds)
        known = self.known_to or self.last_assistant_at
        look_back = timedelta(seconds=self.rules.first_contact_lookback_seconds)
        since = known - OVERLAP if known else turn.opened_at - max(look_back, OVERLAP)
        turn.since = min(since, self.owed_since) if self.owed_since else since

    def _recalled(self, fact: Recalled) -> None:
        """Rule 4: only a complete recall moves `known_to`. Rule 5: what is new is stored."""
        turn = self._turn
        if turn.stage != "recalling":
            raise WrongError("a recall that nobody needed")
        assert turn.since is not None
        shown: Iterable[Said] = fact.shown
        if fact.status is RecallStatus.COMPLETE:
            since, to = turn.since, fact.known_to
            shown = [s for s in self.chat if s.in_history and since <= s.event_at <= to]
            self.known_to = later(self.known_to, to)
        for k in self._found(shown, fact.at):
            if k.fate is not None and k.said.timed and k.event_at >= turn.opened_at:
                turn.own.append(k)
        turn.looked_at = fact.known_to
        self._recall_over(fact.status)

    def _looked_for(self, fact: LookedFor) -> None:
        tuple(self._found(fact.shown, fact.at))
        if fact.taken_at is not None:
            self._part(PartAccepted(fact.at, fact.taken_at))

    def _recall_over(self, status: RecallStatus) -> None:
        turn = self._turn
        turn.recall = status
        if status is RecallStatus.COMPLETE:
            self.owed_since = None
        elif status is not RecallStatus.UNAVAILABLE:
            self.owed_since = turn.since
        self._start()

    # Rules 6 and 7: what the AI is told.

    def _start(self) -> None:
        turn = self._turn
        unanswered = self._unanswered(turn.own)
        if not unanswered:
            self._end(Outcome.ANSWERED_BY_HUMAN)
            return
        followed = [k for k in turn.own if k not in unanswered]
        turn.own = sorted(unanswered, key=lambda k: k.event_at)
        self._make_context(followed)
        turn.stage = "answering"
        turn.missed = [
            k for k in self._waiting("context") if k.said.timed and k.said.author in TELLABLE
        ]

    def _asked(self, fact: Asked) -> None:
        """Rule 4: late answers look again, before a wait is over; a try may take its time."""
        turn = self._turn
        begun_at = fact.at - timedelta(seconds=self.rules.answer_timeout_seconds + 10)
        if self._is_late(begun_at, later(turn.opened_at, self.known_to, turn.looked_at)):
            raise WrongError("a late turn was answered without looking again")

    def _failing(self, fact: Failing) -> None:
        self._turn.failing = True
        self._turn.refused = fact.refused

    def _crashed(self, _: Crashed) -> None:
        self.up = False

    def _looking(self, fact: Looking) -> None:
        now, turn = fact.at, self._turn
        if turn.stage == "recalling":
            return
        if not self._is_late(now, later(turn.opened_at, self.known_to)):
            raise WrongError("the history was asked for no reason")
        turn.reasons = [*turn.reasons, RecallReason.LATE]
        self._begin_recall(turn, now)

    def _answered(self, fact: Answered) -> None:
        turn = self._turn
        for k in turn.own:
            k.waits = None
        told = [k for k in turn.missed if k.waits == "context"]
        for k in told:
            k.waits = None
        self.told_to = later(self.told_to, *(k.event_at for k in (*turn.own, *told)))
        for k in self._waiting("unread"):
            self._judge_lateness(k)
        turn.stage, turn.parts = "sending", fact.parts
        if not fact.parts:
            self._end(Outcome.NO_REPLY)

    # Rules 9, 12: how it ends.

    def _part(self, fact: PartAccepted | PartFailed) -> None:
        turn = self._turn
        if isinstance(fact, PartAccepted):
            turn.accepted += 1
            turn.not_sent = 0
            turn.answered_at = later(turn.answered_at, fact.taken_at)
            if turn.accepted == turn.parts or not self._unanswered(turn.own):
                self._end(Outcome.ANSWERED)
            return
        turn.not_sent += fact.failure is SendFailure.NOT_SENT
        over = fact.failure in {SendFailure.REFUSED, SendFailure.REJECTED, SendFailure.STOPPED}
        if over or turn.not_sent == NOT_SENT_MAX:
            refused = fact.failure is SendFailure.REFUSED
            unsent = Outcome.REFUSED if refused else Outcome.FAILED
            self._end(Outcome.ANSWERED if turn.accepted else unsent)

    def _ended(self, fact: Ended) -> None:
        """The turn's row has ended; if no fact so far says how, it was given up or withdrawn."""
        turn = self.open
        if turn is None:
            return
        if turn.stage == "answering":
            if not turn.failing:
                raise WrongError("a turn was given up although nothing failed")
            self._end(Outcome.FAILED)
        elif turn.stage != "sending":
            raise WrongError("a turn ended while its recall was under way")
        elif turn.accepted:
            self._end(Outcome.ANSWERED)
        elif fact.given_up:
            self._end(Outcome.FAILED)
        elif not self._unanswered(turn.own):
            self._end(Outcome.ANSWERED_BY_HUMAN)
        else:
            raise WrongError("a reply was withdrawn although nobody had answered")

    def _end(self, outcome: Outcome) -> None:
        turn = self._turn
        turn.outcome = outcome
        if turn.stage == "recalling" and turn.reasons and turn.recall is RecallStatus.NOT_NEEDED:
            self.owed_since = turn.since
        if outcome is Outcome.ANSWERED:
            self.last_assistant_at = later(self.last_assistant_at, turn.answered_at)
        for k in turn.own:
            k.fate = FATES[outcome]
            if outcome is Outcome.ANSWERED_BY_HUMAN:
                k.waits = "context"
            if outcome is Outcome.FAILED:
                # What the AI refused once more is not offered a third time.
                k.waits = None if turn.refused and k.waits == "failed" else "failed"
        self.open = None

    def _restarted(self, fact: Restarted) -> None:
        self.up = True
        self._colleague_came()
        turn = self.open
        if turn is not None and turn.stage == "recalling":
            timeout = timedelta(seconds=self.rules.recall_timeout_seconds)
            turn.recall_ends_at = fact.at + timeout
        if turn is not None and turn.stage == "answering":
            turn.failing = True
