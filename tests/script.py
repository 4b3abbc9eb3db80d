"""Stories for the core: what happens is written down, what must come of it is expected.

    story = Script()
    story.customer("Hola")                        # a webhook; the actor looks at once
    story.expect(state=Gathering, wakes="10:00:35")
    story.wait(35)                                # its timer fires
    story.recalled()                              # the provider's history, complete and empty
    story.ensured().answers("Hola!").accepted()
    story.expect(state=Idle, outcome="answered", fates={"Hola": "answered"})

A story starts at 10:00:00 with a customer we have met an hour before and answered, unless it begins
with `Script(stranger=True)`. Times of a day are written "10:02:30". Every step is held against the
table of transitions, its writes are committed to a `Book`, and a failed expectation shows the whole
story so far.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from relevo.conversation import resume, step
from relevo.effects import Ask, Recall, Reconcile, Send, WakeAt
from relevo.events import (
    Answered,
    AnswerFailed,
    AnswerFailure,
    ConversationEnsured,
    Event,
    Finding,
    HistoryRecalled,
    Interrupted,
    Looked,
    Reconciled,
    ReplyPart,
    SendAccepted,
    SendFailed,
    SendFailure,
    TimerFired,
)
from relevo.messages import Address, Author, Change, HistoryItem, InboundMessage, Source
from relevo.states import State, Step
from relevo.transitions import TRANSITIONS
from relevo.turns import Conversation, Marks, RecallStatus, Rules, Turn
from relevo.writes import Writes
from tests.fakes import people
from tests.fakes.book import Book
from tests.fakes.thread import Thread

PHONE = "+50370000001"
ADDRESSES = (Address("phone", PHONE),)


def at(time: str) -> datetime:
    """Read a time of the story's day: "10:02:30"."""
    return datetime.fromisoformat(f"2026-03-02T{time}").replace(tzinfo=UTC)


def item(time: str, author: Author, body: str, *keys: str, item_id: int = 0) -> HistoryItem:
    """Make an item of the provider's history; `item_id` 0: the story reserves one."""
    return HistoryItem(item_id, author, "text", body, at(time) if time else None, keys)


