"""A turn: a burst of customer messages and what came of it. Also the marks between turns.

Marks are moved only by turn commits and only forward. A turn's row is everything needed to explain
it later (`relevo why`) and to go on with it after a crash.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from relevo.messages import Address, ConversationKey


class Verdict(StrEnum):
    """What the silence before a turn means."""

    NONE = "none"
    GAP = "gap"
    FIRST_CONTACT = "first_contact"


class RecallReason(StrEnum):
    """Why the provider's history is asked."""

    GAP = "gap"
    FIRST_CONTACT = "first_contact"
    LATE = "late"
    OWED = "owed"


class RecallStatus(StrEnum):
    """How the recall of a turn ended."""

    NOT_NEEDED = "not_needed"
    COMPLETE = "complete"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"
    TRUNCATED = "truncated"


class Stage(StrEnum):
    """Where an open turn stands."""

    RECALLING = "recalling"
    ENSURING = "ensuring"
    ANSWERING = "answering"
    RECONCILING = "reconciling"
    SENDING = "sending"
    ENDED = "ended"


class Outcome(StrEnum):
    """How a turn ended; exactly one."""

    ANSWERED = "answered"
    ANSWERED_BY_HUMAN = "answered_by_human"
    HELD = "held"
    NO_REPLY = "no_reply"
    REFUSED = "refused"
    FAILED = "failed"
    MERGED = "merged"
    SENT = "sent"
    """Of a send of ours that answers nobody: it has left."""


class Purpose(StrEnum):
    """What a turn is for: to answer customer messages, or only to send what we were asked to."""

    REPLY = "reply"
    SEND = "send"


class PartState(StrEnum):
    """Where one part of a reply stands in the outbox."""

    PENDING = "pending"
    SENDING = "sending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DEAD = "dead"
    CANCELLED = "cancelled"


PARTS_TERMINAL = frozenset({PartState.ACCEPTED, PartState.DEAD, PartState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that a turn obeys; a business's own, lowered by the customer's tags."""

    quiet_seconds: float = 35
    gather_max_seconds: float = 120
    gap_seconds: float = 300
    first_contact_lookback_seconds: float = 86_400
    recall_timeout_seconds: float = 10
    late_answer_seconds: float = 1800
    answer_timeout_seconds: float = 90
    ai_conversations: bool = True
    """Whether the assistant keeps a conversation of its own, made before it is asked."""
    answer_total_seconds: float = 150
    """How long a turn may be about its answer, with all tries and waits, before it is given up."""
    human_hold_seconds: float = 0
    """How long we stay silent after a colleague's message."""
    fallback_text: str = ""
    """Said once when a turn fails for good; empty: nothing."""
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Marks:
    """The instants that gaps are measured from. Only turn commits move them, only forward."""

    last_customer_at: datetime | None = None
    last_assistant_at: datetime | None = None
    last_agent_at: datetime | None = None
    known_to: datetime | None = None
    """The end of the last complete recall."""
    told_to: datetime | None = None
    """The event time of the newest message the AI was told."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a conversation keeps between turns; its row.

    `version` is that of the row; every turn commit is conditional on it and raises it by one.
    """

    key: ConversationKey
    version: int = 0
    marks: Marks = field(default_factory=Marks)
    owed_since: datetime | None = None
    """Where the last recall that was needed began, if it did not complete: it is owed."""
    new_contact: bool = False
    """The provider called this contact new: there is nothing to look back at."""
    ai_conversation: str | None = None
    hold_until: datetime | None = None
    """A hold ends then, or ended: what was received before is held."""
    hold_released_at: datetime | None = None
    """A person gave the chat back then: colleagues' messages before it hold nothing any more."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer cost: tokens as billed, seconds as waited."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """A closed burst. `id` is the newest unread message's, so it needs no chance to be unique."""

    id: int
    stage: Stage
    channel_id: str
    address: Address
    opened_at: datetime
    """Event time of its first message."""
    closed_at: datetime
    """When gathering ended."""
    previous_customer_at: datetime | None
    previous_assistant_at: datetime | None
    verdict: Verdict
    silence_seconds: float | None
    threshold_seconds: float
    message_ids: tuple[int, ...]
    newest_at: datetime
    """When the newest of its messages was received; reply latency is measured from here."""
    recall: RecallStatus = RecallStatus.NOT_NEEDED
    recall_reasons: tuple[RecallReason, ...] = ()
    recall_since: datetime | None = None
    recall_urgent: bool = False
    """Goes before look-backs at the provider."""
    recall_known_to: datetime | None = None
    """`known_to` as it stood when the recall was asked."""
    recalled: int = 0
    """Messages that the recall brought and nothing else had."""
    matched_by_content: int = 0
    missed_ids: tuple[int, ...] = ()
    missed_left_out: int = 0
    attempt: int = 0
    """Tries of the current stage's effect, so that a late result of an earlier try is known."""
    tries: int = 0
    """Failures of the current stage in a row; waits grow with it and end with it."""
    replaced: bool = False
    """The AI conversation was replaced once within this turn."""
    wait_until: datetime | None = None
    """The stage's effect is tried again then."""
    deadline_at: datetime | None = None
    """The stage's effect is given up then."""
    answer_ends_at: datetime | None = None
    """The whole answer, with all its tries, is given up then."""
    purpose: Purpose = Purpose.REPLY
    outcome: Outcome | None = None
    reason: str = ""
    response_id: str = ""
    discarded_responses: tuple[str, ...] = ()
    """What the AI has stored for this turn besides, and what answered nobody."""
    model: str = ""
    cost: Cost = field(default_factory=Cost)
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One numbered part of a reply, in the outbox. Its row is also a message of the thread."""

    message_id: int
    turn_id: int
    number: int
    text: str
    correlation_id: str
    created_at: datetime
    state: PartState = PartState.PENDING
    attempt: int = 0
    started_at: datetime | None = None
    """When the current attempt was committed."""
    first_started_at: datetime | None = None
    """When the first attempt was committed: history is searched from here."""
    deadline_at: datetime | None = None
    resent: bool = False
    """The one guarded re-send after an unknown outcome has been used."""
    window_ends_at: datetime | None = None
    """The provider takes no free text after this: 24 h from the customer's last message."""
    proven: bool = False
    """A status or an echo says that the provider has it, while we do not know it otherwise."""
    reason: str = ""
