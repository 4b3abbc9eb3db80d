"""The supervisor: brings customers to memory, keeps them alive, and lets them go.

* A wake is one bit: those that come while rows are being read coalesce, and the unread rows of all
  woken customers are read with one statement. A burst that grows is read again when it may be
  complete, not for each of its messages.
* An idle customer is forgotten first and retired then, with an empty mailbox and no `await`
  between.
* One that fails is made anew from the rows, after pauses that `recovery.py` knows.
* A sweep finds what no wake was heard for: unread rows of the minutes before the last sweep every
  2 s, everything that wants to go on when taking over. What has to be done now and then besides is
  done after a sweep: the `Chores`.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from relevo.actors.alarms import Alarms
from relevo.actors.customer import Customer, Look, Office
from relevo.actors.gate import Gate
from relevo.actors.performer import Performer, World
from relevo.actors.ports import Chores, NoChores
from relevo.actors.recovery import Recovery
from relevo.clock import sleep
from relevo.errors import StoreUnavailableError
from relevo.events import Event, TimerFired
from relevo.messages import ConversationKey
from relevo.states import AtTheAI, Gathering, Idle, Recalling, Sending
from relevo.tasks import Tasks, is_stopped
from relevo.turns import PARTS_TERMINAL, Part
from relevo.writes import Rows, Unread

STRIDE = 500
"""Customers that are gone through before others have the loop; about half a millisecond."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much at once, and how long. Everything a supervisor waits for stands here."""

    read_batch_max: int = 500
    """Customers whose rows are read with one statement."""
    answering_max: int = 512
    """Customers at the AI at once; its client holds as many connections."""
    answering_max_of: Callable[[str], int] | None = None
    """How many of them may be one business's, by its id; None: all."""
    idle_seconds: float = 300
    """How long a customer without work stays in memory."""
    idle_max: int = 100_000
    """How many of them stay at most."""
    sweep_seconds: float = 2
    sweep_back: timedelta = timedelta(minutes=10)
    """How far before the last sweep that read the rows the next one looks."""
    upkeep_seconds: float = 60
    failures_max: int = 5
    """Failures in a row before a customer is set aside."""
    set_aside_seconds: float = 600
    """How long it is left alone then."""
    fence_seconds: float = 1
    """How soon to look again at what another living process may be acting on."""
    drain_seconds: float = 10
    """How long a stop waits for steps and effects that are under way."""


