"""What the actors need from the rest of the shell. Declared by the caller; wired in `app.py`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from relevo.ai_conversations import AiConversation
from relevo.effects import Effect
from relevo.events import Finding
from relevo.messages import Address, ConversationKey, Message
from relevo.outcomes import Accepted, Answer, History, NoAnswer, NotAccepted, Prompt
from relevo.turns import Rules, Turn
from relevo.writes import Rows, Unread, Writes


@dataclass(frozen=True, slots=True)
class Fence:
    """Who may act on a turn's effects, and until when the others keep away."""

    incarnation: int
    deadline_at: datetime


class Journal(Protocol):
    """The port to the store. Every method raises `StoreUnavailableError` when it cannot be used."""

    async def load(self, keys: Sequence[ConversationKey]) -> Mapping[ConversationKey, Rows]:
        """Read whole conversations, each consistent in itself; unknown ones are absent."""

    async def commit(self, writes: Writes) -> bool:
        """Commit one step. False: the version was not the expected one, nothing was written."""

    async def window(
        self,
        key: ConversationKey,
        since: datetime,
        channel_id: str = "",
        named: Collection[str] = (),
    ) -> tuple[Message, ...]:
        """Read a conversation's messages since an instant, oldest first, with all their ids.

        Also those that one of the ids `named` on this channel belongs to, whatever their time, and
        whosever they are.
        """

    async def told(self, key: ConversationKey, limit: int) -> tuple[Message, ...]:
        """Read the newest `limit` messages that the AI was told, or said, oldest first."""

    async def keep(self, key: ConversationKey, ai_conversation: str) -> bool:
        """Write down that the AI has a conversation for a customer; False: he is not there."""

    async def reserve(self, count: int) -> Sequence[int]:
        """Take message ids from the sequence, ascending."""

    async def unread(self, received_after: datetime | None) -> Mapping[ConversationKey, Unread]:
        """Count unread rows per conversation that has any; with open turns when asked for all."""


class Channel(Protocol):
    """A business's line at a provider, outbound."""

    async def history(self, address: Address, since: datetime, *, urgent: bool) -> History:
        """Ask what was said with this customer after `since`. Never raises for the provider."""

    async def send(
        self, address: Address, text: str, correlation_id: str
    ) -> Accepted | NotAccepted:
        """Give a text to the provider. Never raises for the provider."""


@runtime_checkable
class ShortTexts(Protocol):
    """What a line offers too whose provider takes only shorter texts than WhatsApp does.

    `runtime_checkable`, so that the other lines have nothing to say about it.
    """

    @property
    def text_characters_max(self) -> int:
        """Return how long one text may be."""


class Assistant(Protocol):
    """An AI behind one door."""

    async def ensure(self) -> AiConversation | NoAnswer:
        """Make a conversation with nothing in it, and return its id."""

    async def seed(self, ai_conversation: AiConversation, seed: Prompt) -> NoAnswer | None:
        """Put `seed.thread` into a conversation that is new; None: it is in."""

    async def answer(self, ai_conversation: str | None, prompt: Prompt) -> Answer | NoAnswer:
        """Answer a turn. Never raises for the AI."""

    async def reconcile(self, ai_conversation: str, prompt: Prompt) -> Answer | Finding | NoAnswer:
        """Look whether a call that never came back was stored: its answer, or what is found.

        `prompt` is the one that was asked, with `thread` as the AI was told it before. Reads only.
        """


class Businesses(Protocol):
    """What is configured, by id."""

    def rules(self, business_id: str, tags: Sequence[str]) -> Rules:
        """Return the rules for a customer with these tags; several tags: the smallest value."""

    def channel(self, business_id: str, channel_id: str) -> Channel:
        """Return the line; a line that is no longer configured refuses everything."""

    def assistant(self, business_id: str) -> Assistant:
        """Return the business's AI."""


class Probe(Protocol):
    """Observes, and never changes anything. What it raises is a bug."""

    def committing(self, writes: Writes) -> None:
        """A step is about to be committed."""

    def committed(self, writes: Writes) -> None:
        """A step has been committed."""

    def commit_lost(self) -> None:
        """A commit lost its race; the actor starts again from the rows."""

    def effect_starting(self, effect: Effect) -> None:
        """An effect is about to leave."""

    def effect_finished(self, effect: Effect, seconds: float, outcome: str) -> None:
        """An effect has come back, with a word for how."""

    def turn_ended(self, business_id: str, conversation_id: int, turn: Turn) -> None:
        """A turn has an outcome, committed."""

    def activated(self) -> None:
        """A customer's actor came to memory."""

    def passivated(self) -> None:
        """An idle customer's actor left memory."""

    def restarted(self) -> None:
        """A failed actor was replaced by one made from the rows."""

    def set_aside(self) -> None:
        """An actor that kept failing is left alone for a while, whatever is written to it."""

    def mailbox_waited(self, seconds: float) -> None:
        """A message lay this long in a mailbox."""

    def timer_fired(self, lateness_seconds: float) -> None:
        """A deadline was met, this much late."""


class Chores(Protocol):
    """What a sweep sees to besides. Every method may raise `StoreUnavailableError`."""

    async def swept(self, unread: Mapping[ConversationKey, int]) -> None:
        """A sweep has counted the unread rows of the last minutes, per conversation."""

    async def keep_up(self) -> None:
        """A minute has passed: whatever has to be tidied up now and then."""


class NoChores:
    """Nothing has to be seen to."""

    async def swept(self, unread: Mapping[ConversationKey, int]) -> None:
        """Do nothing."""

    async def keep_up(self) -> None:
        """Do nothing."""
