"""What somebody asks us to say, and what became of it: words that the API and the store share."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from relevo.messages import Author

WAITING_MAX = 100
"""How much may wait to be said in one conversation."""


class Refusal(StrEnum):
    """Why something is not done."""

    UNKNOWN = "unknown"
    """There is no such conversation, or no such send."""
    NEVER_WROTE = "never_wrote"
    """The customer has never written, and nobody may write to him first without a template."""
    TOO_MUCH = "too_much"
    """`WAITING_MAX` wait already."""
    NOT_SCHEDULED = "not_scheduled"
    """It is being sent, or has ended."""


class Status(StrEnum):
    """What has become of a send. `REFUSED` and `FAILED` have a reason, a word."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be said, by whom, and when; None: now. `created_by` is who asks, for the books."""

    text: str
    author: Author
    name: str = ""
    due_at: datetime | None = None
    created_by: str = ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A send that somebody asked for, and how it stands now."""

    id: int
    conversation_id: int
    author: Author
    name: str
    """The person's, if an agent."""
    text: str
    due_at: datetime
    created_at: datetime
    message_id: int | None
    """Its message in the thread, once its time has come."""
    status: Status
    reason: str
    sent_at: datetime | None
