"""What can happen to a conversation. Past tense, frozen; the only input of the core.

A mailbox carries `Looked` (the rows were read), `TimerFired`, and results of effects. A result
names the turn and the attempt it belongs to, so that a late one changes nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from relevo.messages import HistoryItem, Message
from relevo.turns import Cost, RecallStatus


@dataclass(frozen=True, slots=True)
class Looked:
    """The rows of this conversation were read, at the version that memory has.

    `untold` is everything the AI was not told, ordered; `witnesses` are stored messages near in
    time to webhook rows among them, with which one of them may be the same message (rule 5).
    """

    untold: tuple[Message, ...]
    witnesses: tuple[Message, ...] = ()
    new_contact: bool = False


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The instant that the state asked to be woken at has come, or passed."""


@dataclass(frozen=True, slots=True)
class HistoryRecalled:
    """The provider's history was asked.

    `items` are oldest first; `rows` are our own messages of that window, to match them with;
    `known_to` is the instant the asking began.
    """

    turn_id: int
    attempt: int
    status: RecallStatus
    known_to: datetime
    items: tuple[HistoryItem, ...] = ()
    rows: tuple[Message, ...] = ()
    reason: str = ""
    """A word for why it is not complete."""


@dataclass(frozen=True, slots=True)
class ConversationEnsured:
    """The AI has a conversation for this customer now."""

    turn_id: int
    attempt: int
    ai_conversation: str


class AnswerFailure(StrEnum):
    """Why the AI gave no answer, by what can be done about it."""

    CONVERSATION_UNUSABLE = "conversation_unusable"
    """Invalid, missing or foreign: replaced once and seeded again from our rows."""
    BUSY = "busy"
    """Locked by a call that still runs: waits, nothing was stored."""
    TRANSIENT = "transient"
    """An HTTP answer that says later: tried again, nothing was stored."""
    RATE_LIMITED = "rate_limited"
    """The key is braked: tried again when it says, however often, within the turn's total time."""
    UNKNOWN = "unknown"
    """No usable answer came back: the AI may have stored the turn."""
    POLICY = "policy"
    """The AI will not answer this input. What a failed turn held before is not offered again."""
    PERMANENT = "permanent"
    """Will not get better by trying again."""


class Finding(StrEnum):
    """What the AI's conversation shows of a call of unknown outcome, if it shows no answer."""

    NOT_STORED = "not_stored"
    """Nothing of the turn is there, or not yet."""
    RUNNING = "running"
    """Its input is there and no answer to it, or the conversation is locked."""
    UNCLEAR = "unclear"
    """It cannot be told apart from an earlier turn of the same words."""


@dataclass(frozen=True, slots=True)
class ReplyPart:
    """One part of an answer with the message id reserved for it."""

    message_id: int
    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The AI answered; without parts it chose silence."""

    turn_id: int
    attempt: int
    parts: tuple[ReplyPart, ...]
    response_id: str = ""
    model: str = ""
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    """The AI, or the making of its conversation, failed. `reason` is a word, never a body."""

    turn_id: int
    attempt: int
    failure: AnswerFailure
    reason: str
    retry_after_seconds: float | None = None
    """How long a rate limit asks to wait, if it says."""
    response_id: str = ""
    """What the AI has stored all the same, if it says."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The AI's conversation was looked at for an answer, and has none (yet)."""

    turn_id: int
    attempt: int
    finding: Finding


@dataclass(frozen=True, slots=True)
class SendAccepted:
    """The provider took a part. `keys` are the ids it gave it, perhaps none."""

    message_id: int
    attempt: int
    at: datetime
    keys: tuple[str, ...] = ()


class SendFailure(StrEnum):
    """Why a part was not sent, by what is known about it."""

    REFUSED = "refused"
    """The provider will not deliver to this customer now (window closed, blocked)."""
    REJECTED = "rejected"
    """The provider will never take this."""
    NOT_SENT = "not_sent"
    """Nothing can have left, or the provider said later: tried again."""
    RATE_LIMITED = "rate_limited"
    """Not taken, for this customer's or this line's pace: tried again when it may be."""
    STOPPED = "stopped"
    """The provider lets this line send nothing (token, account): a person has to act."""
    UNKNOWN = "unknown"
    """It may have been sent: looked for before anything is repeated."""


@dataclass(frozen=True, slots=True)
class SendFailed:
    """The provider did not take a part, or we do not know whether it did."""

    message_id: int
    attempt: int
    failure: SendFailure
    reason: str
    retry_after_seconds: float | None = None
    """How long a rate limit asks to wait, if it says."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An effect that a former life of this actor had begun will never report.

    `effect_keys` are the keys of `effects` that were wanted and are not running.
    """

    effect_keys: frozenset[tuple[object, ...]]


Event = (
    Looked
    | TimerFired
    | HistoryRecalled
    | ConversationEnsured
    | Answered
    | AnswerFailed
    | Reconciled
    | SendAccepted
    | SendFailed
    | Interrupted
)
