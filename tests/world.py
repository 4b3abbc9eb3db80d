"""A small world for the core: a provider, an AI, a process that dies, and virtual time.

`World(history).run()` plays a whole history through `step` and a `Book`, the way the customer actor
does: look after every delivery, commit before memory changes, start again from the rows when a
commit is lost, perform what the state wants. Nothing here decides what should come of it. Every
step is checked for what must hold at any time:

* the move is in the table; another step of the same event, and late results, change nothing;
* memory equals what the rows give back;
* every accepted message has exactly one fate, and no turn ever has a second reply.

What really happened is written down in `facts`, for the oracle.
"""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from relevo.conversation import resume, step
from relevo.effects import Ask, Effect, EffectKey, WakeAt
from relevo.events import Event, HistoryRecalled, Interrupted, Looked, TimerFired
from relevo.messages import Address, Author, InboundMessage, Source
from relevo.prompt import build
from relevo.states import (
    Sending,
    State,
    current_part,
    wanted,
)
from relevo.transitions import TRANSITIONS
from relevo.turns import Part, Turn
from relevo.writes import Rows, Writes
from tests import facts
from tests.chronicle import happened
from tests.facts import Fact, Said
from tests.fakes import people
from tests.fakes.book import Book
from tests.outside import DELIVERY, RESULT, TIMER, Outside, Timeline, answers
from tests.plans import Deed, History, Wish
from tests.second_thoughts import SecondThoughts

PHONE = "+50370000001"
ADDRESSES = (Address("phone", PHONE),)
START = datetime(2026, 3, 2, 10, tzinfo=UTC)
STEPS_MAX = 3_000
LOST_RACES_MAX = 20
AGES_AGO = START - timedelta(days=9)
FOR_GOOD = datetime(9999, 12, 31, tzinfo=UTC)


class Died(Exception):  # noqa: N818  (it is not an error)
    """The process is gone, in the middle of what it was doing."""


