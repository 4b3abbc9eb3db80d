"""The fake OpenAI keeps the rules of the real one, or the tests that use it prove nothing."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from relevo.actors.ports import Assistant
from tests.fakes.openai import FakeOpenAI
from tests.openai_rig import KEY, PHONE, ensured, opened, settings_for


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key=KEY) as running:
        yield running


@pytest.fixture
async def assistant(fake: FakeOpenAI) -> AsyncIterator[Assistant]:
    async with opened(settings_for(fake)) as running:
        yield running


async def test_the_fake_takes_a_conversation_as_an_object_and_lists_its_items(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    headers = {"Authorization": f"Bearer {KEY}"}
    body = {"model": "m", "input": "Hola", "conversation": {"id": conversation}}

    async with aiohttp.ClientSession(headers=headers) as session:
        await session.post(f"{fake.base_url}/responses", json=body)
        listed = await session.get(f"{fake.base_url}/conversations/{conversation}/items?limit=1")
        newest = await listed.json()

    assert fake.shape(conversation) == "ua"
    assert [item["role"] for item in newest["data"]] == ["assistant"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/conversations", {"items": [{"role": "user", "content": "x"}] * 21}, 400),
        ("/responses", {"input": [{"role": "user", "content": "x", "id": "msg_1"}]}, 400),
        ("/responses", {"input": [{"role": "robot", "content": "x"}]}, 400),
        ("/responses", {"input": "x", "conversation": PHONE}, 400),
        ("/responses", {"input": "x", "conversation": "conv_gone"}, 404),
    ],
)
async def test_the_fake_refuses_what_the_server_refuses(
    fake: FakeOpenAI, path: str, body: dict[str, Any], status: int
) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        answer = await session.post(fake.base_url + path, json=body)

    assert answer.status == status
