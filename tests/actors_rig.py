"""The actors in memory: real supervisor, customers and performer in an outside that a test rules.

    hotel = Hotel()
    key = hotel.customer("Hola")          # a row, and a wake
    await hotel.advance(35)               # the burst ends, the AI answers, the answer is sent
    assert hotel.line.sent == ["Reply 1"]

`hotel.trace` tells what happened, in order; doors of the outside can be closed, see there.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from relevo.actors.performer import World
from relevo.actors.ports import Chores, NoChores
from relevo.actors.supervisor import Bounds, Supervisor
from relevo.errors import StoreUnavailableError
from relevo.messages import Address, Author, ConversationKey, InboundMessage
from relevo.tasks import Tasks
from relevo.turns import PartState
from tests.actors_outside import Ai, Configured, Door, Journal, Line, Witness
from tests.fakes.clock import ManualClock, settle, until

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
PHONE = "+50370000001"
NEVER = 10_000_000.0


class Outside:
    """A clock, a store, a line and an AI; outlives the processes that use it."""

    def __init__(self) -> None:
        self.trace: list[str] = []
        self.clock = ManualClock(START)
        self.journal = Journal(self.trace)
        self.line = Line(self.trace)
        self.ai = Ai(self.trace)
        self.configured = Configured(self.line, self.ai)
        self.probe = Witness(self.trace)
        self.world = World(self.journal, self.configured, self.clock, self.probe)
        self.chores: Chores = NoChores()
        self._numbers = 0

    @property
    def far_doors(self) -> tuple[Door, ...]:
        """Those to the provider and the AI."""
        line, ai = self.line, self.ai
        return (line.sending, line.recalling, ai.answering, ai.ensuring)

    @property
    def store_doors(self) -> tuple[Door, ...]:
        journal = self.journal
        return (
            *(journal.loading, journal.committing, journal.reserving),
            *(journal.telling, journal.sweeping),
        )

    def says(
        self,
        body: str,
        *,
        author: Author = Author.CUSTOMER,
        phone: str = PHONE,
        event_at: datetime | None = None,
    ) -> ConversationKey:
        """Store a message as ingest does; nobody is woken. The nth one has the id `key-n`."""
        self._numbers += 1
        now = self.clock.now()
        message = InboundMessage(
            keys=(f"key-{self._numbers}",),
            addresses=(Address("phone", phone),),
            author=author,
            kind="text",
            body=body,
            event_at=event_at or now,
        )
        return self.journal.book.deliver(phone, message, now)

    def store_goes(self) -> None:
        for door in self.store_doors:
            door.failure = StoreUnavailableError("away")

    def store_comes_back(self) -> None:
        for door in self.store_doors:
            door.failure = None


class Hotel:
    """One process's actors, in an outside."""

    def __init__(self, outside: Outside | None = None, **bounds: Any) -> None:
        self.outside = outside or Outside()
        self.failures: list[BaseException] = []
        """What tasks failed with; a test that expects some takes them away."""
        self.tasks = Tasks(self.failures.append)
        self.supervisor = Supervisor(
            self.outside.world, self.tasks, Bounds(**bounds), self.outside.chores
        )
        self.clock = self.outside.clock
        self.journal = self.outside.journal
        self.book = self.outside.journal.book
        self.line = self.outside.line
        self.ai = self.outside.ai
        self.probe = self.outside.probe
        self.trace = self.outside.trace

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.dies()
        if error is None:
            assert self.failures == []

    async def dies(self) -> None:
        """End like a process that is killed: nothing is finished, nothing is said."""
        self.supervisor.alarms.stop()
        await self.tasks.cancel()

    def customer(
        self, body: str, phone: str = PHONE, *, event_at: datetime | None = None
    ) -> ConversationKey:
        """A customer writes, and the actor is woken."""
        return self._says(body, Author.CUSTOMER, phone, event_at)

    def agent(self, body: str, phone: str = PHONE) -> ConversationKey:
        return self._says(body, Author.AGENT, phone)

    async def quiet(self) -> None:
        """Let everything run until it waits for the clock or at a door."""
        for _ in range(10):
            await settle()

    async def advance(self, seconds: float) -> None:
        """Move on from alarm to alarm, with rest at each of them."""
        when = self.clock.now() + timedelta(seconds=seconds)
        await self.quiet()
        while (due := self.clock.next_alarm_at) is not None and due <= when:
            self.clock.advance_to(due)
            await self.quiet()
        self.clock.advance_to(when)
        await self.quiet()

    async def reaches(self, door: Door) -> None:
        """Wait until somebody waits at a closed door."""
        await until(lambda: door.waiting > 0)

    def state_of(self, key: ConversationKey) -> str:
        """Return the stage of a customer's open turn as stored, or how its last one ended."""
        turns = list(self.book.thread(key).turns.values())
        if not turns:
            return "none"
        return str(turns[-1].outcome or turns[-1].stage)

    def parts(self, key: ConversationKey) -> list[PartState]:
        """Return the states of everything that was ever to be sent to a customer."""
        return [part.state for part in self.book.thread(key).parts.values()]

    def _says(
        self, body: str, author: Author, phone: str, event_at: datetime | None = None
    ) -> ConversationKey:
        key = self.outside.says(body, author=author, phone=phone, event_at=event_at)
        self.supervisor.look(key)
        return key


async def passes(count: int) -> None:
    """Let the loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


def after_passes(count: int, callback: Callable[[], object]) -> None:
    """Call back when the loop has turned so many times, before what is scheduled from now on."""
    if count == 0:
        callback()
    else:
        asyncio.get_running_loop().call_soon(after_passes, count - 1, callback)


def phone(number: int) -> str:
    return f"+5037{number:07}"
