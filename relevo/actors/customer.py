"""The customer: an actor that runs the core for one conversation, one event at a time.

Step, commit, then act. Memory changes only after the commit, effects are performed only after that.
A commit that lost its race, or whose outcome is unknown, is a restart: the rows are read again, all
of them are stepped, then what a former life has left undone, and only then the event in hand.
"""

from collections.abc import Callable
from dataclasses import dataclass

from relevo.actors.performer import Performer, World
from relevo.actors.runtime import AsyncioActor
from relevo.clock import Clock, sleep
from relevo.conversation import resume, step
from relevo.effects import EffectKey, Recall, WakeAt
from relevo.errors import StoreUnavailableError
from relevo.events import (
    Answered,
    AnswerFailed,
    ConversationEnsured,
    Event,
    HistoryRecalled,
    Interrupted,
    Looked,
    Reconciled,
    SendAccepted,
    SendFailed,
    TimerFired,
)
from relevo.messages import ConversationKey
from relevo.people import due, unread
from relevo.states import Gathering, State, gather_ends_at, wanted
from relevo.turns import Stage
from relevo.writes import Rows, Unread, Writes

LOST_RACES_MAX = 20
"""A step that loses more often than this in a row is a bug, not a race."""

CATCH_UPS_MAX = 3
"""How often a burst that is due is read again because it has grown: a flood cannot keep it open."""

RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 5.0
"""The first and the longest pause between two tries while the store is away."""


@dataclass(frozen=True, slots=True)
class Office:
    """What every customer works with; one for all of them."""

    world: World
    performer: Performer
    look: Callable[[ConversationKey], None]
    """Have the rows read (again)."""
    look_later: Callable[[ConversationKey], None]
    """Have them read when another process's deadline may have passed."""
    stepped: Callable[["Customer"], None]
    """The state has changed, or may have."""
    failed: Callable[["Customer"], None]
    """This actor is dead; another one has to be made from the rows."""


@dataclass(frozen=True, slots=True)
class Look:
    """Have a look at the rows: one bit, however often they were read meanwhile."""


