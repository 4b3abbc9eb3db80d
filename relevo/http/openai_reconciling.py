"""Whether a call whose outcome is unknown was stored: its input, and an answer to it.

A conversation takes one call at a time and stores a turn's input and output next to each other, so
a stored turn is what the conversation ends with: its input, item by item in role and text, and
after it nothing but what the assistant said. (Whether a call that failed leaves its input there is
written nowhere; then there is an input without an answer.)

An earlier turn of the same words looks the same. What was told before, by our own rows, tells them
apart: a conversation that ends as those rows do shows nothing new. Taking an old answer for a new
one is the only mistake that could be made here, so every doubt is Finding.UNCLEAR.

Pure: the pages of the list are read by whoever asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from relevo.events import AnswerFailure, Finding
from relevo.http.openai_failures import UNREADABLE
from relevo.http.openai_reading import spoken
from relevo.outcomes import Answer, NoAnswer, Prompt, PromptItem

ITEMS_BESIDES: Final = 20
"""Items that an answer may have besides its input: messages, reasoning, calls of tools."""

_COMPARED_CHARACTERS: Final = 200
"""Of two replies. Ours is kept in parts, stripped, cleaned and cut at the end."""

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a conversation's items, newest first."""

    items: tuple[Item, ...]
    last_id: str
    """What the next page comes after; empty: there is none."""


def page_of(reply: dict[str, Any]) -> Page | NoAnswer:
    """Read the body of one page."""
    items, last_id = reply.get("data"), reply.get("last_id")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return UNREADABLE
    more = reply.get("has_more") is True and bool(items)
    if not more:
        return Page(tuple(items), "")
    last_id = items[-1].get("id") if last_id is None else last_id
    return Page(tuple(items), last_id) if isinstance(last_id, str) and last_id else UNREADABLE


def enough(newest_first: Sequence[Item], prompt: Prompt) -> bool:
    """Tell whether these items are enough to find the prompt, if it is there."""
    messages = _messages(newest_first)
    return len(messages) - len(_said_last(messages)) >= len(prompt.items)


def find(
    newest_first: Sequence[Item], prompt: Prompt, *, whole: bool
) -> Answer | Finding | NoAnswer:
    """Look for a prompt and its answer at the end of a conversation.

    `newest_first` are its newest items, `whole` says that there are no others.
    """
    if not prompt.items or prompt.items[-1].role == "assistant":
        return Finding.UNCLEAR
    if not whole and not enough(newest_first, prompt):
        return Finding.UNCLEAR
    messages = _messages(newest_first)
    said = _said_last(messages)
    before = messages[len(said) :][: len(prompt.items)]
    if [_told(message) for message in reversed(before)] != list(prompt.items):
        return Finding.NOT_STORED
    answer = _answer(said)
    if isinstance(answer, NoAnswer):
        return answer
    if _is_told_already(prompt, answer.text if isinstance(answer, Answer) else ""):
        return Finding.UNCLEAR
    return answer


def _messages(newest_first: Sequence[Item]) -> list[Item]:
    return [item for item in newest_first if item.get("type") == "message"]


def _said_last(messages: Sequence[Item]) -> list[Item]:
    """Return what the assistant said last, newest first."""
    return list(takewhile(lambda message: message.get("role") == "assistant", messages))


def _answer(said: Sequence[Item]) -> Answer | Finding | NoAnswer:
    """Return what was said as an answer, once all of it has been said."""
    statuses = [message.get("status") for message in said]
    if not said or "in_progress" in statuses:
        return Finding.RUNNING
    if "incomplete" in statuses:
        return NoAnswer(AnswerFailure.PERMANENT, "incomplete")
    text = spoken(list(reversed(said)))
    return Answer(text) if isinstance(text, str) else text


def _told(message: Item) -> PromptItem | None:
    """Return a stored message as it was told; None: it is none of ours."""
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant", "developer"):
        return None
    if isinstance(content, str):
        return PromptItem(role, content)
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return None
    texts = [part.get("text") for part in content]
    read = [text for text in texts if isinstance(text, str)]
    return PromptItem(role, "".join(read)) if len(read) == len(texts) else None


def _is_told_already(prompt: Prompt, reply: str) -> bool:
    """Tell whether what was told before ends with the same input and the same reply to it.

    Of replies the beginning is compared. A reply that our rows do not have (it never arrived) may
    be any, so only a conversation without a reply is told apart from it.
    """
    replies = list(takewhile(lambda item: item.role == "assistant", reversed(prompt.thread)))
    before = prompt.thread[: len(prompt.thread) - len(replies)]
    if before[-len(prompt.items) :] != prompt.items:
        return False
    known = _compared("".join(item.content for item in reversed(replies)))
    found = _compared(reply)
    return found.startswith(known) or (found != "" and known.startswith(found))


def _compared(reply: str) -> str:
    visible = (c for c in reply if c.isprintable() and not c.isspace())
    return "".join(visible)[:_COMPARED_CHARACTERS]
