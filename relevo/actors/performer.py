"""The performer: the one interpreter of effects.

What a state wants is compared with what is under way for its customer: the missing is started, the
unwanted stopped. Results go back to the customer as events. A send or an AI call starts only within
5 s of the step that wanted it, its commit and all waiting included: its deadline counts from that
step too, and after it the customer looks for the send, or another process takes it up.
"""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar, assert_never

from relevo import prompt
from relevo.actors.alarms import Alarms
from relevo.actors.ports import Assistant, Businesses, Journal, Probe, ShortTexts
from relevo.actors.reports import broken, failed, too_late, word
from relevo.ai_conversations import AiConversation
from relevo.clock import Clock, sleep
from relevo.effects import (
    Ask,
    Effect,
    EffectKey,
    EnsureConversation,
    Recall,
    Reconcile,
    Send,
    WakeAt,
)
from relevo.errors import StoreUnavailableError
from relevo.events import (
    Answered,
    AnswerFailure,
    ConversationEnsured,
    Event,
    Finding,
    HistoryRecalled,
    Reconciled,
    ReplyPart,
    SendAccepted,
    SendFailed,
)
from relevo.messages import ConversationKey, Message
from relevo.outcomes import Accepted, Answer, NoAnswer, Prompt
from relevo.states import PROOF_OVERLAP
from relevo.tasks import Running, Tasks, is_stopped
from relevo.turns import Turn

START_WITHIN_SECONDS = 5.0
"""A send or AI call that could not start so soon after its step is not started any more.

With the 15 s that an adapter gives a send at most, it is over when its deadline of 20 s passes.
"""

THREAD_MAX = 20
"""Messages a new conversation at the AI is seeded with; more than 20 cannot be given at once."""

LOCAL_THREAD_MAX = 40
"""Messages sent with every question to an AI that keeps no conversation of its own."""

STORE_RETRY_SECONDS = 0.5

T = TypeVar("T")
Tell = Callable[[ConversationKey, Event], None]


@dataclass(frozen=True, slots=True)
class World:
    """What effects are performed with."""

    journal: Journal
    businesses: Businesses
    clock: Clock
    probe: Probe


