"""Two processes on one database, with customers, links, merges and undos that come at any moment.

Everything but the provider and the AI is real: ingest, merger, journal, supervisors, actors. Every
call outside takes a random number of turns of the loop, so that all of it meets at every
phase. People have three addresses each, and what one of them shows of these is all that links them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from relevo.actors.performer import World
from relevo.actors.supervisor import Bounds, Supervisor
from relevo.errors import StoreUnavailableError
from relevo.messages import Address, Author
from relevo.store import linking
from relevo.store.embedded import DatabaseUrls
from relevo.store.linking import Named
from relevo.store.merging import Fulfilled, Reason, Wish
from relevo.store.parting import undo
from tests.actors_outside import Ai, Configured, Line, Witness
from tests.actors_rig import NEVER
from tests.fakes.clock import ManualClock, until
from tests.merging_rig import reach, writer
from tests.store_rig import BUSINESS, NOON, Desk, desk, said

PASSES_MAX = 30
"""Turns of the loop that a call outside takes at most; one to the database takes a few."""

ROUNDS_MAX = 200
"""Looks at a world that comes to rest: a burst, an answer, a doubt or a fence each takes a few."""

UNDONE = """
SELECT (SELECT count(*) FROM turn WHERE stage <> 'ended') + (SELECT count(*) FROM link)
    + (SELECT count(*) FROM untold WHERE state IN ('unread', 'asked', 'due'))
