"""Looking for a lost answer: what the AI lists is not trusted, and the look itself may fail."""

from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest

from relevo.actors.ports import Assistant
from relevo.events import AnswerFailure, Finding
from relevo.outcomes import Answer, NoAnswer
from tests.fakes import openai_faults as fakes
from tests.fakes.openai import FakeOpenAI
from tests.fakes.openai_faults import Fault
from tests.openai_rig import CANARY, HELLO, KEY, PHONE, ensured, opened, settings_for, text

UNKNOWN = AnswerFailure.UNKNOWN
PERMANENT = AnswerFailure.PERMANENT
UNREADABLE = NoAnswer(UNKNOWN, "unreadable")
INPUT = {"id": "m1", "type": "message", "role": "user", "content": CANARY}


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key=KEY) as running:
        yield running


@pytest.fixture
async def assistant(fake: FakeOpenAI) -> AsyncIterator[Assistant]:
    async with opened(settings_for(fake)) as running:
        yield running


def listed(*items: object, **others: object) -> Fault:
    """List these, newest first."""
    return fakes.raw(orjson.dumps({"object": "list", "data": items, "has_more": False, **others}))


def said(*content: object, **others: object) -> dict[str, object]:
    return {"type": "message", "role": "assistant", "content": list(content), **others}


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (fakes.locked(), Finding.RUNNING),
        (fakes.error(404, None, "No conversation"), AnswerFailure.CONVERSATION_UNUSABLE),
        (fakes.error(401), PERMANENT),
        (fakes.error(503), AnswerFailure.TRANSIENT),
        (fakes.rate_limited(), AnswerFailure.RATE_LIMITED),
        (fakes.html(), UNKNOWN),
        (fakes.raw(b"null"), UNKNOWN),
        (fakes.raw(b'{"data": ['), UNKNOWN),
        (fakes.dropped(), UNKNOWN),
    ],
)
async def test_a_look_that_fails_is_classified_like_a_call(
    fake: FakeOpenAI, assistant: Assistant, fault: Fault, found: object
) -> None:
    conversation = await ensured(assistant)
    # For ever: a read that lost its connection is repeated by the client itself.
    fake.list_faults.for_ever = fault

    seen = await assistant.reconcile(conversation, HELLO)

    assert (seen.failure if isinstance(seen, NoAnswer) else seen) == found
    assert fake.responses == 0


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (listed(INPUT), Finding.RUNNING),
        (listed(said(text("Hola")), INPUT), Answer("Hola")),
        (listed(said(text("Ana")), said(text("Hola ")), INPUT), Answer("Hola Ana")),
        (listed(said(text("Hola")), {"type": "reasoning"}, {"type": 7}, INPUT), Answer("Hola")),
        (listed(said(), INPUT), Answer("")),
        (listed(said(text("Hola"), status="in_progress"), INPUT), Finding.RUNNING),
        (listed(said(text("Ho"), status="incomplete"), INPUT), NoAnswer(PERMANENT, "incomplete")),
        (
            listed(said({"type": "refusal", "refusal": CANARY}), INPUT),
            NoAnswer(AnswerFailure.POLICY, "refused"),
        ),
        (listed(said(text("Hola"), status=["incomplete"]), INPUT), Answer("Hola")),
        (listed(said("Hola"), INPUT), UNREADABLE),
        (listed(said({"type": "output_text", "text": 7}), INPUT), UNREADABLE),
        (listed({**said(), "content": "Hola"}, INPUT), UNREADABLE),
        (listed({**said(), "content": None}, INPUT), UNREADABLE),
        (listed(said(text("Hola")), {**INPUT, "content": None}), Finding.NOT_STORED),
        (listed(said(text("Hola")), {**INPUT, "content": [CANARY]}), Finding.NOT_STORED),
        (listed(said(text("Hola")), {**INPUT, "content": [{"text": 7}]}), Finding.NOT_STORED),
        (listed(said(text("Hola")), {**INPUT, "role": ["user"]}), Finding.NOT_STORED),
        (listed(said(text("Hola")), {**INPUT, "role": "robot"}), Finding.NOT_STORED),
        (listed(said(text("Hola")), {**INPUT, "type": "note"}), Finding.NOT_STORED),
        (listed(None), UNREADABLE),
        (listed(CANARY), UNREADABLE),
        (fakes.raw(b'{"data": {}}'), UNREADABLE),
        (fakes.raw(b"{}"), UNREADABLE),
        (listed({"type": "message"}, has_more=True), UNREADABLE),
        (listed({"type": "message"}, has_more=True, last_id=7), UNREADABLE),
        (listed(has_more=True), Finding.NOT_STORED),
    ],
)
async def test_what_is_listed_is_believed_only_in_its_shape(
    fake: FakeOpenAI, assistant: Assistant, page: Fault, found: object
) -> None:
    conversation = await ensured(assistant)
    fake.list_faults.append(page)

    assert await assistant.reconcile(conversation, HELLO) == found


async def test_pages_that_never_end_are_given_up(fake: FakeOpenAI, assistant: Assistant) -> None:
    conversation = await ensured(assistant)
    fake.list_faults.for_ever = listed({"type": "reasoning", "id": "x"}, has_more=True)

    assert await assistant.reconcile(conversation, HELLO) is Finding.UNCLEAR
    assert fake.lists == 3


async def test_a_look_is_bounded_as_a_whole(fake: FakeOpenAI) -> None:
    fake.list_faults.append(fakes.raw(b" " * 1_000, drip_seconds=0.02))
    async with opened(replace(settings_for(fake), timeout_seconds=0.3)) as hasty:
        found = await hasty.reconcile(await ensured(hasty), HELLO)

    assert found == NoAnswer(UNKNOWN, "timeout")


async def test_all_pages_of_a_look_are_bounded_together(fake: FakeOpenAI) -> None:
    page = listed({"type": "reasoning", "id": "x"}, has_more=True)
    fake.list_faults.for_ever = fakes.late(page, seconds=0.2)
    async with opened(replace(settings_for(fake), timeout_seconds=0.3)) as hasty:
        found = await hasty.reconcile(await ensured(hasty), HELLO)

    assert found == NoAnswer(UNKNOWN, "timeout")


@pytest.mark.parametrize("refused", [PHONE, "", "conv_"])
async def test_an_invalid_id_is_not_asked_for(
    fake: FakeOpenAI, assistant: Assistant, refused: str
) -> None:
    seen = await assistant.reconcile(refused, HELLO)

    assert seen == NoAnswer(AnswerFailure.CONVERSATION_UNUSABLE, "conversation_invalid")
    assert fake.requests == []


async def test_a_memory_of_our_own_stores_nothing_at_the_ai(fake: FakeOpenAI) -> None:
    async with opened(replace(settings_for(fake), memory="local")) as local:
        assert await local.reconcile("conv_1", HELLO) is Finding.NOT_STORED
    assert fake.requests == []
