"""What a conversation asks the world for. Imperative, frozen; the performer alone interprets them.

An effect has a `key`. Two effects with one key are the same effect: it is started once, and it is
stopped when the state no longer wants it.

| effect | answered by |
| --- | --- |
| `WakeAt` | `TimerFired` |
| `Recall` | `HistoryRecalled` |
| `EnsureConversation` | `ConversationEnsured` or `AnswerFailed` |
| `Ask` | `Answered` or `AnswerFailed` |
| `Reconcile` | `Answered`, `Reconciled` or `AnswerFailed` |
| `Send` | `SendAccepted` or `SendFailed` |
"""

from dataclasses import dataclass
from datetime import datetime

from relevo.messages import Address, Message
from relevo.turns import Part, Turn

EffectKey = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Say when this instant has come. `gated` ones wait for a free place at the AI."""

    at: datetime
    gated: bool = False

    @property
    def key(self) -> EffectKey:
        """Return what makes it the same effect."""
        return ("wake", self.at, self.gated)


@dataclass(frozen=True, slots=True)
class Recall:
    """Ask the channel's history for everything after `since`. Urgent ones go first."""

    turn_id: int
    attempt: int
    channel_id: str
    address: Address
    since: datetime
    urgent: bool

    @property
    def key(self) -> EffectKey:
        """Return what makes it the same effect."""
        return ("recall", self.turn_id, self.attempt)


@dataclass(frozen=True, slots=True)
class EnsureConversation:
    """Make a conversation at the AI, seeded with what we know was told before."""

    turn_id: int
    attempt: int

    @property
    def key(self) -> EffectKey:
        """Return what makes it the same effect."""
        return ("ensure", self.turn_id, self.attempt)


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the AI for the answer to a turn."""

    turn: Turn
    ai_conversation: str | None
    messages: tuple[Message, ...]
    missed: tuple[Message, ...]
    timezone: str

    @property
    def key(self) -> EffectKey:
        """Return what makes it the same effect."""
        return ("ask", self.turn.id, self.turn.attempt)


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Look whether the AI has answered what was asked, and we never heard of it."""

    asked: Ask

    @property
    def key(self) -> EffectKey:
        """Return what makes it the same effect."""
        return ("reconcile", self.asked.turn.id, self.asked.turn.attempt)


@dataclass(frozen=True, slots=True)
class Send:
    """Give one part to the provider."""

    part: Part
    channel_id: str
    address: Address

    @property
    def key(self) -> EffectKey:
        """Return what makes it the same effect."""
        return ("send", self.part.message_id, self.part.attempt)


Effect = WakeAt | Recall | EnsureConversation | Ask | Reconcile | Send