"""
UNDOABLE = (
    "SELECT m.id FROM merge AS m WHERE undone_at IS NULL AND survivor_id IN ("
    " SELECT conversation_id FROM address WHERE value = ANY($1)) ORDER BY id DESC"
)
THREAD = (
    "SELECT m.body, m.fate, m.conversation_id AS home FROM message AS m WHERE m.author = 'customer'"
    " AND m.body LIKE $1"
)
KEY_OF = (
    "SELECT canonical_key FROM conversation AS c JOIN address AS a ON a.conversation_id = c.id"
    " WHERE a.value = $1"
)
HOMES = "SELECT DISTINCT conversation_id FROM address WHERE value = ANY($1)"


@dataclass(slots=True)
class Person:
    """Somebody with three addresses, and all that he has said."""

    name: str
    addresses: tuple[Address, ...]
    said: list[str] = field(default_factory=list)
    agents: int = 0

    def under(self, way: int) -> tuple[Address, ...]:
        """Return those of his addresses that a message shows: a set of bits, at least one."""
        return tuple(a for bit, a in enumerate(self.addresses) if way & 1 << bit)


class Process:
    """One process: its store, its merger, its customers in memory."""

    def __init__(self, store: Desk, configured: Configured, trace: list[str]) -> None:
        self.store = store
        self.witness = Witness(trace)
        world = World(store.journal, configured, store.clock, self.witness)
        bounds = Bounds(sweep_seconds=NEVER, idle_seconds=NEVER)
        self.supervisor = Supervisor(world, store.tasks, bounds)
        store.on_wake = self.supervisor.look
        store.merges_at_once = True

    @property
    def is_quiet(self) -> bool:
        performer = self.supervisor.performer
        return self.supervisor.settled and not performer.in_flight and not self.store.merger.busy

    async def round(self) -> None:
        """Do what is done every two seconds."""
        await self.supervisor.sweep()
        await self.store.merger.settle()
        await self.store.merger.follow()


class MergingWorld:
    """Both processes, and what happens to them."""

    def __init__(self, processes: tuple[Process, Process], line: Line, ai: Ai) -> None:
        self.processes = processes
        self.line = line
        self.ai = ai
        self.people: list[Person] = []
        self._numbers = 0

    @property
    def clock(self) -> ManualClock:
        return self.processes[0].store.clock

    def begin(self, people: int, seed: int) -> None:
        """Begin a history with people whom nobody knows yet."""
        random = Random(seed)
        for door in (self.line.sending, self.ai.answering):
            door.passes = lambda: random.randrange(PASSES_MAX)
        self.people = [self._person() for _ in range(people)]

    def _person(self) -> Person:
        self._numbers += 1
        n = self._numbers
        ways = (("phone", f"+503700{n:05}"), ("bsuid", f"US.{n}"), ("lid", f"99{n:05}"))
        return Person(f"p{n}", tuple(Address(*way) for way in ways))

    async def says(self, person: Person, way: int, process: int, author: Author) -> None:
        """Deliver a message, of the customer or of a colleague to him; again, if told so."""
        store = self.processes[process].store
        if author is Author.CUSTOMER:
            body = f"{person.name} {len(person.said)}"
            person.said.append(body)
        else:
            person.agents += 1
            body = f"agent to {person.name} {person.agents}"
        seconds = (self.clock.now() - NOON).total_seconds()
        message = said(body, addresses=person.under(way), after_seconds=seconds, author=author)
        while True:
            try:
                receipt = await store.deliver(message, after_seconds=seconds)
            except StoreUnavailableError:
                continue  # as a provider would
            assert receipt.quarantined == []
            return

    async def links(self, person: Person, pair: tuple[int, int], process: int) -> Fulfilled:
        """Have a person say that two of somebody's addresses are his."""
        store = self.processes[process].store
        one, other = (reach(person.addresses[n]) for n in pair)
        wish = Wish(BUSINESS, one, other, Reason.PERSON)
        return (await linking.link(writer(store), wish, self.clock.now())).fulfilled

    async def undoes(self, person: Person, process: int) -> None:
        """Have a person undo the newest merge of somebody, if there is one."""
        store = self.processes[process].store
        found = await store.rows(UNDOABLE, [address.value for address in person.addresses])
        if found:
            await undo(writer(store), BUSINESS, found[0]["id"], self.clock.now())

    async def quiet(self) -> None:
        await until(lambda: all(process.is_quiet for process in self.processes))

    async def waits(self, seconds: float) -> None:
        """Let time pass, while everything goes on."""
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))
        await asyncio.sleep(0)

    async def comes_to_rest(self) -> None:
        """Let everything end, however long it takes."""
        store = self.processes[0].store
        for _ in range(ROUNDS_MAX):
            for process in self.processes:
                await process.round()
            await self.quiet()
            if not await store.value(UNDONE):
                return
            due = self.clock.next_alarm_at
            later = self.clock.now() + timedelta(seconds=1)
            self.clock.advance_to(max(due, later) if due and due < later + HOUR else later)
            await self.quiet()
        raise AssertionError("it never comes to rest")

    async def everybody_is_whole(self) -> None:
        """Link whatever nobody has linked, or somebody has parted."""
        for person in self.people:
            known = [n for n, a in enumerate(person.addresses) if (await self._named(a))]
            for other in known[1:]:
                while await self.links(person, (known[0], other), 0) is Fulfilled.POSTPONED:
                    await self.waits(1)
                    await self.quiet()

    async def _named(self, address: Address) -> list[Named]:
        store = self.processes[0].store
        found = await linking.named(store.pools, BUSINESS, address.value, "SV")
        return [one for one in found if one.conversation_id is not None]

    async def homes(self, person: Person) -> set[int]:
        """Return the conversations that his addresses lead to."""
        values = [address.value for address in person.addresses]
        rows = await self.processes[0].store.rows(HOMES, values)
        return {row["conversation_id"] for row in rows}

    async def is_named_well(self, person: Person) -> bool:
        """Tell whether his conversation has his phone as its key, if that is known."""
        phone = person.addresses[0]
        if not await self._named(phone):
            return True
        [key] = await self.processes[0].store.rows(KEY_OF, phone.value)
        return bool(key["canonical_key"] == f"phone:{BUSINESS}:{phone.value}")

    async def thread(self, person: Person) -> list[tuple[str, str, int]]:
        """Return all that he has said as it is stored: text, fate, conversation."""
        rows = await self.processes[0].store.rows(THREAD, f"{person.name} %")
        return sorted((row["body"], row["fate"], row["home"]) for row in rows)


HOUR = timedelta(hours=1)

Happening = Callable[[MergingWorld], Awaitable[object]]


@asynccontextmanager
async def merging_world(urls: DatabaseUrls) -> AsyncIterator[MergingWorld]:
    """Open two processes on a database."""
    clock, trace = ManualClock(NOON), list[str]()
    line, ai = Line(trace), Ai(trace)
    configured = Configured(line, ai)
    async with desk(urls, clock) as one, desk(urls, clock) as other:
        processes = Process(one, configured, trace), Process(other, configured, trace)
        try:
            yield MergingWorld(processes, line, ai)
        finally:
            for process in processes:
                process.supervisor.alarms.stop()