class Customer(AsyncioActor):
    """One conversation in memory. Its messages are `Look` and events."""

    def __init__(self, key: ConversationKey, office: Office) -> None:
        super().__init__()
        self.key = key
        self.state: State | None = None
        self._office = office
        self._shown: Rows | None = None
        self._is_to_look = False
        self._behind = False
        self._catch_ups = 0

    def expects(self, found: Unread) -> bool:
        """Tell whether so many unread rows are known to memory, or will be read anyway in time."""
        if self.busy or self._behind:
            return self.busy or not found.pressing
        untold = self.state.untold if self.state is not None else ()
        return len(unread(untold)) + len(due(untold)) == found

    def show(self, rows: Rows | None) -> None:
        """Have rows looked at, instead of older ones; None: it reads them itself."""
        self._shown = rows
        if not self._is_to_look:
            self._is_to_look = True
            self.actor_ref.tell(Look())

    def may_look_later(self) -> bool:
        """Have new rows looked at only when the burst may be complete, if one is being gathered.

        More messages cannot make it end sooner, so nothing is late for it, and a burst is read
        twice, however many messages it has.
        """
        later = isinstance(self.state, Gathering)
        self._behind |= later
        return later

    async def on_receive(self, message: Look | Event) -> None:
        """Handle rows that were read, or an event."""
        self._office.world.probe.mailbox_waited(self.mailbox.waited_seconds)
        if isinstance(message, Look):
            rows, self._shown, self._is_to_look = self._shown, None, False
            await (self._reload(None) if rows is None else self._look(rows))
            if not self._is_due:
                self._catch_ups = 0
        elif isinstance(message, TimerFired) and self._may_catch_up():
            self._catch_up()
        elif self.state is None:
            await self._reload(message)
        else:
            await self._handle(message)
        if self._behind and not isinstance(self.state, Gathering):
            self._catch_up()
        self._office.stepped(self)

    def _may_catch_up(self) -> bool:
        """Tell whether the burst has grown and is to be read before it ends, within bounds."""
        self._catch_ups += self._behind
        return self._behind and self._catch_ups <= CATCH_UPS_MAX

    @property
    def _is_due(self) -> bool:
        now = self._office.world.clock.now()
        return isinstance(self.state, Gathering) and gather_ends_at(self.state) <= now

    def _catch_up(self) -> None:
        self._behind = False
        self._office.look(self.key)

    def on_failure(self, *_: object) -> None:
        """Leave the rest to whoever makes a new actor from the rows."""
        self._office.failed(self)

    async def _look(self, rows: Rows) -> None:
        state = self.state
        if state is None or rows.conversation.version > state.conversation.version:
            # Ingest or another process has changed what memory rests on.
            await self._restart(rows, None)
        elif rows.conversation.version < state.conversation.version:
            self._office.look(self.key)
        else:
            await self._handle(_looked(rows))

    async def _handle(self, event: Event) -> None:
        stepped_at = self._office.world.clock.monotonic()
        try:
            kept = await self._apply(event)
        except StoreUnavailableError:
            kept = False  # or stored all the same: the rows will tell
        if kept:
            self._perform(stepped_at)
        else:
            # Rows that were looked at are older than those that are read now.
            await self._reload(None if isinstance(event, Looked) else event)

    async def _apply(self, event: Event) -> bool:
        """Step and commit; False if memory no longer knows the truth."""
        assert self.state is not None
        world = self._office.world
        decided = step(self.state, event, world.clock.now())
        if decided.writes is not None and not await self._commit(decided.writes):
            return False
        self.state = decided.state
        return True

    async def _commit(self, writes: Writes) -> bool:
        world = self._office.world
        world.probe.committing(writes)
        if not await world.journal.commit(writes):
            world.probe.commit_lost()
            return False
        world.probe.committed(writes)
        if writes.turn is not None and writes.turn.stage is Stage.ENDED:
            world.probe.turn_ended(*self.key, writes.turn)
        if writes.fallback_text:
            self._office.look(self.key)  # its row is there, and nobody else knows
        return True

    async def _reload(self, in_hand: Event | None) -> None:
        await self._restart(await self._read(), in_hand)

    async def _read(self) -> Rows | None:
        """Read this conversation's rows, however long the store is away."""
        patience = _Patience(self._office.world.clock)
        while True:
            try:
                return (await self._office.world.journal.load([self.key])).get(self.key)
            except StoreUnavailableError:
                await patience.wait()

    async def _restart(self, rows: Rows | None, in_hand: Event | None) -> None:
        """Live again from the rows; a race that is lost meanwhile is another restart."""
        patience = _Patience(self._office.world.clock)
        losses = 0
        while rows is not None and not rows.fenced:
            stepped_at = self._office.world.clock.monotonic()
            try:
                if await self._relive(rows, in_hand):
                    self._perform(stepped_at)
                    return
                losses += 1
            except StoreUnavailableError:
                # Readable and not writable: no race, and no reason to hurry.
                await patience.wait()
            if losses == LOST_RACES_MAX:
                raise AssertionError("this step loses every race")
            rows = await self._read()
        self.state = None
        self._office.performer.perform(self.key, (), 0)
        if rows is not None:
            self._office.look_later(self.key)

    async def _relive(self, rows: Rows, in_hand: Event | None) -> bool:
        """Resume, step every row that was read, what was interrupted, and the event in hand."""
        rules = self._office.world.businesses.rules(self.key.business_id, rows.tags)
        self.state = resume(rows, rules).state
        lost = self._interrupted(in_hand)
        if not await self._apply(_looked(rows)):
            return False
        if lost and not await self._apply(Interrupted(lost)):
            return False
        return in_hand is None or await self._apply(await self._renewed(in_hand))

    def _interrupted(self, in_hand: Event | None) -> frozenset[EffectKey]:
        """Return what a former life had under way and nobody will report on."""
        assert self.state is not None
        known = {*self._office.performer.running(self.key), *_answers(in_hand), *self._reported()}
        return frozenset(
            effect.key
            for effect in wanted(self.state)
            if not isinstance(effect, WakeAt) and effect.key not in known
        )

    async def _renewed(self, in_hand: Event) -> Event:
        """Return it as of now: a recall's result carries rows of ours, which may be old by now.

        Those stored since would be stored twice, or lose the race again each time.
        """
        assert self.state is not None
        if isinstance(in_hand, HistoryRecalled):
            for effect in wanted(self.state):
                if isinstance(effect, Recall) and effect.key in _answers(in_hand):
                    return await self._office.performer.with_rows(self.key, effect, in_hand)
        return in_hand

    def _perform(self, stepped_at: float) -> None:
        assert self.state is not None
        reported = self._reported()
        effects = tuple(effect for effect in wanted(self.state) if effect.key not in reported)
        self._office.performer.perform(self.key, effects, stepped_at)

    def _reported(self) -> frozenset[EffectKey]:
        """Return the effects whose results wait to be stepped: done, though still wanted."""
        return frozenset(key for message in self.mailbox for key in _answers(message))


class _Patience:
    """Pauses between tries while the store is away, each longer than the one before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds = RETRY_SECONDS_MIN

    async def wait(self) -> None:
        await sleep(self._clock, self._seconds)
        self._seconds = min(self._seconds * 2, RETRY_SECONDS_MAX)


def _looked(rows: Rows) -> Looked:
    return Looked(rows.untold, rows.witnesses, rows.conversation.new_contact)


def _answers(message: object) -> tuple[EffectKey, ...]:
    """Return the keys of the effect that a message is the result of."""
    match message:
        case HistoryRecalled():
            return (("recall", message.turn_id, message.attempt),)
        case ConversationEnsured():
            return (("ensure", message.turn_id, message.attempt),)
        case Answered() | AnswerFailed() | Reconciled():
            # Attempts are counted across the stages of a turn, so only one of these was wanted.
            of = (message.turn_id, message.attempt)
            return (("ensure", *of), ("ask", *of), ("reconcile", *of))
        case SendAccepted() | SendFailed():
            return (("send", message.message_id, message.attempt),)
        case _:
            return ()
