"""What is outside the actors, in memory: the ports of `relevo.actors.ports`, ruled by a test.

Every call goes through a `Door`: closed, it keeps callers waiting; with a `failure` it fails them.
All of them write what happens into one `trace`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from relevo.ai_conversations import AiConversation
from relevo.effects import Effect
from relevo.errors import StoreUnavailableError
from relevo.events import Finding
from relevo.messages import Address, ConversationKey, Message
from relevo.outcomes import Accepted, Answer, History, NoAnswer, NotAccepted, Prompt
from relevo.turns import RecallStatus, Rules, Turn
from relevo.writes import Rows, Unread, Writes
from tests.fakes.journal import MemoryJournal

QUIET_SECONDS = 35
RULES = Rules(quiet_seconds=QUIET_SECONDS, first_contact_lookback_seconds=0, ai_conversations=False)


class Door:
    """Where a call leaves the actors: open, closed, or failing."""

    def __init__(self) -> None:
        self.closed = False
        self.failure: Exception | None = None
        self.passes: Callable[[], int] = lambda: 1
        """How many turns of the loop a call takes at least."""
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def waiting(self) -> int:
        return sum(not caller.done() for caller in self._waiting)

    async def through(self) -> None:
        for _ in range(self.passes()):
            await asyncio.sleep(0)
        if self.closed:
            caller = asyncio.get_running_loop().create_future()
            self._waiting.append(caller)
            await caller
        if self.failure is not None:
            raise self.failure

    def open(self) -> None:
        self.closed = False
        self.release()

    def give_up(self) -> None:
        """Cancel what callers wait for; nobody cancels the callers."""
        for caller in self._waiting:
            caller.cancel()

    def release(self) -> None:
        """Let those go who wait now; who comes later waits."""
        waiting, self._waiting = self._waiting, []
        for caller in waiting:
            if not caller.done():
                caller.set_result(None)


class Line:
    """A provider's line."""

    def __init__(self, trace: list[str]) -> None:
        self.sent: list[str] = []
        self.asked: list[datetime] = []
        self.sending = Door()
        self.recalling = Door()
        self.outcome: Accepted | NotAccepted = Accepted()
        self.story = History(RecallStatus.COMPLETE)
        self._trace = trace

    async def history(self, address: Address, since: datetime, *, urgent: bool) -> History:
        del address, urgent
        self._trace.append("recall")
        self.asked.append(since)
        await self.recalling.through()
        return self.story

    async def send(
        self, address: Address, text: str, correlation_id: str
    ) -> Accepted | NotAccepted:
        del address, correlation_id
        self._trace.append("send")
        self.sent.append(text)
        await self.sending.through()
        return self.outcome


class Ai:
    """The AI: numbers its replies."""

    def __init__(self, trace: list[str]) -> None:
        self.questions: list[Prompt] = []
        self.ensured = 0
        self.seeded: list[Prompt] = []
        self.unseeded: NoAnswer | None = None
        self.answering = Door()
        self.ensuring = Door()
        self.reconciling = Door()
        self.answered: Answer | NoAnswer | None = None
        self.found: Answer | Finding | NoAnswer = Finding.NOT_STORED
        self._trace = trace

    async def ensure(self) -> AiConversation | NoAnswer:
        self._trace.append("ensure")
        self.ensured += 1
        await self.ensuring.through()
        return AiConversation(f"conv_{self.ensured}")

    async def seed(self, ai_conversation: AiConversation, seed: Prompt) -> NoAnswer | None:
        del ai_conversation
        self._trace.append("seed")
        self.seeded.append(seed)
        return self.unseeded

    async def answer(self, ai_conversation: str | None, prompt: Prompt) -> Answer | NoAnswer:
        del ai_conversation
        self._trace.append("ask")
        self.questions.append(prompt)
        number = len(self.questions)
        await self.answering.through()
        return self.answered or Answer(f"Reply {number}")

    async def reconcile(self, ai_conversation: str, prompt: Prompt) -> Answer | Finding | NoAnswer:
        del ai_conversation, prompt
        self._trace.append("reconcile")
        await self.reconciling.through()
        return self.found


class Configured:
    """What is configured: one business with one line and one AI."""

    def __init__(self, line: Line, ai: Ai) -> None:
        self.own_rules = RULES
        self._line = line
        self._ai = ai

    def rules(self, business_id: str, tags: Sequence[str]) -> Rules:
        del business_id, tags
        return self.own_rules

    def channel(self, business_id: str, channel_id: str) -> Line:
        del business_id, channel_id
        return self._line

    def assistant(self, business_id: str) -> Ai:
        del business_id
        return self._ai


