"""The fake OpenAI keeps the rules of the real one, or the tests that use it prove nothing."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from relevo.actors.ports import Assistant
from relevo.outcomes import NoAnswer, Prompt, PromptItem
from tests.fakes import openai_faults as fakes
from tests.fakes.openai import FakeOpenAI
from tests.openai_rig import HELLO, KEY, PHONE, ensured, opened, settings_for


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


async def listed(fake: FakeOpenAI, conversation: str, query: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        url = f"{fake.base_url}/conversations/{conversation}/items?{query}"
        answer = await session.get(url)
        return answer.status, await answer.json()


async def test_the_fake_lists_ids_and_parts_and_reasoning_page_by_page(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    fake.reasons = True
    conversation = await ensured(assistant, Prompt(items=(), thread=(PromptItem("user", "Hola"),)))
    await assistant.answer(conversation, HELLO)

    _, first = await listed(fake, conversation, "limit=2")
    _, second = await listed(fake, conversation, f"limit=2&after={first['last_id']}")
    assert [item["type"] for item in first["data"]] == ["message", "reasoning"]
    assert [item["content"][0]["type"] for item in second["data"]] == ["input_text"] * 2
    assert len({item["id"] for item in (*first["data"], *second["data"])}) == 4
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert (await listed(fake, conversation, "limit=101"))[0] == 400


@pytest.mark.parametrize(("work", "shape"), [("none", ""), ("input", "u"), ("turn", "ua")])
async def test_a_fault_may_come_before_or_after_the_work(
    fake: FakeOpenAI, assistant: Assistant, work: fakes.Work, shape: str
) -> None:
    conversation = await ensured(assistant)
    fake.faults.append(fakes.after(work, fakes.html()))
    await assistant.answer(conversation, HELLO)

    assert fake.shape(conversation) == shape


async def test_a_fault_for_ever_comes_when_the_others_are_used_up(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    fake.faults.append(fakes.locked())
    fake.faults.for_ever = fakes.error(500)
    failures = [await assistant.answer(conversation, HELLO) for _ in range(3)]

    reasons = [failure.reason for failure in failures if isinstance(failure, NoAnswer)]
    assert reasons == ["conversation_locked", "http_500", "http_500"]
