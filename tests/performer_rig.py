"""A performer at a desk: one of every effect, and everything that the performer works with."""

from dataclasses import replace
from datetime import timedelta

from relevo.actors.alarms import Alarms
from relevo.actors.performer import Performer
from relevo.effects import Ask, Effect, EnsureConversation, Recall, Reconcile, Send, WakeAt
from relevo.events import Event
from relevo.messages import Address, Author, ConversationKey, Message, Source
from relevo.tasks import Tasks
from relevo.turns import Part, Stage, Turn, Verdict
from tests.actors_outside import Door
from tests.actors_rig import PHONE, START, Outside
from tests.fakes.clock import settle, until

ADDRESS = Address("phone", PHONE)
MESSAGE = Message(7, Author.CUSTOMER, "text", "Hola", START, START, Source.WEBHOOK, "line", ADDRESS)
TURN = Turn(
    id=7,
    stage=Stage.ANSWERING,
    channel_id="line",
    address=ADDRESS,
    opened_at=START,
    closed_at=START,
    previous_customer_at=None,
    previous_assistant_at=None,
    verdict=Verdict.NONE,
    silence_seconds=None,
    threshold_seconds=300,
    message_ids=(7,),
    newest_at=START,
    attempt=3,
)
PART = Part(9, 7, 1, "Buenos días", "relevo-hotel-7-1", START, attempt=1)

RECALL = Recall(7, 3, "line", ADDRESS, START - timedelta(hours=1), urgent=True)
ENSURE = EnsureConversation(7, 3)
ASK = Ask(TURN, None, (MESSAGE,), (), "UTC")
RECONCILE = Reconcile(replace(ASK, ai_conversation="conv_1"))
SEND = Send(PART, "line", ADDRESS)
WAKE = WakeAt(START + timedelta(seconds=60), gated=True)
EFFECTS: dict[type[Effect], Effect] = {
    type(e): e for e in (RECALL, ENSURE, ASK, RECONCILE, SEND, WAKE)
}


class Desk:
    """A performer with everything around it, and what it has told."""

    def __init__(self) -> None:
        self.outside = Outside()
        self.key = self.outside.says("Hola")
        self.told: list[Event] = []
        self.rung: list[ConversationKey] = []
        self.failures: list[BaseException] = []
        self.tasks = Tasks(self.failures.append)
        self.alarms = Alarms(self.outside.clock, lambda key, _at, _gated: self.rung.append(key))
        self.performer = Performer(
            self.outside.world, self.alarms, self.tasks, lambda _key, event: self.told.append(event)
        )

    def perform(self, *effects: Effect, waited_seconds: float = 0) -> None:
        stepped_at = self.outside.clock.monotonic() - waited_seconds
        self.performer.perform(self.key, effects, stepped_at)

    def door_of(self, effect: Effect) -> Door:
        outside = self.outside
        doors = {
            Recall: outside.line.recalling,
            EnsureConversation: outside.ai.ensuring,
            Ask: outside.ai.answering,
            Reconcile: outside.ai.reconciling,
            Send: outside.line.sending,
        }
        return doors[type(effect)]

    async def told_of(self, count: int) -> list[Event]:
        await until(lambda: len(self.told) == count)
        return self.told

    async def advance(self, seconds: float) -> None:
        clock = self.outside.clock
        clock.advance_to(clock.now() + timedelta(seconds=seconds))
        await settle()
        await settle()