class Journal(MemoryJournal):
    """The journal in memory, with a store that can be slow, away, fenced or unreadable."""

    def __init__(self, trace: list[str]) -> None:
        super().__init__()
        self.loads: list[tuple[ConversationKey, ...]] = []
        self.loading = Door()
        self.committing = Door()
        self.reserving = Door()
        self.telling = Door()
        self.sweeping = Door()
        self.answers_lost = 0
        """So many of the next commits are stored, and nobody is told."""
        self.fenced: set[ConversationKey] = set()
        self.gone: set[ConversationKey] = set()
        """These conversations are no more."""
        self.unreadable: set[ConversationKey] = set()
        """Reading these fails, and everything that is read with them."""
        self.poisoned: set[ConversationKey] = set()
        """What is read of these no customer can step."""
        self._trace = trace

    async def load(self, keys: Sequence[ConversationKey]) -> Mapping[ConversationKey, Rows]:
        self._trace.append("load")
        self.loads.append(tuple(keys))
        if self.unreadable.intersection(keys):
            raise ValueError("a row that cannot be read")
        found = await super().load([key for key in keys if key not in self.gone])
        await self.loading.through()
        return {key: self._as_ruled(key, rows) for key, rows in found.items()}

    async def commit(self, writes: Writes) -> bool:
        await self.committing.through()
        committed = await super().commit(writes)
        if self.answers_lost:
            self.answers_lost -= 1
            raise StoreUnavailableError("the connection is gone")
        return committed

    async def told(self, key: ConversationKey, limit: int) -> tuple[Message, ...]:
        await self.telling.through()
        return await super().told(key, limit)

    async def reserve(self, count: int) -> Sequence[int]:
        await self.reserving.through()
        return await super().reserve(count)

    async def unread(self, received_after: datetime | None) -> Mapping[ConversationKey, Unread]:
        await self.sweeping.through()
        return await super().unread(received_after)

    def _as_ruled(self, key: ConversationKey, rows: Rows) -> Rows:
        untold = cast("Any", (None,)) if key in self.poisoned else rows.untold
        return replace(rows, untold=untold, fenced=key in self.fenced)


class Witness:
    """A probe that remembers."""

    def __init__(self, trace: list[str]) -> None:
        self.effects: list[tuple[str, str]] = []
        """Class and outcome of every effect that came back."""
        self.started: list[Effect] = []
        self.under_way: list[Effect] = []
        self.turns: list[Turn] = []
        self.lost = 0
        self.resident = 0
        self.restarts = 0
        self.given_up = 0
        self.lateness: list[float] = []
        self.failure: Exception | None = None
        """Raised when the next effect starts."""
        self.welcome_failure: Exception | None = None
        """Raised when the next customer comes to memory."""
        self._trace = trace

    def committing(self, writes: Writes) -> None:
        del writes
        self._trace.append("committing")

    def committed(self, writes: Writes) -> None:
        del writes
        self._trace.append("committed")

    def commit_lost(self) -> None:
        self._trace.append("lost")
        self.lost += 1

    def effect_starting(self, effect: Effect) -> None:
        if self.failure is not None:
            raise self.failure
        self.started.append(effect)
        self.under_way.append(effect)

    def effect_finished(self, effect: Effect, seconds: float, outcome: str) -> None:
        assert seconds >= 0
        self.effects.append((type(effect).__name__, outcome))
        if effect in self.under_way:
            self.under_way.remove(effect)

    def turn_ended(self, business_id: str, conversation_id: int, turn: Turn) -> None:
        del business_id, conversation_id
        self.turns.append(turn)

    def activated(self) -> None:
        self.resident += 1
        failure, self.welcome_failure = self.welcome_failure, None
        if failure is not None:
            raise failure

    def passivated(self) -> None:
        self.resident -= 1

    def restarted(self) -> None:
        self.restarts += 1

    def set_aside(self) -> None:
        self.given_up += 1

    def mailbox_waited(self, seconds: float) -> None:
        assert seconds >= 0

    def timer_fired(self, lateness_seconds: float) -> None:
        self.lateness.append(lateness_seconds)


@asynccontextmanager
async def closed(door: Door) -> AsyncIterator[Door]:
    """Keep a door closed for a while."""
    door.closed = True
    try:
        yield door
    finally:
        door.open()
