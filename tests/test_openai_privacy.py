"""Where a customer's words and our key may go: to the configured server, and nowhere else."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from relevo.actors.ports import Assistant
from relevo.events import AnswerFailure
from relevo.outcomes import Answer, NoAnswer
from tests.fakes import openai_faults as fakes
from tests.fakes.openai import FakeOpenAI
from tests.openai_rig import HELLO, KEY, ensured, opened, settings_for
from tests.proxy_rig import proxy_in_the_environment

PERMANENT = AnswerFailure.PERMANENT


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key=KEY) as running:
        yield running


@pytest.fixture
async def assistant(fake: FakeOpenAI) -> AsyncIterator[Assistant]:
    async with opened(settings_for(fake)) as running:
        yield running


async def test_an_inherited_environment_moves_nothing(
    fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeOpenAI() as elsewhere:
        monkeypatch.setenv("OPENAI_BASE_URL", elsewhere.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
        monkeypatch.setenv("OPENAI_ORG_ID", "org-other")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-other")
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer sk-other")
        async with opened(settings_for(fake)) as assistant:
            answer = await assistant.answer(await ensured(assistant), HELLO)

    assert isinstance(answer, Answer)
    assert elsewhere.requests == []
    headers = fake.requests[-1].headers
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert not [name for name in headers if name.lower().startswith("openai-")]


async def test_a_proxy_of_the_environment_is_not_asked(
    fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        proxy_in_the_environment(monkeypatch) as heard,
        opened(settings_for(fake)) as assistant,
    ):
        answer = await assistant.answer(await ensured(assistant), HELLO)

    assert isinstance(answer, Answer)
    assert heard == []


async def test_a_redirect_is_not_followed(fake: FakeOpenAI, assistant: Assistant) -> None:
    async with FakeOpenAI() as elsewhere:
        fake.faults.append(fakes.redirected(f"{elsewhere.base_url}/responses"))

        failure = await assistant.answer(await ensured(assistant), HELLO)

    assert failure == NoAnswer(PERMANENT, "http_307")
    assert elsewhere.requests == []


async def test_a_wrong_key_is_permanent_and_shown_nowhere(fake: FakeOpenAI) -> None:
    wrong = replace(settings_for(fake), api_key="sk-canary-wrong")
    async with opened(wrong) as assistant:
        failure = await assistant.ensure()

    assert failure == NoAnswer(PERMANENT, "invalid_api_key")
    assert "sk-canary" not in repr(wrong)
