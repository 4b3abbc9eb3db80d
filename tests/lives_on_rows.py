"""Customers whose life is led by hand on real rows: the core's steps, the store's commits.

Every move reads the rows and resumes, as after a crash, so a story may begin, and go on, at any
phase of a turn, and meet whatever the store did meanwhile.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from relevo.conversation import resume, step
from relevo.effects import Ask, EnsureConversation, Recall, Reconcile, Send, WakeAt
from relevo.events import (
    Answered,
    AnswerFailed,
    AnswerFailure,
    ConversationEnsured,
    Event,
    Finding,
    HistoryRecalled,
    Looked,
    Reconciled,
    ReplyPart,
    SendAccepted,
    SendFailed,
    SendFailure,
    TimerFired,
)
from relevo.messages import Address, Author, ConversationKey
from relevo.outgoing import Draft
from relevo.states import State, Step, wanted
from relevo.store import holding
from relevo.turns import RecallStatus, Rules
from relevo.writes import Rows
from tests.outgoing_rig import asked
from tests.store_rig import BUSINESS, NOON, Desk, said

RULES = Rules(quiet_seconds=35, gap_seconds=300, first_contact_lookback_seconds=86_400)
MOVES_MAX = 60
WHOSE = "SELECT conversation_id FROM address WHERE kind = $1 AND value = $2"


class Life:
    """One customer under one address."""

    def __init__(self, store: Desk, address: Address, name: str) -> None:
        self.store = store
        self.address = address
        self.name = name
        self.said = 0
        self.sent: list[str] = []

    async def says(self, *, also: tuple[Address, ...] = ()) -> None:
        self.said += 1
        body = f"{self.name} {self.said}"
        message = said(body, addresses=(self.address, *also), after_seconds=self._seconds)
        await self.store.deliver(message, after_seconds=self._seconds)

    @property
    def _seconds(self) -> float:
        return (self.store.clock.now() - NOON).total_seconds()

    async def key(self) -> ConversationKey:
        async with self.store.pools.tenant(BUSINESS) as connection:
            found = await connection.fetchval(WHOSE, *self.address)
        return ConversationKey(BUSINESS, found)

    async def rows(self) -> Rows:
        key = await self.key()
        return (await self.store.journal.load([key]))[key]

    async def state(self) -> State:
        return resume(await self.rows(), RULES).state

    async def does(self, event: Event) -> Step:
        """Look at the rows and take one event, committing what each of both decides."""
        rows = await self.rows()
        looked = Looked(rows.untold, rows.witnesses, rows.conversation.new_contact)
        done = await self._commit(resume(rows, RULES).state, looked)
        return await self._commit(done.state, event)

    async def _commit(self, state: State, event: Event) -> Step:
        done = step(state, event, self.store.clock.now())
        if done.writes is not None:
            assert await self.store.journal.commit(done.writes), "nobody else is at work"
        return done

    async def lives_on(self, until: Callable[[State], bool] = lambda _: False) -> State:
        """Let the world answer whatever is wanted, until nothing is, or the phase is reached."""
        state = await self.state()
        for _ in range(MOVES_MAX):
            effects = wanted(state)
            if until(state) or not effects:
                return state
            wakes = [e for e in effects if isinstance(e, WakeAt)]
            asked = next((e for e in effects if not isinstance(e, WakeAt)), None)
            if asked is None:
                self.store.clock.advance_to(max(wakes[0].at, self.store.clock.now()))
                state = (await self.does(TimerFired())).state
            else:
                state = (await self.does(await self._result(asked))).state
        raise AssertionError(f"{self.name} never comes to rest: {state}")

    async def _result(self, effect: Recall | EnsureConversation | Ask | Reconcile | Send) -> Event:
        match effect:
            case Recall():
                key, now = await self.key(), self.store.clock.now()
                rows = await self.store.journal.window(key, effect.since)
                complete = RecallStatus.COMPLETE
                return HistoryRecalled(effect.turn_id, effect.attempt, complete, now, (), rows)
            case EnsureConversation():
                conversation = f"conv_{effect.turn_id}"
                return ConversationEnsured(effect.turn_id, effect.attempt, conversation)
            case Ask():
                [reserved] = await self.store.journal.reserve(1)
                part = ReplyPart(reserved, f"reply to {effect.turn.id}")
                turn = effect.turn
                return Answered(turn.id, turn.attempt, (part,), "resp_1", "model-1")
            case Reconcile():
                turn = effect.asked.turn
                return Reconciled(turn.id, turn.attempt, Finding.NOT_STORED)
            case Send():
                self.sent.append(effect.part.text)
                now = self.store.clock.now()
                return SendAccepted(effect.part.message_id, effect.part.attempt, now)


def _at(name: str) -> Callable[[State], bool]:
    return lambda state: type(state).__name__ == name


async def idle(life: Life) -> None:
    await life.says()
    await life.lives_on()


async def gathering(life: Life) -> None:
    await idle(life)
    await life.says()


async def _stands_at(life: Life, name: str) -> None:
    await life.says()
    await life.lives_on(_at(name))


async def recalling(life: Life) -> None:
    await _stands_at(life, "Recalling")


async def ensuring(life: Life) -> None:
    await _stands_at(life, "Ensuring")


async def answering(life: Life) -> None:
    await idle(life)
    await _stands_at(life, "Answering")


async def reconciling(life: Life) -> None:
    await answering(life)
    await _fails(life, AnswerFailure.UNKNOWN)


async def failed(life: Life) -> None:
    """A dead letter is open."""
    await answering(life)
    await _fails(life, AnswerFailure.PERMANENT)


async def _fails(life: Life, failure: AnswerFailure) -> None:
    [ask] = [e for e in wanted(await life.state()) if isinstance(e, Ask)]
    await life.does(AnswerFailed(ask.turn.id, ask.turn.attempt, failure, "http_500"))


async def sending(life: Life) -> None:
    await _stands_at(life, "Sending")


async def in_doubt(life: Life) -> None:
    await sending(life)
    await _is_refused(life, SendFailure.UNKNOWN)


async def paced(life: Life) -> None:
    """A part was not taken, and waits for its next try."""
    await sending(life)
    await _is_refused(life, SendFailure.NOT_SENT)


async def _is_refused(life: Life, failure: SendFailure) -> None:
    [send] = [e for e in wanted(await life.state()) if isinstance(e, Send)]
    life.sent.append(send.part.text)
    await life.does(SendFailed(send.part.message_id, send.part.attempt, failure, "timeout"))


async def held(life: Life) -> None:
    await idle(life)
    until = life.store.clock.now() + timedelta(hours=1)
    await holding.hold(life.store.pools, await life.key(), until)
    await life.says()
    await life.lives_on()


async def due(life: Life) -> None:
    """Something of ours has to be sent, and answers nobody."""
    await idle(life)
    reminder = Draft("Recuerde", Author.AUTOMATION)
    await asked(life.store, await life.key(), reminder, life.store.clock.now())


PHASES: tuple[Callable[[Life], Awaitable[None]], ...] = (
    idle,
    gathering,
    recalling,
    ensuring,
    answering,
    reconciling,
    failed,
    sending,
    in_doubt,
    paced,
    held,
    due,
)
"""Every phase of a turn at which a merge may come."""
