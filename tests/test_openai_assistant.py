"""The OpenAI assistant against a small OpenAI on a loopback socket. Phones and keys are made up."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from relevo.actors.ports import Assistant
from relevo.events import AnswerFailure
from relevo.http.openai_assistant import SEED_ITEMS_MAX
from relevo.outcomes import Answer, NoAnswer, Prompt, PromptItem
from relevo.turns import Cost
from tests.fakes import openai_faults as fakes
from tests.fakes.openai import FakeOpenAI
from tests.fakes.openai_faults import Fault
from tests.openai_rig import (
    CANARY,
    HELLO,
    KEY,
    ensured,
    message,
    office,
    opened,
    settings_for,
    text,
)

UNUSABLE = AnswerFailure.CONVERSATION_UNUSABLE
BUSY = AnswerFailure.BUSY
TRANSIENT = AnswerFailure.TRANSIENT
UNKNOWN = AnswerFailure.UNKNOWN
PERMANENT = AnswerFailure.PERMANENT


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key=KEY) as running:
        yield running


@pytest.fixture
async def assistant(fake: FakeOpenAI) -> AsyncIterator[Assistant]:
    async with opened(settings_for(fake)) as running:
        yield running


@pytest.fixture
async def local(fake: FakeOpenAI) -> AsyncIterator[Assistant]:
    async with opened(replace(settings_for(fake), memory="local")) as running:
        yield running


# --- a turn that goes well ---


async def test_a_turn_is_answered_and_stored_in_its_conversation(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    fake.answers.append("Hay dos piscinas.")

    answer = await assistant.answer(conversation, HELLO)

    assert answer == Answer(
        text="Hay dos piscinas.",
        response_id=f"resp_{1:032x}",
        model="gpt-canary",
        cost=Cost(input_tokens=10, cached_tokens=0, output_tokens=17, reasoning_tokens=5),
    )
    assert fake.shape(conversation) == "ua"


async def test_the_second_turn_is_billed_with_the_cached_first(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    await assistant.answer(conversation, HELLO)

    answer = await assistant.answer(conversation, HELLO)

    assert isinstance(answer, Answer)
    assert answer.cost == Cost(input_tokens=30, cached_tokens=20, output_tokens=2)
    assert fake.shape(conversation) == "uaua"


async def test_the_request_holds_what_the_api_needs_and_nothing_else(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)

    await assistant.answer(conversation, HELLO)

    assert fake.bodies("/responses") == [
        {
            "model": "gpt-canary",
            "instructions": "Be kind.",
            "truncation": "auto",
            "conversation": conversation,
            "input": [{"type": "message", "role": "user", "content": CANARY}],
            "store": True,
        }
    ]


async def test_roles_go_out_as_the_prompt_has_them(fake: FakeOpenAI, assistant: Assistant) -> None:
    items = (
        PromptItem("developer", "note"),
        PromptItem("assistant", "from Ana"),
        PromptItem("user", "missed"),
        PromptItem("user", "new"),
    )
    conversation = await ensured(assistant)

    await assistant.answer(conversation, Prompt(items=items, thread=(PromptItem("user", "old"),)))

    sent = fake.bodies("/responses")[0]["input"]
    assert [(item["role"], item["content"]) for item in sent] == [
        (item.role, item.content) for item in items
    ]
    assert fake.shape(conversation) == "dauua"


async def test_a_new_conversation_is_seeded_with_the_newest_of_the_thread(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    thread = tuple(PromptItem("user", f"message {number}") for number in range(SEED_ITEMS_MAX + 5))

    conversation = await ensured(assistant, Prompt(items=(), thread=thread))

    stored = [item["content"] for item in fake.conversations[conversation].items]
    assert stored == [item.content for item in thread[5:]]
    assert fake.conversations[conversation].metadata == {"relevo_business": "hotel"}
    assert fake.conversations_created == 1


async def test_a_conversation_needs_no_thread_and_no_business(fake: FakeOpenAI) -> None:
    async with opened(replace(settings_for(fake), business_id="")) as nameless:
        await ensured(nameless)

    assert fake.bodies("/conversations") == [{"metadata": {}}]


async def test_businesses_share_one_account(fake: FakeOpenAI) -> None:
    async with office(settings_for(fake)) as both:
        await ensured(both.hotel)
        answer = await both.clinic.answer(await ensured(both.clinic), HELLO)

    assert isinstance(answer, Answer)
    made = [body["metadata"]["relevo_business"] for body in fake.bodies("/conversations")]
    assert made == ["hotel", "clinic"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ([message(text("Hola "), text("Ana")), message(text("!"))], "Hola Ana!"),
        ([{"type": "reasoning", "summary": []}, message(text("Hola"))], "Hola"),
        ([message({"type": "something_new"}, text("Hola"))], "Hola"),
        ([message()], ""),
        ([], ""),
    ],
)
async def test_the_answer_is_the_text_of_all_message_items(
    fake: FakeOpenAI, assistant: Assistant, output: object, said: str
) -> None:
    conversation = await ensured(assistant)
    fake.faults.append(fakes.output(output))

    answer = await assistant.answer(conversation, HELLO)

    assert isinstance(answer, Answer)
    assert answer.text == said


@pytest.mark.parametrize("nonsense", [None, [], -1, "12", 2**40, 1.5, {"input_tokens": -1}])
async def test_nonsense_about_cost_and_names_is_not_believed(
    fake: FakeOpenAI, assistant: Assistant, nonsense: object
) -> None:
    conversation = await ensured(assistant)
    usage = {"input_tokens": nonsense, "input_tokens_details": nonsense, "output_tokens": 7}
    body = {
        "status": "completed",
        "id": {"not": "an id"},
        "model": "a name\n" + "x" * 500,
        "output": [message(text("Hola"))],
        "usage": usage,
    }
    fake.faults.append(fakes.raw(orjson.dumps(body)))

    answer = await assistant.answer(conversation, HELLO)

    assert answer == Answer(text="Hola", cost=Cost(output_tokens=7))


# --- failures of the call ---


async def test_a_server_that_is_not_there_has_stored_nothing(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    await fake.stop()

    async with opened(settings_for(fake)) as stranger:  # the other one has a connection still
        failure = await stranger.answer(conversation, HELLO)

    assert failure == NoAnswer(TRANSIENT, "unreachable")


async def test_a_kept_connection_that_is_gone_is_an_unknown_outcome(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    await fake.stop()

    failure = await assistant.answer(conversation, HELLO)

    assert failure == NoAnswer(UNKNOWN, "timeout")


async def test_an_answer_lost_after_the_work_is_unknown_and_stored_once(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    fake.faults.append(fakes.dropped(stored=True))

    failure = await assistant.answer(conversation, HELLO)

    assert failure == NoAnswer(UNKNOWN, "timeout")
    assert fake.shape(conversation) == "ua"
    assert fake.responses == 1


async def test_a_slow_answer_is_given_up_in_time_and_still_lands(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    release = asyncio.Event()
    released = asyncio.Event()

    async def hold(_body: dict[str, Any]) -> None:
        await release.wait()
        released.set()

    fake.before_answer = hold
    conversation = await ensured(assistant)
    async with opened(replace(settings_for(fake), timeout_seconds=0.5)) as hasty:
        given_up = await hasty.answer(conversation, HELLO)
    locked = await assistant.answer(conversation, HELLO)

    assert given_up == NoAnswer(UNKNOWN, "timeout")
    assert locked == NoAnswer(BUSY, "conversation_locked")
    assert (fake.holding, fake.shape(conversation)) == (1, "")

    release.set()
    await released.wait()
    assert fake.shape(conversation) == "ua"


async def test_a_dripping_answer_is_bounded_as_a_whole(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    # Every byte comes well within the read time-out; only the sum of them is too long.
    fake.faults.append(fakes.raw(b" " * 1_000, drip_seconds=0.02))
    conversation = await ensured(assistant)
    async with opened(replace(settings_for(fake), timeout_seconds=0.3)) as hasty:
        failure = await hasty.answer(conversation, HELLO)

    assert failure == NoAnswer(UNKNOWN, "timeout")


async def test_a_late_answer_within_the_bound_is_an_answer(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    fake.faults.append(fakes.late(fakes.output([message(text("Hola"))]), seconds=0.05))

    answer = await assistant.answer(await ensured(assistant), HELLO)

    assert isinstance(answer, Answer)


# --- memory = "local" ---


async def test_local_memory_sends_our_own_thread_and_stores_nothing(
    fake: FakeOpenAI, local: Assistant
) -> None:
    thread = (PromptItem("user", "Hola"), PromptItem("assistant", "Buenos dias"))

    answer = await local.answer(None, replace(HELLO, thread=thread))

    assert isinstance(answer, Answer)
    (body,) = fake.bodies("/responses")
    assert [item["content"] for item in body["input"]] == ["Hola", "Buenos dias", CANARY]
    assert body["store"] is False
    assert "conversation" not in body
    assert fake.conversations == {}


async def test_local_memory_keeps_no_conversation(fake: FakeOpenAI, local: Assistant) -> None:
    assert await local.ensure() == NoAnswer(PERMANENT, "keeps_no_conversation")
    assert fake.requests == []


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (fakes.dropped(), TRANSIENT),
        (fakes.error(400, "context_length_exceeded"), PERMANENT),
        (fakes.error(503), TRANSIENT),
    ],
)
async def test_with_local_memory_no_outcome_is_unknown(
    fake: FakeOpenAI, local: Assistant, fault: Fault, failure: AnswerFailure
) -> None:
    fake.faults.append(fault)

    refused = await local.answer(None, HELLO)

    assert isinstance(refused, NoAnswer)
    assert refused.failure is failure
