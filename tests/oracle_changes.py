"""Edits and revocations, as the oracle understands them (rule 11)."""

from dataclasses import dataclass, replace

from relevo.messages import Author, Fate
from relevo.turns import Outcome
from tests.expected import Known
from tests.facts import Edited, Revoked, Said, Seen
from tests.oracle_endings import Endings


@dataclass(slots=True)
class Changes(Endings):
    def _seen(self, _: Seen) -> None:
        """Everything is read: what people did counts from now on."""
        self._drop_revoked()
        self._hold_what_came()
        turn = self.open
        if turn is not None and turn.stage != "sending":
            self._leave_to_people(self._parted(turn.own))

    def _versions(self, number: int) -> list[Known]:
        """Return what says a message: itself, and its edits."""
        return [self.known[number], *(k for k in self.known.values() if k.edits == number)]

    def _edited(self, fact: Edited) -> None:
        """What waits and is not being asked reads anew; else the new text is context."""
        k = self.known[fact.number]
        if k.revoked or (k.edited_at is not None and fact.event_at <= k.edited_at):
            return
        k.edited_at = fact.event_at
        asked = [*self.open.own, *self.open.missed] if self.open and fact.asking else []
        waiting = [v for v in self._versions(fact.number) if v.waits is not None and v not in asked]
        if waiting:
            waiting[-1].said = replace(waiting[-1].said, body=fact.text)
            return
        customer = k.said.author is Author.CUSTOMER
        author = Author.CUSTOMER if customer else Author.AGENT
        number = -len(self.known) - 1
        edit = Known(
            Said(number, author, fact.event_at, fact.text),
            fact.at,
            by_webhook=True,
            waits="context",
            fate=Fate.CONTEXT if customer else None,
            accepted=customer,
            edits=fact.number,
        )
        self.known[number] = edit

    def _revoked(self, fact: Revoked) -> None:
        for k in self._versions(fact.number):
            k.revoked = True

    def _drop_revoked(self) -> None:
        """What was revoked is told no more; with nothing left there is nobody to be answered."""
        gone = [k for k in self.known.values() if k.revoked and k.waits is not None]
        for k in gone:
            k.waits = None
            k.fate = Fate.REVOKED if k.said.author is Author.CUSTOMER else None
        turn = self.open
        if turn is None or turn.stage == "sending":
            return
        turn.own = [k for k in turn.own if k not in gone]
        turn.missed = [k for k in turn.missed if k not in gone]
        if not turn.customers:
            self._end(Outcome.NO_REPLY)