class World:
    def __init__(self, history: History) -> None:
        self.history = history
        self.book = Book()
        self.key = self.book.meet(PHONE, new_contact=history.new_contact)
        self.time = Timeline(START)
        self.outside = Outside(history, self.time, self.book, self.key, self._echo)
        self.facts: list[Fact] = []
        self._thoughts = SecondThoughts(self.time, self.book, self.key, self.facts, self._look)
        self.moves: set[tuple[str, str, str]] = set()
        self.bodies: dict[int, str] = {}
        self._tickets = itertools.count(1)
        self._commits = itertools.count(1)
        self._running: dict[EffectKey, int] = {}
        self._life = 0
        self._owes_a_look = False
        self._up = True
        self.state: State = resume(self.book.rows(self.key), history.rules).state
        self._plan()

    @property
    def now(self) -> datetime:
        return self.time.now

    @property
    def turns(self) -> list[Turn]:
        """Every turn that was committed, in order."""
        return list(self.book.thread(self.key).turns.values())

    def run(self) -> "World":
        """Play everything, until nothing moves any more."""
        for _ in range(STEPS_MAX):
            act = self.time.step()
            if act is None:
                return self
            try:
                act()
            except Died:
                self._die(1)
        raise AssertionError("the world never goes quiet")

    # What comes from outside.

    def _plan(self) -> None:
        for number, arrival in enumerate(self.history.arrivals):
            said = Said(
                number,
                arrival.author,
                START + timedelta(seconds=arrival.at_seconds),
                f"message {number}",
                arrival.in_history,
                arrival.timed,
                arrival.one_id,
            )
            self.outside.chat.append(said)
            for delay in arrival.delays:
                self.time.after(arrival.at_seconds + delay, DELIVERY, partial(self._deliver, said))
            for delay, revokes in arrival.changes:
                # Never at the very instant of a message, as deeds.
                change = partial(self._thoughts.change, said, revokes=revokes)
                self.time.after(arrival.at_seconds + delay + 0.125, DELIVERY, change)
        for at_seconds, down_seconds in self.history.crashes:
            self.time.after(at_seconds, DELIVERY, partial(self._die, down_seconds))
        for at_seconds, deed in self.history.deeds:
            # Never at the very instant of a message: who came first would be anybody's guess.
            self.time.after(at_seconds + 0.375, DELIVERY, partial(self._serve, deed))
        for at_seconds in self.history.sweeps:
            self.time.after(at_seconds, DELIVERY, self._look)

    def _deliver(self, said: Said) -> None:
        self._store(said)
        self._look()

    def _store(self, said: Said) -> None:
        self.facts.append(facts.Delivered(self.now, said))
        key = f"id-{said.number}" if said.one_id else f"webhook-{said.number}"
        self._webhook(said.author, said.body, key, said.event_at)

    def _echo(self, part: Part, key: str, taken_at: datetime) -> None:
        self._webhook(Author.AGENT, part.text, key, taken_at)
        self._look()

    def _webhook(self, author: Author, body: str, key: str, event_at: datetime) -> None:
        message = InboundMessage((key,), ADDRESSES, author, "text", body, event_at)
        self.book.deliver(PHONE, message, self.now)

    def _serve(self, deed: Deed) -> None:
        self._do(deed)
        self._look()

    def _do(self, deed: Deed) -> None:
        """Do what a person wants; to who has never written nothing can be said."""
        met = any(m.inbound for m in self.book.thread(self.key).messages.values())
        match deed.wish:
            case Wish.HOLD:
                seconds = deed.hold_seconds
                until = FOR_GOOD if seconds is None else self.now + timedelta(seconds=seconds)
                self.facts.append(facts.Held(self.now, until))
                people.hold(self.book, self.key, until)
            case Wish.GIVE_BACK:
                self.facts.append(facts.GivenBack(self.now))
                people.give_back(self.book, self.key, self.now)
            case Wish.ANSWER if met:
                self.facts.append(facts.Requested(self.now))
                people.ask(self.book, self.key, self.now)
            case Wish.WRITE | Wish.WRITE_AHEAD | Wish.SAY if met:
                text, says = f"errand {len(self.facts)}", (deed.author, deed.source)
                self.facts.append(facts.Queued(self.now, text, *says))
                people.queue(self.book, self.key, text, self.now, *says)

    def _slip(self, number: int) -> None:
        """Something is delivered between a step and its commit."""
        if number in self.history.returns:
            thread = self.book.thread(self.key)
            # Not those that joined the open turn: they would come back before or after its end,
            # depending on whether this very commit ends it, and both are right.
            joined = thread.open_turn.message_ids if thread.open_turn is not None else ()
            rows = (m for m in thread.messages.values() if m.id not in joined)
            found = {m.body for m in rows if m.inbound and m.source is Source.HISTORY}
            known = [s for s in self.outside.chat if s.body in found and s.one_id and s.timed]
            for said in known[-1:]:
                self._store(said)
        if number in self.history.slips:
            event_at = self.now + timedelta(milliseconds=number)
            chat = self.outside.chat
            chat.append(Said(len(chat), Author.AGENT, event_at, f"slip {number}"))
            self._store(chat[-1])
        for before, revokes in self.history.slipping_changes:
            if before == number:
                self._thoughts.slip(self.outside.chat, revokes=revokes)
        for before, deed in self.history.slipping_deeds:
            if before == number:
                self._do(deed)

    def _die(self, down_seconds: float) -> None:
        if self._up:
            self.facts.append(facts.Crashed(self.now))
            self._up = False
            self._life += 1
            self._running.clear()
            self.time.after(down_seconds, RESULT, self._come_back)

    def _come_back(self) -> None:
        self._up = True
        self.facts.append(facts.Restarted(self.now))
        self._restart(None)
        self._perform()

    # The actor.

    def _look(self) -> None:
        if self._up:
            rows = self.book.rows(self.key)
            if rows.conversation.version == self.state.conversation.version:
                self._handle(_looked(rows))
            else:
                self._restart(None)
                self._perform()

    def _handle(self, event: Event) -> None:
        if not self._apply(event):
            # Rows that were read before the race are not to be stepped after it.
            self._restart(None if isinstance(event, Looked) else event)
        self._perform()
        if self._owes_a_look:
            self._look()

    def _restart(self, in_hand: Event | None) -> None:
        for _ in range(LOST_RACES_MAX):
            rows = self.book.rows(self.key)
            self.state = resume(rows, self.history.rules).state
            if not self._apply(_looked(rows)):
                continue
            if (lost := self._interrupted(in_hand)) and not self._apply(Interrupted(lost)):
                continue
            if in_hand is None or self._apply(self._fresh(in_hand)):
                return
        raise AssertionError("this step loses every race")

    def _interrupted(self, in_hand: Event | None) -> frozenset[EffectKey]:
        known = {*self._running, *answers(in_hand)}
        effects = (e for e in wanted(self.state) if not isinstance(e, WakeAt))
        return frozenset(effect.key for effect in effects if effect.key not in known)

    def _fresh(self, event: Event) -> Event:
        """Our own rows are read again with every try of a recall."""
        if isinstance(event, HistoryRecalled):
            return replace(event, rows=self.book.window(self.key, AGES_AGO))
        return event

    def _apply(self, event: Event) -> bool:
        before = self.state
        decided = step(before, event, self.now)
        self._check_move(before, event, decided.state)
        assert decided.effects == wanted(decided.state)
        number = next(self._commits) if decided.writes is not None else 0
        if decided.writes is not None and not self._commit(decided.writes, number):
            return False
        self.state = decided.state
        self.facts += happened(before, event, decided.writes, self.now, self.outside)
        # The row of what is said to the customer of a failed turn is made by its very commit.
        self._owes_a_look = decided.writes is not None and bool(decided.writes.fallback_text)
        if not self._owes_a_look:
            self._check(event)
        if (number, True) in self.history.crashing_commits:
            raise Died
        return True

    def _commit(self, writes: Writes, number: int) -> bool:
        self._check_reply(writes)
        if (number, False) in self.history.crashing_commits:
            raise Died
        self._slip(number)
        return self.book.write(writes)

    def _perform(self) -> None:
        effects = {effect.key: effect for effect in wanted(self.state)}
        for key in self._running.keys() - effects.keys():
            del self._running[key]
        for key in effects.keys() - self._running.keys():
            self._running[key] = next(self._tickets)
            self._start(effects[key], self._running[key])

    def _start(self, effect: Effect, ticket: int) -> None:
        if isinstance(effect, WakeAt):
            self.time.at(max(effect.at, self.now), TIMER, partial(self._ring, effect.key, ticket))
            return
        if isinstance(effect, Ask):
            self.facts.append(facts.Asked(self.now, _told(effect)))
        in_doubt = current_part(self.state.parts) if isinstance(self.state, Sending) else None
        seconds, result = self.outside.answer(effect, in_doubt)
        if seconds is not None:
            life = self._life
            self.time.after(seconds, RESULT, lambda: self._come(effect, life, result()))

    def _ring(self, key: EffectKey, ticket: int) -> None:
        if self._running.get(key) == ticket:
            del self._running[key]
            self._handle(TimerFired())

    def _come(self, effect: Effect, life: int, event: Event) -> None:
        """Bring a result to the life that asked, also when nobody waits for it any more."""
        if life != self._life:
            return
        self._running.pop(effect.key, None)
        if effect.key not in {e.key for e in wanted(self.state)}:
            again = step(self.state, event, self.now)
            assert (again.state, again.writes) == (self.state, None), "a late result counted"
        self._handle(event)

    # What must hold after every step.

    def _check_move(self, before: State, event: Event, after: State) -> None:
        state, happened, became = (type(x).__name__ for x in (before, event, after))
        allowed = TRANSITIONS.get((state, happened), frozenset({state}))
        assert became in allowed, f"not in the table: {state} --{happened}--> {became}"
        self.moves.add((state, happened, became))

    def _check(self, event: Event) -> None:
        thread = self.book.thread(self.key)
        self.bodies.update((m.id, m.body) for m in thread.messages.values())
        assert len(self.book.fates()) == thread.accepted, "a message was lost, or counted twice"
        if not isinstance(event, Looked | TimerFired | Interrupted):
            again = step(self.state, event, self.now)
            assert (again.state, again.writes) == (self.state, None), "a repeated event counted"
        rows = self.book.rows(self.key)
        if rows.conversation.version == self.state.conversation.version:
            resumed = resume(rows, self.history.rules).state
            rebuilt = step(resumed, _looked(rows), self.now)
            assert rebuilt.state == self.state, "memory and the rows differ"
            assert rebuilt.writes is None, "what memory knows is not all committed"

    def _check_reply(self, writes: Writes) -> None:
        if writes.answers:
            assert writes.turn is not None
            parts = self.book.thread(self.key).parts.values()
            assert all(p.turn_id != writes.turn.id for p in parts), "a second reply to one turn"


def _told(effect: Ask) -> tuple[str, ...]:
    prompt = build(effect.turn, effect.messages, effect.missed, effect.timezone)
    return tuple(item.content for item in prompt.items if item.role != "developer")


def _looked(rows: Rows) -> Looked:
    return Looked(rows.untold, rows.witnesses, rows.conversation.new_contact)
