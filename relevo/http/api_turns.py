"""A turn with its evidence, as `relevo why` tells it, in the shapes of the API."""

from collections.abc import Sequence
from datetime import datetime

from relevo.http.api_shapes import Given
from relevo.messages import Author


class TurnMessage(Given):
    """A message as a turn refers to it. `fate` is that of a customer's message."""

    id: int
    author: Author
    name: str
    kind: str
    text: str
    at: datetime
    source: str
    fate: str | None


class OutboxPart(Given):
    """One part of a reply: where it stands, and what the provider says of it."""

    part: int
    state: str
    reason: str
    resent: bool
    status: str


class Turn(Given):
    """A burst of messages and what came of it, with the evidence for each decision."""

    id: int
    purpose: str
    stage: str
    outcome: str | None
    reason: str
    messages: Sequence[TurnMessage]
    verdict: str
    silence_seconds: float | None
    threshold_seconds: float
    previous_customer_at: datetime | None
    previous_assistant_at: datetime | None
    recall: str
    recall_reasons: Sequence[str]
    recall_since: datetime | None
    known_to: datetime | None
    recalled: int
    matched_by_content: int
    missed: Sequence[TurnMessage]
    missed_left_out: int
    reply: Sequence[str]
    outbox: Sequence[OutboxPart]
    model: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    answer_seconds: float
    opened_at: datetime
    closed_at: datetime
    ended_at: datetime | None
