"""What people do in a chat, as the oracle understands it (rules 9 and 10).

They write to the customer, take the chat, give it back, ask for an answer, or have something said.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relevo.messages import Author, Fate, Source
from tests.expected import Known, Messages, later
from tests.facts import GivenBack, Held, Queued, Requested


@dataclass(slots=True)
class Parted:
    """Messages by what people did after them. A request goes where its messages go."""

    followed: list[Known] = field(default_factory=list)
    held: list[Known] = field(default_factory=list)
    unanswered: list[Known] = field(default_factory=list)


@dataclass(slots=True)
class People(Messages):
    hold_until: datetime | None = None
    released_at: datetime | None = None

    def _held(self, fact: Held) -> None:
        self.hold_until = fact.until

    def _given_back(self, fact: GivenBack | Requested) -> None:
        if self.hold_until is not None:
            self.hold_until = min(self.hold_until, fact.at)
        self.released_at = fact.at

    def _requested(self, fact: Requested) -> None:
        self._given_back(fact)
        self._keep(Author.SYSTEM, "answer", fact.at, "asked")

    def _queued(self, fact: Queued) -> None:
        kept = self._keep(fact.author, fact.text, fact.at, "due")
        kept.answers = kept.through_us = fact.source is Source.API

    def _wanting(self) -> list[Known]:
        """Return what a turn that opened now would be about, but for what a failed one left."""
        if self._waiting("asked"):
            return self._waiting("unread", "asked", "held", "failed")
        return self._waiting("unread")

    def _parted(self, messages: Iterable[Known]) -> Parted:
        """Rule 9: a colleague's message, however known, answers what is earlier; else holds count.

        Who writes through us answers whatever had come by then. What a person wants to have
        answered counts as received when it was wanted, and a colleague's message before that
        answers nothing.
        """
        messages = list(messages)
        requests = [k for k in messages if k.asks]
        agents = self._after(requests)
        answered_to = later(*(k.written_at for k in agents))
        held_to = self._held_to()
        parted = Parted()
        for k in messages:
            received_at = max(m.received_at for m in (k, *requests))
            if k.asks:
                continue
            read = any(a.through_us and self._came_before(k, a) for a in agents)
            if read or (answered_to is not None and k.event_at < answered_to):
                parted.followed.append(k)
            elif held_to is not None and received_at < held_to:
                parted.held.append(k)
            else:
                parted.unanswered.append(k)
        (parted.unanswered or parted.followed or parted.held).extend(requests)
        return parted

    def _after(self, requests: list[Known]) -> list[Known]:
        """Return the colleagues' messages that count: those after a request, if there is one.

        What a webhook had brought by then was written before it, whatever the clocks say.
        """
        if not requests:
            return self._agents()
        came = list(self.known.values())
        newest = max(requests, key=came.index)
        return [
            k
            for k in self._agents()
            if (k.through_us or k.event_at > newest.event_at)
            and not k.revoked
            and (not (k.by_webhook or k.through_us) or came.index(k) > came.index(newest))
        ]

    def _came_before(self, one: Known, other: Known) -> bool:
        if one.received_at != other.received_at:
            return one.received_at < other.received_at
        came = list(self.known.values())
        return came.index(one) < came.index(other)

    def _agents(self) -> list[Known]:
        """Return what answers customers: an edit does not, nor what was taken back in time."""
        written = [k for k in self.known.values() if k.said.author is Author.AGENT and k.said.timed]
        answers = [k for k in written if k.answers and k.edits is None]
        return [k for k in answers if k.counted or not k.revoked]

    def _count_agents(self) -> None:
        """A mark has moved to what colleagues had written by then."""
        for k in self._agents():
            k.counted = True

    def _held_to(self) -> datetime | None:
        """Rule 10: by a person's word, or for a while after a colleague's message."""
        wrote_at = later(*(k.written_at for k in self._agents()))
        if wrote_at is None or not self.rules.human_hold_seconds:
            return self.hold_until
        silent_to = wrote_at + timedelta(seconds=self.rules.human_hold_seconds)
        if self.released_at is not None and self.released_at > wrote_at:
            silent_to = min(silent_to, self.released_at)
        return later(self.hold_until, silent_to)

    def _hold(self, messages: Iterable[Known]) -> None:
        for k in messages:
            k.waits, k.fate = "held", Fate.HELD

    def _hold_what_came(self) -> None:
        """Rule 10: what comes while a human has the chat is held, and opens no turn."""
        self._hold(self._parted(self._waiting("unread")).held)
