"""What a conversation at the AI tells of a call that never came back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from relevo.actors.ports import Assistant
from relevo.events import AnswerFailure, Finding
from relevo.outcomes import Answer, NoAnswer, Prompt, PromptItem
from tests.fakes import openai_faults as fakes
from tests.fakes.clock import until
from tests.fakes.openai import FakeOpenAI
from tests.fakes.openai_faults import Fault, after, dropped
from tests.openai_rig import EMPTY, KEY, ensured, opened, settings_for

UNKNOWN = AnswerFailure.UNKNOWN
NOT_STORED, RUNNING, UNCLEAR = Finding.NOT_STORED, Finding.RUNNING, Finding.UNCLEAR


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key=KEY) as running:
        yield running


@pytest.fixture
async def assistant(fake: FakeOpenAI) -> AsyncIterator[Assistant]:
    async with opened(settings_for(fake)) as running:
        yield running


def told(*items: str) -> tuple[PromptItem, ...]:
    """Make items of texts; "agent: " and "note: " before one say whose it is."""
    made = []
    for item in items:
        if item.startswith("agent: "):
            made.append(PromptItem("assistant", item.removeprefix("agent: ")))
        elif item.startswith("note: "):
            made.append(PromptItem("developer", item.removeprefix("note: ")))
        else:
            made.append(PromptItem("user", item))
    return tuple(made)


def asked(*items: str, before: tuple[str, ...] = ()) -> Prompt:
    return Prompt(items=told(*items), thread=told(*before))


async def lost(
    fake: FakeOpenAI, assistant: Assistant, conversation: str, prompt: Prompt, fault: Fault
) -> None:
    """Ask, and never hear of it again."""
    fake.faults.append(fault)
    failure = await assistant.answer(conversation, prompt)
    assert isinstance(failure, NoAnswer)
    assert failure.failure is UNKNOWN


STORED = dropped(stored=True)
AWAY = dropped()
INPUT_ONLY = after("input", dropped())


# --- what is there, and what is not ---


@pytest.mark.parametrize(
    "fault",
    [
        STORED,
        after("turn", fakes.html()),
        after("turn", fakes.raw(b"null")),
        after("turn", fakes.raw(b'{"status": "comp')),
        after("turn", fakes.failed("server_error")),
    ],
)
@pytest.mark.parametrize("reasons", [False, True])
async def test_an_answer_that_was_lost_on_its_way_is_found(
    fake: FakeOpenAI, assistant: Assistant, *, fault: Fault, reasons: bool
) -> None:
    fake.reasons = reasons
    conversation = await ensured(assistant, asked(before=("Hola", "agent: Buenos dias")))
    prompt = asked("Tienen piscina?", before=("Hola", "agent: Buenos dias"))
    fake.answers.append("Hay dos piscinas.")
    await lost(fake, assistant, conversation, prompt, fault)

    assert await assistant.reconcile(conversation, prompt) == Answer("Hay dos piscinas.")
    assert (fake.responses, fake.lists, fake.shape(conversation)) == (1, 1, "uaua")


async def test_a_question_that_never_arrived_is_not_stored(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant, asked(before=("Hola", "agent: Buenos dias")))
    prompt = asked("Tienen piscina?", before=("Hola", "agent: Buenos dias"))
    await lost(fake, assistant, conversation, prompt, AWAY)

    assert await assistant.reconcile(conversation, prompt) is NOT_STORED


async def test_an_empty_conversation_holds_nothing(assistant: Assistant) -> None:
    assert await assistant.reconcile(await ensured(assistant), asked("Hola")) is NOT_STORED


async def test_an_input_without_an_answer_is_still_running(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    await lost(fake, assistant, conversation, asked("Hola"), INPUT_ONLY)

    assert await assistant.reconcile(conversation, asked("Hola")) is RUNNING


@pytest.mark.parametrize(("lists_locked", "meanwhile"), [(True, NOT_STORED), (False, RUNNING)])
async def test_an_answer_that_still_comes_is_found_when_it_has_come(
    fake: FakeOpenAI, *, lists_locked: bool, meanwhile: Finding
) -> None:
    release = asyncio.Event()
    fake.lists_locked = lists_locked

    async def hold(_body: dict[str, Any]) -> None:
        await release.wait()

    fake.before_answer = hold
    async with opened(replace(settings_for(fake), timeout_seconds=0.3)) as hasty:
        conversation = await ensured(hasty)
        given_up = await hasty.answer(conversation, asked("Hola"))
    async with opened(settings_for(fake)) as assistant:
        early = await assistant.reconcile(conversation, asked("Hola"))
        release.set()
        await until(lambda: fake.shape(conversation) == "ua")
        found = await assistant.reconcile(conversation, asked("Hola"))

    assert given_up == NoAnswer(UNKNOWN, "timeout")
    assert (early, found) == (meanwhile, Answer("ok"))
    assert (fake.responses, fake.shape(conversation)) == (1, "ua")


@pytest.mark.parametrize(
    "items",
    [
        ("Tienen piscina?", "Y sauna?"),
        ("note: You are told 2.", "Busco cuarto", "agent: Claro, al 14", "Y sauna?"),
        ("Hola", "Hola", "Hola"),
        ("  ¿Ñandú 🦤?\n\n", "\u00a0x"),
    ],
)
async def test_an_input_of_many_items_is_known_by_every_role_and_word(
    fake: FakeOpenAI, assistant: Assistant, items: tuple[str, ...]
) -> None:
    conversation = await ensured(assistant)
    await lost(fake, assistant, conversation, asked(*items), STORED)
    other_roles = [replace(i, role="developer") for i in asked(*items).items[:-1]]

    assert await assistant.reconcile(conversation, asked(*items)) == Answer("ok")
    assert await assistant.reconcile(conversation, asked("x", *items)) is NOT_STORED
    assert await assistant.reconcile(conversation, asked(*items[:-1], "x")) is NOT_STORED
    swapped = Prompt(items=(*other_roles, PromptItem("developer", items[-1])))
    assert await assistant.reconcile(conversation, swapped) is NOT_STORED


async def test_a_turn_that_is_not_the_newest_is_not_this_one(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    await assistant.answer(conversation, asked("Hola"))
    await assistant.answer(conversation, asked("Tienen piscina?"))

    assert await assistant.reconcile(conversation, asked("Hola")) is NOT_STORED
    assert fake.shape(conversation) == "uaua"


# --- the same words twice ---


async def test_an_earlier_turn_of_the_same_words_is_never_taken_for_this_one(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    await assistant.answer(conversation, asked("Hola"))
    prompt = asked("Hola", before=("Hola", "agent: ok"))

    await lost(fake, assistant, conversation, prompt, AWAY)
    assert await assistant.reconcile(conversation, prompt) is UNCLEAR

    await lost(fake, assistant, conversation, prompt, STORED)
    assert await assistant.reconcile(conversation, prompt) is UNCLEAR


@pytest.mark.parametrize(
    ("reply", "before"),
    [
        ("Hay dos.\n\nY sauna.", ("agent: Hay dos.", "agent: Y sauna.")),
        (
            "piscina " * 5_000,
            (*["agent: " + "piscina " * 500] * 7, "agent: " + "piscina " * 9 + "…"),
        ),
        ("Hay\0 dos.\n\nY sauna.", ("agent: Hay dos. Y  sauna.",)),
        ("Hay dos.\n\nY sauna.", ("agent: Hay dos.",)),
        ("Hay dos.\n\nY sauna.", ("agent: Hay dos. Y sauna.", "agent: Hasta el lunes!")),
        ("Hay dos.\n\nY sauna.", ()),
        ("", ()),
    ],
    ids=["in parts", "cut", "cleaned", "half of it sent", "sent and more", "never sent", "silence"],
)
async def test_an_earlier_reply_is_known_however_our_rows_have_it(
    fake: FakeOpenAI, assistant: Assistant, reply: str, before: tuple[str, ...]
) -> None:
    conversation = await ensured(assistant)
    fake.answers.append(reply)
    await assistant.answer(conversation, asked("Antes", "Que hay?"))
    prompt = asked("Que hay?", before=("Antes", "Que hay?", *before))

    assert await assistant.reconcile(conversation, prompt) is UNCLEAR


async def test_another_reply_to_the_same_words_is_a_new_one(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    fake.answers.extend(("Buenos dias", "Hola otra vez"))
    await assistant.answer(conversation, asked("Hola"))
    prompt = asked("Hola", before=("Hola", "agent: Buenos dias"))
    await lost(fake, assistant, conversation, prompt, STORED)

    assert await assistant.reconcile(conversation, prompt) == Answer("Hola otra vez")


async def test_the_same_words_once_more_without_an_answer_are_running(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    await assistant.answer(conversation, asked("Hola"))
    prompt = asked("Hola", before=("Hola", "agent: ok"))
    await lost(fake, assistant, conversation, prompt, INPUT_ONLY)

    assert await assistant.reconcile(conversation, prompt) is RUNNING


async def test_an_earlier_turn_that_was_answered_with_silence_is_not_running(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant, asked(before=("Gracias",)))

    assert await assistant.reconcile(conversation, asked("Gracias", before=("Gracias",))) is UNCLEAR
    assert fake.shape(conversation) == "u"


# --- long inputs ---


async def test_an_input_of_more_than_a_page_is_read_on(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant, asked(before=("Hola", "agent: Buenos dias")))
    prompt = asked(*(f"message {number}" for number in range(130)))
    await lost(fake, assistant, conversation, prompt, STORED)

    assert await assistant.reconcile(conversation, prompt) == Answer("ok")
    assert fake.lists == 2


async def test_a_short_input_reads_one_page_of_a_long_conversation(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    for number in range(60):
        await assistant.answer(conversation, asked(f"message {number}"))

    assert await assistant.reconcile(conversation, asked("message 59")) == Answer("ok")
    assert await assistant.reconcile(conversation, asked("message 58")) is NOT_STORED
    assert fake.lists == 2


async def test_an_input_longer_than_all_pages_is_unclear(
    fake: FakeOpenAI, assistant: Assistant
) -> None:
    conversation = await ensured(assistant)
    prompt = asked(*(f"message {number}" for number in range(320)))
    await lost(fake, assistant, conversation, prompt, STORED)

    assert await assistant.reconcile(conversation, prompt) is UNCLEAR
    assert fake.lists == 3


@pytest.mark.parametrize("prompt", [EMPTY, asked("Hola", "agent: Buenos dias")])
async def test_an_input_that_nobody_would_answer_is_unclear(
    assistant: Assistant, prompt: Prompt
) -> None:
    assert await assistant.reconcile(await ensured(assistant), prompt) is UNCLEAR
