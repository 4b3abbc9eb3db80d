"""The assistant that is OpenAI, or any server that speaks its Responses API.

Rules:

* One call, one attempt: the SDK's own retries would store a turn twice (`max_retries=0`).
* The whole of a call is bounded; the SDK's time-outs bound single reads only.
* Base URL and key are the configured ones: no environment variable and no redirect moves a
  customer's words elsewhere.
* The server is not trusted: ids, shapes and numbers are checked before they are believed.
* Nothing of a body, key or phone is logged or put into a reason; see `openai_failures`.

Importing the SDK takes half a second, so `app.py` imports this module only when it is configured.
Facts about the API: openai 3.52.0 and https://platform.openai.com/docs/api-reference/responses.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient, OpenAIError

from relevo.ai_conversations import AiConversation, RefusedIdError
from relevo.events import AnswerFailure, Finding
from relevo.http.openai_failures import (
    CONVERSATION_INVALID,
    REFUSED,
    UNREADABLE,
    classify,
    classify_unfinished,
    without_conversation,
)
from relevo.outcomes import Answer, NoAnswer, Prompt, PromptItem
from relevo.turns import Cost

LOG = logging.getLogger(__name__)

SEED_ITEMS_MAX: Final = 20
"""The API takes no more items when a conversation is made."""
ENSURE_TIMEOUT_SECONDS_MAX: Final = 30.0
"""Making a conversation generates nothing: slower than this it will not come."""
CONNECT_TIMEOUT_SECONDS: Final = 5.0
CONNECTIONS_MAX: Final = 512
KEEPALIVE_SECONDS: Final = 30.0
TOKENS_MAX: Final = 2**31 - 1
"""A count above this is nonsense, and would not fit its column."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,200}")


@dataclass(frozen=True, slots=True)
class OpenAISettings:
    """How one business is answered. With memory `local` the thread is sent with every turn."""

    base_url: str
    api_key: str = field(repr=False)
    model: str
    instructions: str = field(repr=False)
    timeout_seconds: float = 90.0
    memory: Literal["openai", "local"] = "openai"
    business_id: str = ""


class OpenAIAssistant:
    """Asks the Responses API. Businesses may share one client; whoever opened it closes it."""

    def __init__(self, settings: OpenAISettings, client: AsyncOpenAI) -> None:
        self._settings = settings
        self._client = client

    async def ensure(self, seed: Prompt) -> AiConversation | NoAnswer:
        """Make a conversation that holds the newest of `seed.thread`, and return its valid id.

        An outcome that stays unknown is TRANSIENT: a conversation that nobody uses does no harm.
        """
        if self._settings.memory == "local":
            return NoAnswer(AnswerFailure.PERMANENT, "keeps_no_conversation")
        timeout_seconds = min(self._settings.timeout_seconds, ENSURE_TIMEOUT_SECONDS_MAX)
        body = {"items": _items(seed.thread[-SEED_ITEMS_MAX:]), "metadata": self._metadata()}
        reply = await self._post("/conversations", body, timeout_seconds)
        if isinstance(reply, NoAnswer):
            return without_conversation(reply)
        made = self._taken(reply.get("id"))
        return made or NoAnswer(AnswerFailure.PERMANENT, "conversation_id_refused")

    async def answer(self, ai_conversation: str | None, prompt: Prompt) -> Answer | NoAnswer:
        """Answer a turn, in its conversation if the AI keeps one. Never raises for the AI."""
        if self._settings.memory == "local":
            local = {"input": _items((*prompt.thread, *prompt.items)), "store": False}
            answer = await self._respond(local)
            return without_conversation(answer) if isinstance(answer, NoAnswer) else answer
        if self._taken(ai_conversation) is None:
            return CONVERSATION_INVALID
        return await self._respond(
            {"conversation": ai_conversation, "input": _items(prompt.items), "store": True}
        )

    async def reconcile(self, ai_conversation: str, prompt: Prompt) -> Answer | Finding | NoAnswer:
        """Look whether a call that never came back was stored."""
        del ai_conversation, prompt
        return Finding.UNCLEAR

    async def _respond(self, memory: Mapping[str, object]) -> Answer | NoAnswer:
        body = {
            "model": self._settings.model,
            # Not carried over by the conversation, so changed instructions count at once.
            "instructions": self._settings.instructions,
            # The default refuses a history that has grown too long.
            "truncation": "auto",
            **memory,
        }
        reply = await self._post("/responses", body, self._settings.timeout_seconds)
        return reply if isinstance(reply, NoAnswer) else _read(reply)

    async def _post(
        self, path: str, body: Mapping[str, object], timeout_seconds: float
    ) -> dict[str, Any] | NoAnswer:
        """Post JSON and return the object that came back.

        The SDK's untyped call: its typed one takes almost three times the CPU for request and
        response models, and would not check the response either.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                reply: object = await self._client.post(path, cast_to=object, body=body)
        except (OpenAIError, TimeoutError, ValueError, RecursionError) as error:
            return classify(error)
        # A 200 that is not JSON comes back as a str, `null` as None.
        return reply if isinstance(reply, dict) else UNREADABLE

    def _taken(self, ai_conversation: object) -> AiConversation | None:
        """Return an id that is one; log another's reason, and nothing of it: it may be a phone."""
        try:
            return AiConversation(ai_conversation)
        except RefusedIdError as refused:
            business_id = self._settings.business_id
            LOG.warning("conversation_id_refused: %s (business %s)", refused, business_id)
            return None

    def _metadata(self) -> dict[str, str]:
        business_id = self._settings.business_id
        return {"relevo_business": business_id} if business_id else {}


def open_client(settings: OpenAISettings) -> AsyncOpenAI:
    """Make the client that all businesses of this process share; close it after the last call.

    Takes 20 ms (certificates) and connects to nothing yet.
    """
    timeout = httpx2.Timeout(
        settings.timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS, pool=CONNECT_TIMEOUT_SECONDS
    )
    limits = httpx2.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=KEEPALIVE_SECONDS)
    client = AsyncOpenAI(
        api_key=settings.api_key,
        base_url=settings.base_url,
        # Given here it wins over an Authorization in OPENAI_CUSTOM_HEADERS.
        default_headers={"Authorization": f"Bearer {settings.api_key}"},
        timeout=timeout,
        max_retries=0,
        # Nor does HTTP_PROXY, ALL_PROXY or a .netrc come between: the SDK's client heeds them.
        http_client=DefaultAioHttpClient(
            follow_redirects=False, limits=limits, timeout=timeout, trust_env=False
        ),
    )
    # The environment's would go with the configured key, and belong to another.
    client.organization = None
    client.project = None
    return client


def _items(items: Sequence[PromptItem]) -> list[dict[str, str]]:
    return [{"type": "message", "role": item.role, "content": item.content} for item in items]


def _read(reply: dict[str, Any]) -> Answer | NoAnswer:
    if reply.get("status") != "completed":
        return classify_unfinished(reply)
    parts = _message_parts(reply.get("output"))
    if parts is None:
        return UNREADABLE
    if any(part.get("type") == "refusal" for part in parts):
        return REFUSED
    texts = [part.get("text") for part in parts if part.get("type") == "output_text"]
    spoken = [text for text in texts if isinstance(text, str)]
    if len(spoken) < len(texts):
        return UNREADABLE
    return Answer(
        text="".join(spoken),
        response_id=_word(reply.get("id")),
        model=_word(reply.get("model")),
        cost=_cost(reply.get("usage")),
    )


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
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""