class Script:
    def __init__(self, rules: Rules | None = None, *, stranger: bool = False) -> None:
        self.book = Book()
        self.rules = rules or Rules(ai_conversations=False)
        self.now = at("10:00:00")
        self.trace: list[str] = []
        self.key = self.book.meet(PHONE)
        if not stranger:
            self.remembers(
                marks=Marks(
                    last_customer_at=at("09:58:00"),
                    last_assistant_at=at("09:58:30"),
                    known_to=at("09:58:10"),
                    told_to=at("09:58:00"),
                )
            )
        self.last = resume(self.book.rows(self.key), self.rules)
        self.writes: Writes | None = None
        self._keys = 0

    # What happened before the story, and where it stands.

    def remembers(self, **columns: Any) -> Self:
        """Set columns of the conversation's row before anything happens."""
        thread = self.thread
        thread.conversation = replace(thread.conversation, **columns)
        self.last = resume(self.book.rows(self.key), self.rules)
        return self

    @property
    def thread(self) -> Thread:
        return self.book.thread(self.key)

    @property
    def state(self) -> State:
        return self.last.state

    @property
    def conversation(self) -> Conversation:
        return self.thread.conversation

    @property
    def turn(self) -> Turn:
        """The newest turn that was committed."""
        return list(self.thread.turns.values())[-1]

    def wanted(self, kind: type[Any]) -> Any:
        """Return the one wanted effect of this kind."""
        found = [effect for effect in self.last.effects if isinstance(effect, kind)]
        assert len(found) == 1, self._told(f"one {kind.__name__} should be wanted: {found}")
        return found[0]

    # What happens.

    def clock(self, time: str) -> Self:
        assert at(time) >= self.now, "a story goes forward"
        self.now = at(time)
        return self

    def wait(self, seconds: float) -> Self:
        """Let time pass, then the timer fires."""
        self.now += timedelta(seconds=seconds)
        return self.does(TimerFired())

    def woken(self) -> Self:
        """Let time pass until the timer that is wanted fires."""
        self.now = max(self.now, self.wanted(WakeAt).at)
        return self.does(TimerFired())

    def does(self, event: Event) -> Self:
        """Step one event, commit what it writes, and hold the move against the table."""
        before = self.state
        self.last = step(before, event, self.now)
        self.writes = self.last.writes
        name, happened, after = (type(x).__name__ for x in (before, event, self.state))
        self.trace.append(f"{self.now:%H:%M:%S} {name} --{happened}--> {after}")
        allowed = TRANSITIONS.get((name, happened), frozenset({name}))
        assert after in allowed, self._told("a move that is not in the table")
        if self.writes is not None:
            assert self.book.write(self.writes), self._told("the commit lost its race")
        return self

    def customer(self, body: str, **told: Any) -> int:
        return self._delivers(Author.CUSTOMER, body, **told)

    def agent(self, body: str, **told: Any) -> int:
        return self._delivers(Author.AGENT, body, **told)

    def automation(self, body: str, **told: Any) -> int:
        return self._delivers(Author.AUTOMATION, body, **told)

    def echo(self, body: str, **told: Any) -> int:
        """A webhook about a message that the assistant's own account has sent."""
        return self._delivers(Author.ASSISTANT, body, **told)

    def unknown(self, body: str, **told: Any) -> int:
        return self._delivers(Author.UNKNOWN, body, **told)

    def changes(self, change: Change) -> Self:
        """Somebody edits or revokes what they said; the first message of a story is "key-1"."""
        assert self.book.change(change, self.now) is not None
        self.trace.append(f"{self.now:%H:%M:%S} {change}")
        return self.look()

    def look(self) -> Self:
        """Read the rows, starting again from them if ingest has raised the version."""
        rows = self.book.rows(self.key)
        if rows.conversation.version != self.state.conversation.version:
            self.last = resume(rows, self.rules)
            self.trace.append(f"{self.now:%H:%M:%S} resumed as {type(self.state).__name__}")
        return self.does(Looked(rows.untold, rows.witnesses, rows.conversation.new_contact))

    def restarts(self, *, interrupted: bool = True) -> Self:
        """The process died and is back: it reads the rows, and only then what was cut off."""
        self.last = resume(self.book.rows(self.key), self.rules)
        self.trace.append(f"{self.now:%H:%M:%S} restarted as {type(self.state).__name__}")
        self.look()
        running = frozenset(e.key for e in self.last.effects if not isinstance(e, WakeAt))
        return self.does(Interrupted(running)) if interrupted else self

    def recalled(
        self,
        *items: HistoryItem,
        status: RecallStatus = RecallStatus.COMPLETE,
        known_to: str = "",
    ) -> Self:
        recall: Recall = self.wanted(Recall)
        reserved = self.book.reserve(len(items))
        numbered = zip(items, reserved, strict=True)
        return self.does(
            HistoryRecalled(
                recall.turn_id,
                recall.attempt,
                status,
                at(known_to) if known_to else self.now,
                tuple(replace(i, id=i.id or number) for i, number in numbered),
                self.book.window(self.key, recall.since),
            )
        )

    def ensured(self, ai_conversation: str = "conv_1") -> Self:
        turn = self.turn
        return self.does(ConversationEnsured(turn.id, turn.attempt, ai_conversation))

    def answers(self, *texts: str) -> Self:
        effect = next(e for e in self.last.effects if isinstance(e, Ask | Reconcile))
        turn = effect.turn if isinstance(effect, Ask) else effect.asked.turn
        ids = self.book.reserve(len(texts))
        parts = tuple(ReplyPart(i, text) for i, text in zip(ids, texts, strict=True))
        return self.does(Answered(turn.id, turn.attempt, parts, "resp_1", "model-1"))

    def fails(
        self,
        failure: AnswerFailure,
        reason: str = "http_500",
        retry_after_seconds: float | None = None,
    ) -> Self:
        turn = self.turn
        return self.does(AnswerFailed(turn.id, turn.attempt, failure, reason, retry_after_seconds))

    def finds(self, finding: Finding) -> Self:
        """The AI's conversation is looked at, and shows no answer."""
        turn = self.wanted(Reconcile).asked.turn
        return self.does(Reconciled(turn.id, turn.attempt, finding))

    def fails_for_good(self) -> Self:
        return self.fails(AnswerFailure.PERMANENT, "http_401")

    def accepted(self, *keys: str) -> Self:
        part = self.wanted(Send).part
        return self.does(SendAccepted(part.message_id, part.attempt, self.now, keys))

    def refused(
        self,
        failure: SendFailure,
        reason: str = "http_400",
        retry_after_seconds: float | None = None,
    ) -> Self:
        part = self.wanted(Send).part
        said = SendFailed(part.message_id, part.attempt, failure, reason, retry_after_seconds)
        return self.does(said)

    # What people ask of us.

    def hold(self, until: str) -> Self:
        people.hold(self.book, self.key, at(until))
        return self.look()

    def give_back(self) -> Self:
        people.give_back(self.book, self.key, self.now)
        return self.look()

    def ask(self) -> Self:
        people.ask(self.book, self.key, self.now)
        return self.look()

    def queue(self, text: str, author: Author = Author.AUTOMATION) -> Self:
        """Have something said whose time has come."""
        people.queue(self.book, self.key, text, self.now, author)
        return self.look()

    def says(self, text: str, author: Author = Author.AGENT) -> Self:
        """A person, or an automation, writes through us, now."""
        people.queue(self.book, self.key, text, self.now, author, Source.API)
        return self.look()

    # What must have come of it.

    def expect(self, **expected: Any) -> Self:
        """Compare what is named with what is so; see `_FACTS` for the names."""
        actual = {name: _FACTS[name](self) for name in expected}
        assert actual == expected, self._told(f"\nexpected {expected}\nactual   {actual}")
        return self

    def _delivers(self, author: Author, body: str, **told: Any) -> int:
        self._keys += 1
        times = {k: at(told.pop(k)) for k in ("event_at",) if k in told}
        look = told.pop("look", True)
        key = told.pop("key", f"key-{self._keys}")
        message = InboundMessage(
            keys=(key, *told.pop("aliases", ())),
            addresses=ADDRESSES,
            author=author,
            kind=told.pop("kind", "text"),
            body=body,
            event_at=times.get("event_at", self.now),
            **told,
        )
        self.book.deliver(PHONE, message, self.now)
        self.trace.append(f"{self.now:%H:%M:%S} {author} wrote {body!r}")
        if look:
            self.look()
        return max(self.thread.messages)

    def _told(self, complaint: str) -> str:
        return "\n".join([complaint, "the story:", *(f"  {line}" for line in self.trace)])


