"""What the tests of the OpenAI assistant share. The key and the phone are made up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relevo.actors.ports import Assistant
from relevo.http.openai_assistant import OpenAIAssistant, OpenAISettings, open_client
from relevo.outcomes import Prompt, PromptItem
from tests.fakes.openai import FakeOpenAI

KEY = "sk-canary-key"
PHONE = "+50370000246"
CANARY = f"my number is {PHONE}"
HELLO = Prompt(items=(PromptItem("user", CANARY),))
EMPTY = Prompt(items=())


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
    """Give an assistant with a client of its own, seen through the port that actors know."""
    client = open_client(settings)
    try:
        yield OpenAIAssistant(settings, client)
    finally:
        await client.close()


async def ensured(assistant: Assistant, seed: Prompt = EMPTY) -> str:
    made = await assistant.ensure(seed)
    assert isinstance(made, str)
    return made


def message(*parts: object) -> dict[str, object]:
    return {"type": "message", "role": "assistant", "content": list(parts)}


def text(words: str) -> dict[str, object]:
    return {"type": "output_text", "text": words}
