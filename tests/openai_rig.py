"""What the tests of the OpenAI assistant share. The key and the phone are made up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx2
import openai

from relevo.actors.ports import Assistant
from relevo.ai_conversations import AiConversation
from relevo.http.openai_account import OpenAIAccount, OpenAISettings
from relevo.http.openai_assistant import OpenAIAssistant
from relevo.outcomes import Prompt, PromptItem
from tests.fakes.clock import ManualClock
from tests.fakes.openai import FakeOpenAI

NOON = datetime(2025, 10, 8, 12, tzinfo=UTC)
KEY = "sk-canary-key"
PHONE = "+50370000246"
CANARY = f"my number is {PHONE}"
HELLO = Prompt(items=(PromptItem("user", CANARY),))
EMPTY = Prompt(items=())
REQUEST = httpx2.Request("POST", f"http://127.0.0.1/v1/{PHONE}")


@dataclass(slots=True)
class Observed:
    """What the probe was told."""

    braked: int = 0
    renewed: int = 0
    rejected: list[str] = field(default_factory=list)
    circuits: list[tuple[str, str]] = field(default_factory=list)

    def assistant_braked(self) -> None:
        self.braked += 1

    def assistant_client_renewed(self) -> None:
        self.renewed += 1

    def assistant_rejected(self, reason: str) -> None:
        self.rejected.append(reason)

    def assistant_circuit(self, before: str, after: str) -> None:
        self.circuits.append((before, after))


@dataclass(frozen=True, slots=True)
class Office:
    """Two businesses with one key, as they see an AI at a time that stands still."""

    hotel: Assistant
    clinic: Assistant
    clock: ManualClock
    seen: Observed

    def later(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))


def settings_for(fake: FakeOpenAI) -> OpenAISettings:
    return OpenAISettings(
        base_url=fake.base_url,
        api_key=KEY,
        model="gpt-canary",
        instructions="Be kind.",
        timeout_seconds=10,
        business_id="hotel",
    )


@asynccontextmanager
async def opened(settings: OpenAISettings) -> AsyncIterator[Assistant]:
    """Give an assistant with an account of its own, seen through the port that actors know."""
    async with office(settings) as made:
        yield made.hotel


@asynccontextmanager
async def office(settings: OpenAISettings) -> AsyncIterator[Office]:
    """Give two assistants that share an account, and what they are observed with."""
    clock, seen = ManualClock(NOON), Observed()
    account = OpenAIAccount(settings, clock, seen)
    hotel, clinic = (
        OpenAIAssistant(replace(settings, business_id=business_id), account, clock, seen)
        for business_id in (settings.business_id, "clinic")
    )
    try:
        yield Office(hotel, clinic, clock, seen)
    finally:
        await account.close()


async def ensured(assistant: Assistant, seed: Prompt = EMPTY) -> str:
    made = await assistant.ensure()
    assert isinstance(made, AiConversation)
    if seed.thread:
        assert await assistant.seed(made, seed) is None
    return made


def answered(
    status: int,
    code: object = None,
    param: object = None,
    message: object = "no",
    kind: object = "x",
) -> openai.APIStatusError:
    response = httpx2.Response(status, request=REQUEST)
    body = {"code": code, "param": param, "message": message, "type": kind}
    return openai.APIStatusError(f"Error code: {status} - {message}", response=response, body=body)


def message(*parts: object) -> dict[str, object]:
    return {"type": "message", "role": "assistant", "content": list(parts)}


def text(words: str) -> dict[str, object]:
    return {"type": "output_text", "text": words}
