"""The assistant that is OpenAI, or any server that speaks its Responses API.

Rules:

* A conversation's id is checked before it is sent and before it is believed.
* What only a person can mend (money, keys) opens the business's circuit: then one call a minute
  asks whether somebody has, and all others are refused at once.
* Only an answer closes it. Making a conversation costs nothing and reading one neither, so that
  the first hands its probe on to the question that follows, and the second goes by the circuit.
* Nothing of a body, key or phone is logged or put into a reason; see `openai_failures`.

Importing the SDK takes half a second, so `lines.py` imports this module only when it is configured.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from relevo.ai_conversations import AiConversation, RefusedIdError
from relevo.clock import Clock
from relevo.events import AnswerFailure, Finding
from relevo.http import openai_erasing
from relevo.http import openai_reconciling as reconciling
from relevo.http.circuit import Circuit, Pass
from relevo.http.openai_account import OpenAIAccount, OpenAISettings
from relevo.http.openai_failures import (
    ACCOUNT_REASONS,
    BRAKED,
    CIRCUIT_OPEN,
    CONVERSATION_INVALID,
    classify,
    without_conversation,
)
from relevo.http.openai_reading import as_items, read_response
from relevo.http.ports import AssistantProbe
from relevo.outcomes import Answer, NoAnswer, Prompt

LOG = logging.getLogger(__name__)

SEED_ITEMS_MAX: Final = 20
"""The API takes no more items at once."""
ENSURE_TIMEOUT_SECONDS_MAX: Final = 30.0
"""Making a conversation generates nothing: slower than this it will not come."""
RECONCILE_TIMEOUT_SECONDS_MAX: Final = 10.0
"""All pages together."""
PAGE_ITEMS_MAX: Final = 100
"""The API lists no more at once."""
PAGES_MAX: Final = 3
REJECTED_LOG_SECONDS: Final = 60.0


class OpenAIAssistant:
    """Asks the Responses API for one business. Businesses may share one account."""

    def __init__(
        self,
        settings: OpenAISettings,
        account: OpenAIAccount,
        clock: Clock,
        probe: AssistantProbe,
    ) -> None:
        self._settings = settings
        self._account = account
        self._clock = clock
        self._probe = probe
        self._circuit = Circuit(clock)
        self._rejected_at: dict[str, float] = {}
        """When each reason was logged last; there are only as many as statuses."""

    async def ensure(self) -> AiConversation | NoAnswer:
        """Make an empty conversation, and return its valid id.

        An outcome that stays unknown is TRANSIENT: a conversation that nobody uses does no harm.
        """
        if self._settings.memory == "local":
            return NoAnswer(AnswerFailure.PERMANENT, "keeps_no_conversation")
        given = self._circuit.admit()
        if given is None:
            return CIRCUIT_OPEN
        timeout_seconds = min(self._settings.timeout_seconds, ENSURE_TIMEOUT_SECONDS_MAX)
        body = {"metadata": self._metadata()}
        made = await self._account.post("/conversations", body, self._made, timeout_seconds)
        made = without_conversation(made) if isinstance(made, NoAnswer) else made
        self._heard(given, made)
        return made

    async def seed(self, ai_conversation: AiConversation, seed: Prompt) -> NoAnswer | None:
        """Put the newest of `seed.thread` into a new conversation; None: they are in.

        Never repeated, whatever became of it: then another conversation is made.
        """
        given = self._circuit.admit()
        if given is None:
            return CIRCUIT_OPEN
        timeout_seconds = min(self._settings.timeout_seconds, ENSURE_TIMEOUT_SECONDS_MAX)
        path = f"/conversations/{ai_conversation}/items"
        body = {"items": as_items(seed.thread[-SEED_ITEMS_MAX:])}
        put = await self._account.post(path, body, lambda _reply: ai_conversation, timeout_seconds)
        put = without_conversation(put) if isinstance(put, NoAnswer) else put
        self._heard(given, put)
        return put if isinstance(put, NoAnswer) else None

    async def erase(self, kept: str) -> NoAnswer | None:
        """Erase a conversation with its items, or a response; None: nothing of it is left."""
        return await openai_erasing.erase(self._account, kept)

    async def answer(self, ai_conversation: str | None, prompt: Prompt) -> Answer | NoAnswer:
        """Answer a turn, in its conversation if the AI keeps one. Never raises for the AI."""
        if self._settings.memory == "local":
            items = as_items((*prompt.thread, *prompt.items))
            return await self._respond({"input": items, "store": False})
        if self._taken(ai_conversation) is None:
            return CONVERSATION_INVALID
        return await self._respond(
            {"conversation": ai_conversation, "input": as_items(prompt.items), "store": True}
        )

    async def reconcile(self, ai_conversation: str, prompt: Prompt) -> Answer | Finding | NoAnswer:
        """Look whether a call that never came back was stored, and return its answer; reads only.

        What cannot be read is classified as for a call; whether the turn was stored stays open.
        """
        if self._settings.memory == "local":
            return Finding.NOT_STORED
        conversation = self._taken(ai_conversation)
        if conversation is None:
            return CONVERSATION_INVALID
        timeout_seconds = min(self._settings.timeout_seconds, RECONCILE_TIMEOUT_SECONDS_MAX)
        try:
            async with asyncio.timeout(timeout_seconds):
                found = await self._look(conversation, prompt, timeout_seconds)
        except TimeoutError as error:
            return classify(error, self._clock.now())
        if isinstance(found, NoAnswer) and found.failure is AnswerFailure.BUSY:
            return Finding.RUNNING
        return found

    async def _look(
        self, conversation: AiConversation, prompt: Prompt, timeout_seconds: float
    ) -> Answer | Finding | NoAnswer:
        limit = min(len(prompt.items) + reconciling.ITEMS_BESIDES, PAGE_ITEMS_MAX)
        query: dict[str, object] = {"order": "desc", "limit": limit}
        path = f"/conversations/{conversation}/items"
        items: list[reconciling.Item] = []
        for _ in range(PAGES_MAX):
            page = await self._account.get(path, query, reconciling.page_of, timeout_seconds)
            if isinstance(page, NoAnswer):
                return page
            items += page.items
            if not page.last_id:
                return reconciling.find(items, prompt, whole=True)
            if reconciling.enough(items, prompt):
                break
            query["after"] = page.last_id
        return reconciling.find(items, prompt, whole=False)

    async def _respond(self, memory: Mapping[str, object]) -> Answer | NoAnswer:
        body = {
            "model": self._settings.model,
            # Not carried over by the conversation, so changed instructions count at once.
            "instructions": self._settings.instructions,
            # The default refuses a history that has grown too long.
            "truncation": "auto",
            **memory,
        }
        given = self._circuit.admit()
        if given is None:
            return CIRCUIT_OPEN
        answer = await self._account.post(
            "/responses", body, read_response, self._settings.timeout_seconds
        )
        if isinstance(answer, NoAnswer) and "conversation" not in memory:
            answer = without_conversation(answer)
        self._heard(given, answer)
        return answer

    def _heard(self, given: Pass, outcome: Answer | AiConversation | NoAnswer) -> None:
        """Take what a call tells about the business's account, and what it says of ourselves."""
        before = self._circuit.reason
        if isinstance(outcome, Answer):
            self._circuit.closes(given)
        elif isinstance(outcome, AiConversation) or outcome.reason == BRAKED:
            self._circuit.gives_back(given)
        elif outcome.reason in ACCOUNT_REASONS:
            self._circuit.opens(given, outcome.reason)
        elif outcome.failure is AnswerFailure.PERMANENT:
            self._rejected(outcome.reason)
        if self._circuit.reason != before:
            self._tell_circuit(before, self._circuit.reason)

    def _tell_circuit(self, before: str, after: str) -> None:
        self._probe.assistant_circuit(before, after)
        business_id = self._settings.business_id
        if not before:
            LOG.error("assistant_circuit_open: %s (business %s)", after, business_id)
        elif not after:
            LOG.info("assistant_circuit_closed: %s (business %s)", before, business_id)

    def _rejected(self, reason: str) -> None:
        """Count a question that will never be taken, and log each reason once a minute."""
        self._probe.assistant_rejected(reason)
        now = self._clock.monotonic()
        if now - self._rejected_at.get(reason, -REJECTED_LOG_SECONDS) >= REJECTED_LOG_SECONDS:
            self._rejected_at[reason] = now
            business_id = self._settings.business_id
            LOG.error("assistant_rejected: %s (business %s)", reason, business_id)

    def _made(self, reply: dict[str, Any]) -> AiConversation | NoAnswer:
        refused = NoAnswer(AnswerFailure.PERMANENT, "conversation_id_refused")
        return self._taken(reply.get("id")) or refused

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
