"""What must come of a history, by the rules of the design and from nothing else.

Written from the rules (their numbers stand beside what obeys them), not from the code: no module
that decides anything is imported here. The oracle is told what really happened, and knows what the
core has to infer: which deliveries are one message, and everything that the provider's history
holds. It works with plain records that change, and says of every turn what it should have been.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relevo.messages import Author, Fate
from relevo.turns import Outcome, RecallReason, RecallStatus, Verdict
from tests.expected import TELLABLE, TOLD_LATER, Expected, Known, WrongError, later
from tests.facts import (
    Acted,
    Answered,
    Asked,
    Crashed,
    Delivered,
    Edited,
    Ended,
    Fact,
    Failing,
    GivenBack,
    Held,
    LookedFor,
    Looking,
    PartAccepted,
    PartFailed,
    Queued,
    Recalled,
    Requested,
    Restarted,
    Revoked,
    Said,
    Seen,
)
from tests.oracle_changes import Changes

OVERLAP = timedelta(seconds=120)


@dataclass(slots=True)
class Oracle(Changes):
    turns: list[Expected] = field(default_factory=list)
    last_customer_at: datetime | None = None
    known_to: datetime | None = None
    up: bool = True
    since_at: datetime | None = None  # nothing has kept a due burst from closing since then

    def run(self, facts: Iterable[Fact]) -> "Oracle":
        for fact in facts:
            self._nothing_is_overdue(fact.at)
            self.now = fact.at
            self._apply(fact)
            self.since_at = fact.at
        return self

    @property
    def fates(self) -> dict[str, Fate | None]:
        """Return the fate of every customer message that was accepted from a webhook."""
        return {k.said.body: k.fate for k in self.known.values() if k.accepted}

    @property
    def untold(self) -> dict[str, str]:
        """Return how everything waits that the AI was not told."""
        return {k.said.body: k.waits for k in self.known.values() if k.waits is not None}

    def _apply(self, fact: Fact) -> None:
        handlers: dict[type, Callable[..., None]] = {
            Delivered: self._delivered,
            Edited: self._edited,
            Revoked: self._revoked,
            Held: self._held,
            GivenBack: self._given_back,
            Requested: self._requested,
            Queued: self._queued,
            Seen: self._seen,
            Acted: self._acted,
            Looking: self._looking,
            Recalled: self._recalled,
            Asked: self._asked,
            Failing: self._failing,
            Answered: self._answered,
            PartAccepted: self._accepted,
            LookedFor: self._looked_for,
            PartFailed: self._refused,
            Ended: self._ended,
            Crashed: self._crashed,
            Restarted: self._restarted,
        }
        handlers[type(fact)](fact)

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

    # Rules 2 to 4: a burst closes, is judged, and may need a recall.

    def _due_at(self) -> datetime | None:
        """Return when the machine has to act by itself, as far as a rule says."""
        if self.open is not None:
            return self.open.recall_ends_at if self.open.stage == "recalling" else None
        if self.errand is not None:
            return None
        if due := self._waiting("due"):
            return due[0].received_at
        unread = self._waiting("unread", "asked")
        arrivals = [k.received_at for k in self._parted(self._wanting()).unanswered]
        if not arrivals or self._waiting("asked"):
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
        elif self._waiting("due"):
            self._begin_errand()
        else:
            self._close(now)

    def _close(self, now: datetime) -> None:
        wanting = self._wanting()
        whole = not any(not k.asks for k in self._parted(wanting).unanswered)
        failed = [k for k in self._waiting("failed") if k not in wanting]
        parted = self._parted([*wanting, *failed])
        own = parted.followed if whole else parted.unanswered
        if not any(not k.asks for k in own):
            # Rule 10: what is held opens no turn; who wanted an answer to it was heard.
            self._hold(k for k in parted.held if not k.asks)
            for k in self._waiting("asked"):
                k.waits = None
            return
        turn = self.open = self._judged(own, now)
        self.turns.append(turn)
        self._count_agents()
        delivered = [k.event_at for k in own if k.by_webhook]
        self.last_customer_at = later(self.last_customer_at, *delivered)
        if whole:
            self._end(Outcome.ANSWERED_BY_HUMAN)
            return
        self._make_context(parted.followed)
        if not turn.reasons:
            self._start()

    def _judged(self, own: list[Known], now: datetime) -> Expected:
        opened_at = min(k.event_at for k in own if not k.asks)
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
        self._hold_what_came()
        parted = self._parted(turn.own)
        if not parted.unanswered:
            self._leave_to_people(parted)
            return
        turn.own = sorted(parted.unanswered, key=lambda k: k.event_at)
        self._make_context(parted.followed)
        self._hold(parted.held)
        turn.stage = "answering"
        turn.missed = [
            k for k in self._waiting(*TOLD_LATER) if k.said.timed and k.said.author in TELLABLE
        ]

    def _asked(self, fact: Asked) -> None:
        """Rule 4: late answers look again, before a wait is over; a try may take its time.

        Rule 7: what was missed is told, then the turn's own; a request is nothing to tell.
        """
        turn = self._turn
        told = tuple(k.said.body for k in (*turn.missed, *turn.customers))
        if fact.told != told:
            raise WrongError(f"the AI was told {fact.told}, not {told}")
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
        self._count_agents()
        for k in turn.own:
            k.waits = None
        told = [k for k in turn.missed if k.waits in TOLD_LATER]
        for k in told:
            k.waits = None
        self.told_to = later(self.told_to, *(k.event_at for k in (*turn.customers, *told)))
        for k in self._waiting("unread"):
            self._judge_lateness(k)
        turn.stage, turn.parts = "sending", fact.parts
        if not fact.parts:
            self._end(Outcome.NO_REPLY)

    def _restarted(self, fact: Restarted) -> None:
        self.up = True
        turn = self.open
        if turn is not None and turn.stage == "recalling":
            timeout = timedelta(seconds=self.rules.recall_timeout_seconds)
            turn.recall_ends_at = fact.at + timeout
        if turn is not None and turn.stage == "answering":
            turn.failing = True