class Performer:
    """Keeps, for every customer, exactly what its state wants under way."""

    def __init__(self, world: World, alarms: Alarms, tasks: Tasks, tell: Tell) -> None:
        self._world = world
        self._alarms = alarms
        self._tasks = tasks
        self._tell = tell
        self._under_way: dict[ConversationKey, dict[EffectKey, Running]] = {}

    @property
    def in_flight(self) -> int:
        """Return how many effects wait for the world."""
        return sum(len(effects) for effects in self._under_way.values())

    def running(self, key: ConversationKey) -> frozenset[EffectKey]:
        """Return the effects that are under way for a customer."""
        return frozenset(self._under_way.get(key, ()))

    def perform(self, key: ConversationKey, effects: tuple[Effect, ...], stepped_at: float) -> None:
        """Have exactly these under way; `stepped_at` is the monotonic time before their step."""
        under_way = self._under_way.get(key, {})
        desired = {effect.key for effect in effects}
        for effect_key in [k for k in under_way if k not in desired]:
            under_way.pop(effect_key).cancel()
        wakes = [effect for effect in effects if isinstance(effect, WakeAt)]
        if wakes:
            self._alarms.set(key, wakes[0].at, gated=wakes[0].gated)
        else:
            self._alarms.drop(key)
        for effect in effects:
            if not isinstance(effect, WakeAt) and effect.key not in under_way:
                under_way[effect.key] = self._tasks.spawn(
                    self._run(key, effect, stepped_at), type(effect).__name__
                )
        if under_way:
            self._under_way[key] = under_way
        else:
            self._under_way.pop(key, None)

    async def with_rows(
        self, key: ConversationKey, recall: Recall, event: HistoryRecalled
    ) -> HistoryRecalled:
        """Return the result of a recall with our own rows of its window, as they are stored now."""
        since = min([recall.since, *(i.event_at for i in event.items if i.event_at)])
        since -= PROOF_OVERLAP
        named = {name for item in event.items for name in item.keys}
        journal = self._world.journal
        rows = await self._patiently(lambda: journal.window(key, since, recall.channel_id, named))
        return replace(event, rows=rows)

    async def _run(self, key: ConversationKey, effect: Effect, stepped_at: float) -> None:
        try:
            event = await self._observed(key, effect, stepped_at)
        except CancelledError as error:
            if is_stopped():
                raise
            self._bring_home(key, effect, broken(effect, self._world.clock.now()))
            raise RuntimeError("what this effect waited for was given up") from error
        except Exception:
            # A bug, and reported as one; the customer must hear of it all the same.
            self._bring_home(key, effect, broken(effect, self._world.clock.now()))
            raise
        self._bring_home(key, effect, event)

    def _bring_home(self, key: ConversationKey, effect: Effect, event: Event) -> None:
        if is_stopped():
            return  # not wanted any more, and another one may be under way in its place
        under_way = self._under_way.get(key, {})
        under_way.pop(effect.key, None)
        if not under_way:
            self._under_way.pop(key, None)
        self._tell(key, event)

    async def _observed(self, key: ConversationKey, effect: Effect, stepped_at: float) -> Event:
        started = self._world.clock.monotonic()
        self._world.probe.effect_starting(effect)
        outcome = "cancelled"
        try:
            event = await self._performed(key, effect, stepped_at)
            outcome = word(event)
        except Exception:
            outcome = "broken"
            raise
        finally:
            seconds = self._world.clock.monotonic() - started
            self._world.probe.effect_finished(effect, seconds, outcome)
        return event

    async def _performed(self, key: ConversationKey, effect: Effect, stepped_at: float) -> Event:
        match effect:
            case Recall():
                return await self._recall(key, effect)
            case EnsureConversation():
                return await self._ensure(key, effect, stepped_at)
            case Ask():
                return await self._ask(key, effect, stepped_at)
            case Reconcile():
                return await self._reconcile(key, effect.asked)
            case Send():
                return await self._send(key, effect, stepped_at)
            case WakeAt():
                raise AssertionError("alarms are set, not run")
            case _:
                assert_never(effect)

    def _is_late(self, stepped_at: float) -> bool:
        return self._world.clock.monotonic() - stepped_at > START_WITHIN_SECONDS

    async def _recall(self, key: ConversationKey, effect: Recall) -> Event:
        channel = self._world.businesses.channel(key.business_id, effect.channel_id)
        known_to = self._world.clock.now()
        history = await channel.history(effect.address, effect.since, urgent=effect.urgent)
        journal = self._world.journal
        ids = await self._patiently(lambda: journal.reserve(len(history.items)))
        items = tuple(
            replace(item, id=message_id)
            for item, message_id in zip(history.items, ids, strict=True)
        )
        recalled = HistoryRecalled(
            effect.turn_id, effect.attempt, history.status, known_to, items, reason=history.reason
        )
        return await self.with_rows(key, effect, recalled)

    async def _ensure(
        self, key: ConversationKey, effect: EnsureConversation, stepped_at: float
    ) -> Event:
        told = await self._patiently(lambda: self._world.journal.told(key, THREAD_MAX))
        if self._is_late(stepped_at):
            return too_late(effect)
        assistant = self._world.businesses.assistant(key.business_id)
        made = await assistant.ensure()
        if isinstance(made, NoAnswer):
            return failed(effect.turn_id, effect.attempt, made)
        refused = await self._seed(key, assistant, made, prompt.seed(told))
        if refused is not None:
            return failed(effect.turn_id, effect.attempt, refused)
        return ConversationEnsured(effect.turn_id, effect.attempt, made)

    async def _seed(
        self, key: ConversationKey, assistant: Assistant, made: AiConversation, seed: Prompt
    ) -> NoAnswer | None:
        """Put in what was said before: not until it is written down where it has to be erased.

        An empty one is written down by the commit that takes it.
        """
        if not seed.thread:
            return None
        if not await self._patiently(lambda: self._world.journal.keep(key, made)):
            return NoAnswer(AnswerFailure.TRANSIENT, "customer_gone")
        return await assistant.seed(made, seed)

    async def _ask(self, key: ConversationKey, effect: Ask, stepped_at: float) -> Event:
        turn = effect.turn
        asked = self._world.clock.monotonic()
        journal = self._world.journal
        told: tuple[Message, ...] = ()
        if effect.ai_conversation is None:
            told = await self._patiently(lambda: journal.told(key, LOCAL_THREAD_MAX))
        if self._is_late(stepped_at):
            return too_late(effect)
        question = prompt.build(turn, effect.messages, effect.missed, effect.timezone, told)
        assistant = self._world.businesses.assistant(key.business_id)
        answer = await assistant.answer(effect.ai_conversation, question)
        if not isinstance(answer, Answer):
            return failed(turn.id, turn.attempt, answer)
        return await self._answered(key, turn, answer, asked)

    async def _reconcile(self, key: ConversationKey, effect: Ask) -> Event:
        """Look for the answer to what was asked; the prompt is the one that was asked with."""
        turn = effect.turn
        asked = self._world.clock.monotonic()
        assert effect.ai_conversation is not None
        told = await self._patiently(lambda: self._world.journal.told(key, THREAD_MAX))
        question = prompt.build(turn, effect.messages, effect.missed, effect.timezone, told)
        assistant = self._world.businesses.assistant(key.business_id)
        found = await assistant.reconcile(effect.ai_conversation, question)
        if isinstance(found, Answer):
            return await self._answered(key, turn, found, asked)
        if isinstance(found, Finding):
            return Reconciled(turn.id, turn.attempt, found)
        return failed(turn.id, turn.attempt, found)

    async def _answered(
        self, key: ConversationKey, turn: Turn, answer: Answer, asked: float
    ) -> Event:
        journal = self._world.journal
        line = self._world.businesses.channel(key.business_id, turn.channel_id)
        limit = prompt.REPLY_PART_CHARACTERS_MAX
        if isinstance(line, ShortTexts):
            limit = line.text_characters_max
        texts = prompt.split_reply(answer.text, limit)
        ids = await self._patiently(lambda: journal.reserve(len(texts)))
        seconds = self._world.clock.monotonic() - asked
        return Answered(
            turn.id,
            turn.attempt,
            tuple(ReplyPart(*part) for part in zip(ids, texts, strict=True)),
            answer.response_id,
            answer.model,
            replace(answer.cost, seconds=seconds),
        )

    async def _send(self, key: ConversationKey, effect: Send, stepped_at: float) -> Event:
        if self._is_late(stepped_at):
            return too_late(effect)
        part = effect.part
        channel = self._world.businesses.channel(key.business_id, effect.channel_id)
        outcome = await channel.send(effect.address, part.text, part.correlation_id)
        if isinstance(outcome, Accepted):
            return SendAccepted(
                part.message_id, part.attempt, self._world.clock.now(), outcome.keys
            )
        return SendFailed(
            part.message_id,
            part.attempt,
            outcome.failure,
            outcome.reason,
            outcome.retry_after_seconds,
        )

    async def _patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read from the store, however long it is away: nothing can be committed without it."""
        while True:
            try:
                return await read()
            except StoreUnavailableError:
                await sleep(self._world.clock, STORE_RETRY_SECONDS)
