"""The bodies of the Responses API: what is sent as items, and what a response is believed.

The server is not trusted: shapes, ids and numbers are checked before they are believed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from relevo.http.openai_failures import REFUSED, UNREADABLE, classify_unfinished
from relevo.outcomes import Answer, NoAnswer, PromptItem
from relevo.turns import Cost

TOKENS_MAX: Final = 2**31 - 1
"""A count above this is nonsense, and would not fit its column."""

WORD: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,200}")


def as_items(items: Sequence[PromptItem]) -> list[dict[str, str]]:
    """Return a prompt's items as the API takes them; without ids, which corrupt histories."""
    return [{"type": "message", "role": item.role, "content": item.content} for item in items]


def read_response(reply: Mapping[str, Any]) -> Answer | NoAnswer:
    """Say what the body of a 200 answers; what is no answer has an id too, to be erased one day."""
    response_id = _word(reply.get("id"))
    if reply.get("status") != "completed":
        return replace(classify_unfinished(reply), response_id=response_id)
    text = spoken(reply.get("output"))
    if isinstance(text, NoAnswer):
        return replace(text, response_id=response_id)
    return Answer(
        text=text,
        response_id=response_id,
        model=_word(reply.get("model")),
        cost=_cost(reply.get("usage")),
    )


def spoken(output: object) -> str | NoAnswer:
    """Return the text of all message items, however many; a refusal in one is a refusal of all."""
    parts = _message_parts(output)
    if parts is None:
        return UNREADABLE
    if any(part.get("type") == "refusal" for part in parts):
        return REFUSED
    texts = [part.get("text") for part in parts if part.get("type") == "output_text"]
    read = [text for text in texts if isinstance(text, str)]
    return "".join(read) if len(read) == len(texts) else UNREADABLE


def _message_parts(output: object) -> list[dict[str, Any]] | None:
    """Return the parts of all message items, None when it is not the documented shape."""
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        return None
    contents = [item.get("content") for item in output if item.get("type") == "message"]
    if not all(isinstance(content, list) for content in contents):
        return None
    parts = [part for content in contents for part in content]
    return parts if all(isinstance(part, dict) for part in parts) else None


def _cost(usage: object) -> Cost:
    """Return the tokens billed; `seconds` is filled in by whoever waited."""
    return Cost(
        input_tokens=_tokens(usage, "input_tokens"),
        cached_tokens=_tokens(_inner(usage, "input_tokens_details"), "cached_tokens"),
        output_tokens=_tokens(usage, "output_tokens"),
        reasoning_tokens=_tokens(_inner(usage, "output_tokens_details"), "reasoning_tokens"),
    )


def _tokens(container: object, name: str) -> int:
    count = _inner(container, name)
    return count if isinstance(count, int) and 0 <= count <= TOKENS_MAX else 0


def _inner(container: object, name: str) -> object:
    return container.get(name) if isinstance(container, dict) else None


def _word(value: object) -> str:
    """Return an id or name as it is, or nothing when it is not one."""
    return value if isinstance(value, str) and WORD.fullmatch(value) else ""
