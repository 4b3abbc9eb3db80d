"""What is outside of one customer's actor: time, the provider with its history, and the AI.

Each answers an effect with what is planned: after how many seconds, and with which event. They do
what they answer, or what only seems not to have happened: a part may arrive although its outcome
is unknown.
"""

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from relevo.effects import Ask, Effect, EffectKey, EnsureConversation, Recall, Reconcile, Send
from relevo.events import (
    Answered,
    AnswerFailed,
    AnswerFailure,
    ConversationEnsured,
    Event,
    Finding,
    HistoryRecalled,
    Reconciled,
    ReplyPart,
    SendAccepted,
    SendFailed,
    SendFailure,
)
from relevo.messages import Author, ConversationKey, HistoryItem
from relevo.turns import Part, RecallStatus, Turn
from tests.facts import Said
from tests.fakes.book import Book
from tests.plans import Asking, History, Taking, Thinking

T = TypeVar("T")

OVERLAP = timedelta(seconds=120)

DELIVERY, RESULT, TIMER = range(3)
"""What comes first when several things happen at one instant."""

Result = tuple[float | None, Callable[[], Event]]
"""After how many seconds (None: never), and what it is then."""


@dataclass(order=True, slots=True)
class Due:
    at: datetime
    rank: int
    number: int
    act: Callable[[], None] = field(compare=False)


class Timeline:
    """Virtual time: everything happens at its instant, in order."""

    def __init__(self, start: datetime) -> None:
        self.now = start
        self._queue: list[Due] = []
        self._numbers = itertools.count(1)

    def at(self, at: datetime, rank: int, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, Due(at, rank, next(self._numbers), act))

    def after(self, seconds: float, rank: int, act: Callable[[], None]) -> None:
        self.at(self.now + timedelta(seconds=seconds), rank, act)

    def step(self) -> Callable[[], None] | None:
        """Go to the next instant, and return what happens then."""
        if not self._queue:
            return None
        due = heapq.heappop(self._queue)
        self.now = max(self.now, due.at)
        return due.act


