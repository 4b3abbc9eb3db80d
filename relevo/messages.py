"""What is said in a conversation, and by whom.

A message is stored once, however often and under however many ids it was seen. Everything here is
frozen: a message never changes in memory, a new reading of the rows brings a new value.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

CLOCK_SKEW_MAX = timedelta(seconds=60)
"""A provider's clock may run ahead of ours by this much; anything later is our own time."""

EDIT = "edit"
"""The kind of what says how an earlier message reads now; it opens no turn and answers nobody."""

TEXT_KINDS = frozenset({"text", "button", "interactive", "template", EDIT})
"""Kinds of messages whose body is what was said; with other kinds it is a caption, or a name."""

REACTION = "reaction"
"""The kind that opens no turn and is never told (rule 11)."""


class Author(StrEnum):
    """Who wrote a message. `UNKNOWN` is outbound and not yet attributed; it is never guessed."""

    CUSTOMER = "customer"
    ASSISTANT = "assistant"
    AGENT = "agent"
    AUTOMATION = "automation"
    SYSTEM = "system"
    UNKNOWN = "unknown"


class Source(StrEnum):
    """How a message reached us. `TURN` is a reply of our own, or what it says when it failed.

    `SCHEDULE` is a send of ours that no turn opened, `API` what a person asked of us, `IMPORT` what
    an older system knew.
    """

    WEBHOOK = "webhook"
    HISTORY = "history"
    TURN = "turn"
    SCHEDULE = "schedule"
    API = "api"
    IMPORT = "import"


class Fate(StrEnum):
    """How a customer's message ended; `IN_FLIGHT` until it did. Exactly one at any time."""

    IN_FLIGHT = "in_flight"
    ANSWERED = "answered"
    ANSWERED_BY_HUMAN = "answered_by_human"
    NO_REPLY = "no_reply"
    HELD = "held"
    CONTEXT = "context"
    REFUSED = "refused"
    DEAD = "dead"
    REVOKED = "revoked"


class Untold(StrEnum):
    """Why a message still waits to be told to the AI.

    `UNREAD` wants an answer, `FAILED` wanted one and joins the next turn, `CONTEXT` is only told.
    `HELD` came while a human had the chat: told like context, answered only if a person asks.
    `ASKED` is that request, a row of its own; `DUE` is a message of ours that has to be sent first.
    A message without one of these was told (or never will be).
    """

    UNREAD = "unread"
    FAILED = "failed"
    CONTEXT = "context"
    HELD = "held"
    ASKED = "asked"
    DUE = "due"


class Address(NamedTuple):
    """Where a person is reached on a channel: `kind` is phone, lid, bsuid, wati, user."""

    kind: str
    value: str


class ConversationKey(NamedTuple):
    """One person at one business."""

    business_id: str
    conversation_id: int


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message, as the core sees it.

    `id` grows with arrival, so `(event_at, id)` is the order of a thread. `event_at` is the
    provider's clock, clamped to `received_at` + 60 s; `timed` is false when the provider gave no
    readable time and `event_at` is only ours. `keys` are all ids it was seen under, without empty
    ones. `untold` is None once it was told. `revoked`: its author has taken it back.
    """

    id: int
    author: Author
    kind: str
    body: str
    event_at: datetime
    received_at: datetime
    source: Source
    channel_id: str
    address: Address
    keys: tuple[str, ...] = ()
    author_name: str = ""
    timed: bool = True
    untold: Untold | None = None
    revoked: bool = False

    @property
    def order(self) -> tuple[datetime, int]:
        """Return the sort key of a thread."""
        return (self.event_at, self.id)

    @property
    def arrival(self) -> tuple[datetime, int]:
        """Return the sort key of what came when, whatever its time says."""
        return (self.received_at, self.id)

    @property
    def written_at(self) -> datetime:
        """Return when it was written: what goes out through us was when it was asked for."""
        return self.received_at if self.source is Source.API else self.event_at

    @property
    def inbound(self) -> bool:
        """Tell the customer's side from the business's."""
        return self.author is Author.CUSTOMER

    @property
    def is_edit(self) -> bool:
        """Tell the new text of an earlier message from something new."""
        return self.kind == EDIT


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One message as the provider's history tells it, not yet matched with our rows.

    `id` is reserved from our own sequence, in the order of the history (oldest first), for the case
    that the item turns out to be new to us. `event_at` is None when it could not be read.
    """

    id: int
    author: Author
    kind: str
    body: str
    event_at: datetime | None
    keys: tuple[str, ...] = ()
    author_name: str = ""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A message as a webhook tells it, before it has a conversation or a row.

    `keys[0]` is the id that makes it unique on its channel; the others are aliases.
    `addresses` has at least one entry, the most lasting first (a phone before a bsuid).
    `event_at` is None for providers without a clock.
    """

    keys: tuple[str, ...]
    addresses: tuple[Address, ...]
    author: Author
    kind: str
    body: str
    event_at: datetime | None
    author_name: str = ""
    media: str = ""


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """What became of a message of ours, under any of its ids: sent, delivered, read, failed."""

    keys: tuple[str, ...]
    status: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class NewContact:
    """The provider says it has never seen this person before: there is no history to look at."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """How an earlier message reads now. `target` is the id that it is known under on its channel.

    Only who wrote a message may change it: `author` is the customer, or an agent for whoever writes
    on the business's side; unknown where the provider has seen to that and does not say who it was.
    """

    target: str
    author: Author
    body: str
    event_at: datetime | None


@dataclass(frozen=True, slots=True)
class Revocation:
    """An earlier message was taken back; `target` and `author` as in `Edit`."""

    target: str
    author: Author
    event_at: datetime | None


Change = Edit | Revocation


@dataclass(frozen=True, slots=True)
class AddressChange:
    """A customer is reached elsewhere from now on; what was his leads to him still.

    Each has at least one entry.
    """

    old: tuple[Address, ...]
    new: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that is understood and carries nothing for us; counted under `event`."""

    event: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A body, or a part of one, that cannot be read: kept raw in the quarantine."""

    reason: str


Arrival = InboundMessage | StatusUpdate | NewContact | AddressChange | Change | Ignored | Unusable


@dataclass(frozen=True, slots=True)
class Delivery:
    """One authenticated webhook: its channel, what was read in its body, and the body itself."""

    business_id: str
    channel_id: str
    arrivals: tuple[Arrival, ...]
    body: bytes
    received_at: datetime


@dataclass(slots=True)
class Receipt:
    """What became of one delivery, once it is committed."""

    stored: list[InboundMessage] = field(default_factory=list)
    duplicates: int = 0
    quarantined: list[str] = field(default_factory=list)
    """A reason for each part that could not be read or stored."""


def correlation_key(correlation_id: str) -> str:
    """Return the message key under which an echo that names our correlation id finds our row."""
    return f"local:{correlation_id}"
