"""What OpenAI keeps of a customer is erased: items first, for they survive their conversation."""

from collections.abc import AsyncIterator

import pytest

from relevo.events import AnswerFailure
from relevo.http.openai_account import OpenAIAccount
from relevo.http.openai_assistant import OpenAIAssistant
from relevo.offline import OfflineAssistant
from relevo.outcomes import Answer, NoAnswer, Prompt, PromptItem
from tests.fakes import openai_faults as fakes
from tests.fakes.clock import ManualClock
from tests.fakes.openai import FakeOpenAI
from tests.fakes.openai_faults import Fault
from tests.openai_rig import CANARY, HELLO, KEY, NOON, Observed, settings_for

SEEDS = 15
SEED = Prompt(items=(), thread=tuple(PromptItem("user", CANARY) for _ in range(SEEDS)))
TRANSIENT, UNKNOWN = AnswerFailure.TRANSIENT, AnswerFailure.UNKNOWN


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key=KEY) as running:
        yield running


@pytest.fixture
async def assistant(fake: FakeOpenAI) -> AsyncIterator[OpenAIAssistant]:
    settings, clock, seen = settings_for(fake), ManualClock(NOON), Observed()
    account = OpenAIAccount(settings, clock, seen)
    yield OpenAIAssistant(settings, account, clock, seen)
    await account.close()


async def remembering(assistant: OpenAIAssistant) -> tuple[str, str]:
    """Have a conversation with a stored response; return the ids of both."""
    made = await assistant.ensure()
    assert isinstance(made, str)
    assert await assistant.seed(made, SEED) is None
    answers = [await assistant.answer(made, HELLO) for _ in range(50)]
    assert isinstance(answers[-1], Answer)
    return made, answers[-1].response_id


async def test_nothing_is_left_of_a_conversation_not_even_its_items(
    fake: FakeOpenAI, assistant: OpenAIAssistant
) -> None:
    conversation, response = await remembering(assistant)
    other, _ = await remembering(assistant)
    assert len(fake.conversations[conversation].items) == SEEDS + 100, "more than a page"
    assert await assistant.erase(conversation) is None
    assert await assistant.erase(response) is None
    assert fake.conversations.keys() == {other}
    assert fake.lost_items == []
    assert response not in fake.stored
    for gone in (conversation, response, "conv_never", "resp_never"):
        assert await assistant.erase(gone) is None, "what is gone is erased"


async def test_what_can_be_no_id_of_the_ai_is_nowhere(
    fake: FakeOpenAI, assistant: OpenAIAssistant
) -> None:
    before = len(fake.requests)
    for odd in ("conv_", "conv_../../responses", "50370000246"):
        assert await assistant.erase(odd) is None
    assert len(fake.requests) == before


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (fakes.error(503), NoAnswer(TRANSIENT, "http_503")),
        (fakes.locked(), NoAnswer(AnswerFailure.BUSY, "conversation_locked")),
        (fakes.error(404, None, "nothing here"), NoAnswer(AnswerFailure.PERMANENT, "http_404")),
        (fakes.html(200), NoAnswer(UNKNOWN, "unreadable")),
        (fakes.raw(b'{"deleted": false}'), NoAnswer(UNKNOWN, "unreadable")),
        (fakes.error(401, "invalid_api_key"), NoAnswer(AnswerFailure.PERMANENT, "invalid_api_key")),
    ],
)
async def test_nobody_is_told_that_it_is_erased_who_cannot_be_sure(
    fake: FakeOpenAI, assistant: OpenAIAssistant, fault: Fault, failure: NoAnswer
) -> None:
    conversation, response = await remembering(assistant)
    for kept in (conversation, response):
        fake.delete_faults.append(fault)
        assert await assistant.erase(kept) == failure
        assert await assistant.erase(kept) is None, "and it is safe to repeat"
    assert fake.holds().count(CANARY) == 49, "the other responses, which nobody named"


async def test_items_that_cannot_be_listed_are_not_left_to_themselves(
    fake: FakeOpenAI, assistant: OpenAIAssistant
) -> None:
    conversation, _ = await remembering(assistant)
    for fault in (fakes.error(500), fakes.raw(b'{"data": [{"id": "../x"}]}')):
        fake.list_faults.append(fault)
        assert await assistant.erase(conversation) is not None
        assert conversation in fake.conversations


async def test_an_assistant_without_memory_erases_nothing_for_another() -> None:
    kept = await OfflineAssistant().erase("conv_1")
    assert kept == NoAnswer(AnswerFailure.PERMANENT, "keeps_no_conversation")
