"""What providers and assistants answer, as data: adapters return these, they never raise them."""

from dataclasses import dataclass, field
from typing import Literal

from relevo.events import AnswerFailure, SendFailure
from relevo.messages import HistoryItem
from relevo.turns import Cost, RecallStatus


@dataclass(frozen=True, slots=True)
class History:
    """What a provider's history gave: items oldest first, deduplicated, with `id` still 0.

    `status` is COMPLETE only if everything after the asked instant is in `items`.
    """

    status: RecallStatus
    items: tuple[HistoryItem, ...] = ()
    reason: str = ""
    """A word for metrics when it is not complete: http_503, timeout, unreadable, pages …"""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took a message; `keys` are the ids it gave it, in the form webhooks use."""

    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """The provider did not take a message, or we cannot know. `reason` is a word, never a body."""

    failure: SendFailure
    reason: str
    retry_after_seconds: float | None = None
    """With RATE_LIMITED: how long to wait, if the provider says."""


@dataclass(frozen=True, slots=True)
class PromptItem:
    """One item of the AI's input. Content is plain text; ids are never sent."""

    role: Literal["user", "assistant", "developer"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Everything one answer is made of.

    `thread` is what was told before (sent only where the assistant keeps no conversation of its
    own), `items` the missed messages and the turn's own, in order. `facts` are for an assistant
    that shows what it was told: verdict, message_count, missed (lines of "author: text").
    """

    items: tuple[PromptItem, ...]
    thread: tuple[PromptItem, ...] = ()
    message_count: int = 0
    verdict: str = ""
    missed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The AI's answer; empty text means that it chose silence."""

    text: str
    response_id: str = ""
    model: str = ""
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The AI gave no answer. `reason` is a word for logs and metrics, never a body."""

    failure: AnswerFailure
    reason: str
    retry_after_seconds: float | None = None
    """With RATE_LIMITED: how long the AI asks to be left alone, if it says."""
    response_id: str = field(default="", compare=False)
    """What the AI has stored all the same, if it says; not part of what the failure means."""