class Outside:
    def __init__(
        self,
        history: History,
        time: Timeline,
        book: Book,
        key: ConversationKey,
        echo: Callable[[Part, str, datetime], None],
    ) -> None:
        """`echo` delivers a webhook about a part that the provider took."""
        self.chat: list[Said] = []
        self.sent: dict[int, list[datetime]] = {}
        """When the provider took each part."""
        self._time = time
        self._book = book
        self._key = key
        self._echo = echo
        self._own_items: list[HistoryItem] = []
        self._recalls = _then(iter(history.recalls), Asking())
        self._ensures = _then(iter(history.ensures), Thinking())
        self._thoughts = _then(iter(history.thoughts), Thinking())
        self._sends = _then(iter(history.sends), Taking())
        self._names = itertools.count(1)
        self._memory: dict[tuple[str | None, int], tuple[datetime, int]] = {}
        """When each question was stored in a conversation, and how many parts the answer has."""
        self._stored: set[tuple[str, int]] = set()
        """The messages that each conversation holds as a question."""

    def answer(self, effect: Effect, in_doubt: Part | None) -> Result:
        """Do what an effect asks for. `in_doubt`: the part that a look is about."""
        match effect:
            case Recall():
                return self._recall(effect, in_doubt)
            case EnsureConversation():
                return self._ensure(effect)
            case Ask():
                return self._ask(effect)
            case Reconcile():
                return self._reconcile(effect.asked)
            case Send():
                return self._send(effect)
            case _:
                raise AssertionError("a timer is nothing outside")

    def _recall(self, effect: Recall, in_doubt: Part | None) -> Result:
        plan = next(self._recalls)
        if in_doubt is not None and in_doubt.message_id in self.sent:
            plan = Asking()
        asked_at = self._time.now
        shown = self._shown(effect.since, asked_at)
        if plan.status is RecallStatus.TRUNCATED:
            shown = shown[len(shown) // 2 :]
        if plan.status in {RecallStatus.FAILED, RecallStatus.UNAVAILABLE}:
            shown = []

        def result() -> Event:
            ids = self._book.reserve(len(shown))
            items = tuple(replace(i, id=n) for i, n in zip(shown, ids, strict=True))
            rows = self._book.window(self._key, effect.since - OVERLAP)
            return HistoryRecalled(
                effect.turn_id, effect.attempt, plan.status, asked_at, items, rows
            )

        return plan.seconds, result

    def _shown(self, since: datetime, to: datetime) -> list[HistoryItem]:
        items = [*map(_item, (s for s in self.chat if s.in_history)), *self._own_items]
        shown = (i for i in items if i.event_at is None or since <= i.event_at <= to)
        return sorted(shown, key=lambda i: i.event_at or to)

    def _ensure(self, effect: EnsureConversation) -> Result:
        plan, name = next(self._ensures), f"conv_{next(self._names)}"

        def result() -> Event:
            if plan.failure is not None:
                return AnswerFailed(effect.turn_id, effect.attempt, plan.failure, "planned")
            return ConversationEnsured(effect.turn_id, effect.attempt, name)

        return plan.seconds, result

    def _ask(self, effect: Ask) -> Result:
        plan, turn = next(self._thoughts), effect.turn
        unknown = plan.failure is AnswerFailure.UNKNOWN or plan.seconds is None
        if plan.failure is None or (unknown and plan.stored):
            seconds = plan.stored_seconds if unknown or plan.seconds is None else plan.seconds
            self._remember(effect, plan.parts, self._time.now + timedelta(seconds=seconds))

        def result() -> Event:
            if plan.failure is not None:
                return AnswerFailed(turn.id, turn.attempt, plan.failure, "planned")
            return self._said(turn, plan.parts)

        return plan.seconds, result

    def _remember(self, effect: Ask, parts: int, at: datetime) -> None:
        """The AI keeps what it was asked and what it says, also if we never hear of it."""
        if effect.ai_conversation is None:
            return
        asked = {(effect.ai_conversation, m.id) for m in effect.messages}
        assert asked.isdisjoint(self._stored), "one question twice in one conversation"
        self._stored |= asked
        self._memory[effect.ai_conversation, effect.turn.id] = (at, parts)

    def _reconcile(self, effect: Ask) -> Result:
        turn = effect.turn
        assert effect.ai_conversation is not None

        def result() -> Event:
            at, parts = self._memory.get((effect.ai_conversation, turn.id), (None, 0))
            if at is None:
                return Reconciled(turn.id, turn.attempt, Finding.NOT_STORED)
            if at > self._time.now:
                return Reconciled(turn.id, turn.attempt, Finding.RUNNING)
            return self._said(turn, parts)

        return 1, result

    def _said(self, turn: Turn, count: int) -> Event:
        ids = self._book.reserve(count)
        parts = tuple(ReplyPart(i, f"reply {turn.id}.{n}") for n, i in enumerate(ids, start=1))
        return Answered(turn.id, turn.attempt, parts)

    def _send(self, effect: Send) -> Result:
        plan, part = next(self._sends), effect.part
        key = f"sent-{part.message_id}.{part.attempt}"
        doubtful = plan.failure is SendFailure.UNKNOWN or plan.seconds is None
        if plan.failure is None or (doubtful and plan.arrives):
            self._take(part, key if plan.named or doubtful else "", plan.echo_seconds)
        taken_at = self._time.now

        def result() -> Event:
            if plan.failure is not None:
                return SendFailed(part.message_id, part.attempt, plan.failure, "planned")
            keys = (key,) if plan.named else ()
            return SendAccepted(part.message_id, part.attempt, taken_at, keys)

        return plan.seconds, result

    def _take(self, part: Part, key: str, echo_seconds: float | None) -> None:
        taken_at = self._time.now
        self.sent.setdefault(part.message_id, []).append(taken_at)
        keys = (key,) if key else ()
        self._own_items.append(HistoryItem(0, Author.AGENT, "text", part.text, taken_at, keys))
        if echo_seconds is not None:
            name = key or f"echo-{part.message_id}"
            self._time.after(echo_seconds, DELIVERY, lambda: self._echo(part, name, taken_at))


def _item(said: Said) -> HistoryItem:
    key = f"id-{said.number}" if said.one_id else f"history-{said.number}"
    event_at = said.event_at if said.timed else None
    return HistoryItem(0, said.author, "text", said.body, event_at, (key,))


def _then(planned: Iterator[T], default: T) -> Iterator[T]:
    return itertools.chain(planned, itertools.repeat(default))


def answers(event: Event | None) -> tuple[EffectKey, ...]:
    """Return the keys of the effect that an event is the result of."""
    match event:
        case Answered() | AnswerFailed() | Reconciled():
            of = (event.turn_id, event.attempt)
            return (("ensure", *of), ("ask", *of), ("reconcile", *of))
        case SendAccepted() | SendFailed():
            return (("send", event.message_id, event.attempt),)
        case HistoryRecalled():
            return (("recall", event.turn_id, event.attempt),)
        case ConversationEnsured():
            return (("ensure", event.turn_id, event.attempt),)
        case _:
            return ()