class Supervisor:
    """Every customer in memory, by conversation."""

    def __init__(
        self, world: World, tasks: Tasks, bounds: Bounds, chores: Chores | None = None
    ) -> None:
        self._world = world
        self._chores = NoChores() if chores is None else chores
        self._tasks = tasks
        self._bounds = bounds
        self._customers: dict[ConversationKey, Customer] = {}
        self._idle: OrderedDict[ConversationKey, float] = OrderedDict()
        self._woken: dict[ConversationKey, None] = {}
        self._undelivered: dict[ConversationKey, list[Event]] = {}
        """Results of effects that a dead actor has asked for, until it is made anew."""
        self._open: set[ConversationKey] = set()
        self._reading = False
        self._draining = False
        self._taking_over = False
        self._swept_at = world.clock.now()
        self._kept_up_at = world.clock.monotonic()
        self._recovery = Recovery(
            world.clock,
            world.probe,
            self.look,
            failures_max=bounds.failures_max,
            set_aside_seconds=bounds.set_aside_seconds,
        )
        self.alarms = Alarms(world.clock, self._ring)
        self.gate = Gate(bounds.answering_max, self._fire, bounds.answering_max_of)
        self.performer = Performer(world, self.alarms, tasks, self._tell)
        self._office = Office(
            world, self.performer, self._look_now, self._look_later, self._stepped, self._failed
        )

    @property
    def resident(self) -> int:
        """Return how many customers are in memory."""
        return len(self._customers)

    @property
    def settled(self) -> bool:
        """Tell whether nothing moves but time and effects that wait for the world."""
        return not (
            self._reading or self._woken or any(c.busy for c in list(self._customers.values()))
        )

    @property
    def draining(self) -> bool:
        """Tell whether it takes no more wakes, and waits for what is under way."""
        return self._draining

    @property
    def turns_open(self) -> int:
        """Return how many turns are open in memory."""
        return len(self._open)

    def mailbox_messages(self) -> int:
        """Return how many messages wait in all mailboxes."""
        return sum(len(c.mailbox) for c in list(self._customers.values()))

    def unsent(self) -> list[Part]:
        """Return the parts of replies, of turns open in memory, that have not come to their end."""
        states = [c.state for c in map(self._customers.get, list(self._open)) if c]
        parts = [part for state in states if isinstance(state, Sending) for part in state.parts]
        return [part for part in parts if part.state not in PARTS_TERMINAL]

    def look(self, key: ConversationKey) -> None:
        """Wake a customer, now or when its burst may be complete: its rows have changed."""
        customer = self._customers.get(key)
        if customer is None or not customer.may_look_later():
            self._look_now(key)

    def _look_now(self, key: ConversationKey) -> None:
        if self._draining or self._recovery.rests(key):
            return
        self._woken[key] = None
        if not self._reading:
            self._reading = True
            self._tasks.spawn(self._read_woken(), "read-woken")

    async def take_over(self) -> None:
        """Wake everyone who wants to go on, whatever its age, the oldest first; at the start.

        Raises:
            StoreUnavailableError: if the store cannot be read now; the next sweep takes over then.
        """
        self._taking_over = True
        found = await self._world.journal.unread(None)
        self._taking_over = False
        self._swept_at = self._world.clock.now()
        await self._look_at(found)

    async def sweep_for_ever(self) -> None:
        """Find what no wake was heard for, and let go of who has been idle."""
        while True:
            await sleep(self._world.clock, self._bounds.sweep_seconds)
            try:
                await self.sweep()
            except StoreUnavailableError:
                continue
            except Exception:
                # A bug, and reported as one; without sweeps nobody would hear of a lost wake.
                self._tasks.spawn(self.sweep_for_ever(), "sweep")
                raise

    async def sweep(self) -> None:
        """Look once, and see to the chores.

        Raises:
            StoreUnavailableError: if the store cannot be read.
        """
        self.passivate()
        if self._taking_over:
            await self.take_over()
        now = self._world.clock.now()
        found = await self._world.journal.unread(self._swept_at - self._bounds.sweep_back)
        self._swept_at = now
        await self._look_at(found)
        await self._chores.swept(found)
        if self._world.clock.monotonic() - self._kept_up_at >= self._bounds.upkeep_seconds:
            self._kept_up_at = self._world.clock.monotonic()
            await self._chores.keep_up()

    async def _look_at(self, found: Mapping[ConversationKey, Unread]) -> None:
        """Look at whoever has rows that are news to memory."""
        for number, (key, count) in enumerate(found.items(), start=1):
            customer = self._customers.get(key)
            if customer is None or not customer.expects(count):
                self._look_now(key)
            if number % STRIDE == 0:
                await asyncio.sleep(0)

    def passivate(self) -> None:
        """Forget customers that have been idle for long, or are too many."""
        oldest = self._world.clock.monotonic() - self._bounds.idle_seconds
        while self._idle:
            key, since = next(iter(self._idle.items()))
            if since > oldest and len(self._idle) <= self._bounds.idle_max:
                return
            self._let_go(key)

    async def relieve(self) -> None:
        """Forget everybody who is idle now, however briefly: memory is short."""
        for number, key in enumerate(list(self._idle), start=1):
            if key in self._idle:
                self._let_go(key)
            if number % STRIDE == 0:
                await asyncio.sleep(0)

    def _let_go(self, key: ConversationKey) -> None:
        del self._idle[key]
        customer = self._customers.get(key)
        if customer is None or customer.busy:
            return
        if isinstance(customer.state, Idle | None):
            del self._customers[key]
            customer.retire()
            self._world.probe.passivated()

    async def drain(self) -> None:
        """Take no more wakes; wait, within bounds, for what is under way."""
        self._draining = True
        self._woken.clear()
        self.alarms.stop()
        self.gate.close()
        deadline = self._world.clock.monotonic() + self._bounds.drain_seconds
        while self._world.clock.monotonic() < deadline:
            if self.settled and not self.performer.in_flight:
                return
            await sleep(self._world.clock, 0.05)

    async def _read_woken(self) -> None:
        try:
            while self._woken:
                batch = list(islice(self._woken, self._bounds.read_batch_max))
                for key in batch:
                    del self._woken[key]
                await self._read(batch)
        except (Exception, asyncio.CancelledError):
            if not is_stopped():
                # A bug, and reported as one; who was woken besides must not wait for another wake.
                self._tasks.spawn(self._read_woken(), "read-woken")
            raise
        self._reading = False

    async def _read(self, batch: list[ConversationKey]) -> None:
        found: Mapping[ConversationKey, Rows | None]
        try:
            found = await self._world.journal.load(batch)
        except StoreUnavailableError:
            if not self._draining:
                self._woken.update(dict.fromkeys(batch))
                await sleep(self._world.clock, self._bounds.fence_seconds)
            return
        except (Exception, asyncio.CancelledError):
            if is_stopped():
                raise
            # Somebody's rows cannot be read: each reads its own, and only that one fails.
            found = dict.fromkeys(batch)
        left = deque(batch)
        try:
            while left:
                key = left.popleft()
                if key in found:
                    self._give(key, found[key])
                else:
                    self._miss(key)
        finally:
            self._woken.update(dict.fromkeys(left))

    def _give(self, key: ConversationKey, rows: Rows | None) -> None:
        if self._recovery.rests(key):
            return
        customer = self._customers.get(key)
        is_new = customer is None
        if customer is None:
            customer = Customer.start_on(self._tasks, key, self._office)
            self._customers[key] = customer
        customer.show(rows)
        for event in self._undelivered.pop(key, ()):
            customer.actor_ref.tell(event)
        if is_new:
            self._world.probe.activated()

    def _miss(self, key: ConversationKey) -> None:
        """Nobody is there, or not any more."""
        self._undelivered.pop(key, None)
        if (customer := self._customers.get(key)) is not None:
            customer.show(None)

    def _tell(self, key: ConversationKey, event: Event) -> None:
        """Bring the result of an effect home, also to a customer made anew meanwhile."""
        if (customer := self._customers.get(key)) is None:
            self._undelivered.setdefault(key, []).append(event)
            self.look(key)
        else:
            customer.actor_ref.tell(event)

    def _ring(self, key: ConversationKey, at: datetime, gated: bool) -> None:  # noqa: FBT001
        if gated:
            self.gate.ask(key, at)
        else:
            self._fire(key)
        self._world.probe.timer_fired((self._world.clock.now() - at).total_seconds())

    def _fire(self, key: ConversationKey) -> bool:
        """Tell a customer that its time has come; False: it is not in memory."""
        customer = self._customers.get(key)
        if customer is None:
            return False
        customer.actor_ref.tell(TimerFired())
        return True

    def _stepped(self, customer: Customer) -> None:
        key, state = customer.key, customer.state
        if not any(isinstance(message, TimerFired) for message in customer.mailbox):
            # Else it may have a place that it is about to use.
            self.gate.hold(key, inside=isinstance(state, Recalling | AtTheAI))
        self._idle.pop(key, None)
        self._open.discard(key)
        if isinstance(state, Idle):
            # Not before: one that fails at the end of every burst reads its rows well each time.
            self._recovery.well(key)
        if isinstance(state, Idle | None):  # None: another process acts for it, or nobody is there
            self._idle[key] = self._world.clock.monotonic()
        elif not isinstance(state, Gathering):
            self._open.add(key)

    def _failed(self, customer: Customer) -> None:
        """Make a new actor from the rows, after a pause that grows; give up on one that goes on."""
        key = customer.key
        if self._customers.get(key) is customer:
            del self._customers[key]
        self._idle.pop(key, None)
        self.gate.hold(key, inside=False)
        results = [m for m in customer.mailbox if not isinstance(m, Look | TimerFired)]
        if results:
            self._undelivered.setdefault(key, []).extend(results)
        self._recovery.failed(key)

    def _look_later(self, key: ConversationKey) -> None:
        self._recovery.later(key, self._bounds.fence_seconds)