def _bodies(story: Script, ids: tuple[int, ...]) -> list[str]:
    return [story.thread.messages[i].body for i in ids]


def _by_body(story: Script, values: Mapping[int, str]) -> dict[str, str]:
    return {story.thread.messages[i].body: str(value) for i, value in values.items()}


def _asked(story: Script) -> list[str]:
    return [m.body for m in story.wanted(Ask).messages]


def _missed(story: Script) -> list[tuple[str, str]]:
    return [(str(m.author), m.body) for m in story.wanted(Ask).missed]


_FACTS: Mapping[str, Callable[[Script], Any]] = {
    "state": lambda s: type(s.state),
    "effects": lambda s: [type(e).__name__ for e in s.last.effects],
    "wakes": lambda s: f"{s.wanted(WakeAt).at:%H:%M:%S}",
    "recalls_since": lambda s: f"{s.wanted(Recall).since:%H:%M:%S}",
    "urgent": lambda s: s.wanted(Recall).urgent,
    "asked": _asked,
    "missed": _missed,
    "sends": lambda s: s.wanted(Send).part.text,
    "writes": lambda s: s.writes is not None,
    "messages": lambda s: _bodies(s, s.turn.message_ids),
    "verdict": lambda s: str(s.turn.verdict),
    "silence": lambda s: s.turn.silence_seconds,
    "reasons": lambda s: [str(r) for r in s.turn.recall_reasons],
    "recall": lambda s: str(s.turn.recall),
    "outcome": lambda s: str(s.turn.outcome),
    "reason": lambda s: s.turn.reason,
    "turns": lambda s: [str(t.outcome) for t in s.thread.turns.values()],
    "fates": lambda s: _by_body(s, s.thread.fates),
    "untold": lambda s: _by_body(s, s.thread.untold),
    "parts": lambda s: [str(p.state) for p in s.thread.parts.values()],
    "marks": lambda s: s.conversation.marks,
    "owed": lambda s: s.conversation.owed_since is not None,
    "ai_conversation": lambda s: s.conversation.ai_conversation,
    "dead_letters": lambda s: [
        (str(d.stage), d.reason)
        for i, d in s.thread.dead_letters.items()
        if i not in s.thread.superseded
    ],
}

__all__ = ["ADDRESSES", "PHONE", "Script", "Step", "at", "item"]
