"""Failures of the AI that take more than one message, or more than one customer, to be told."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relevo.http.circuit import PROBE_SECONDS
from relevo.store.embedded import DatabaseUrls
from tests.fakes import openai_faults as fakes
from tests.fakes.clock import until
from tests.fakes.openai_faults import after, error
from tests.house import House
from tests.openai_table import OTHER_PHONE, PHONE, ended, letters, remembers_once, says, shapes
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

QUIET_SECONDS, ANSWER_SECONDS = 35, 90
TURN_SECONDS = 60
"""Longer than a turn takes that fails at once, or does not fail."""


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON) as house:
        yield house


async def answered(house: House, text: str, reply: str = "ok", phone: str = PHONE) -> None:
    """Have a message that is answered without any trouble."""
    house.ai.answers.append(reply)
    await says(house, text, phone)
    await house.advance(TURN_SECONDS)
    assert house.wati.texts_to(phone)[-1] == reply


def told(house: House, number: int = -1) -> list[str]:
    """Return the texts of what the AI was asked."""
    return [item["content"] for item in house.ai.bodies("/responses")[number]["input"]]


async def test_nine_times_500_end_in_one_dead_letter_that_the_next_turn_answers_once(
    house: House,
) -> None:
    house.ai.faults.extend([error(500)] * 9)
    await says(house, "Tienen piscina?")
    await house.advance(600)
    assert house.ai.responses == 3
    assert await ended(house) == [("failed", "http_500")]
    assert await letters(house) == [("http_500", "open")]
    assert house.wati.texts_to(PHONE) == []

    house.ai.faults.clear()
    await answered(house, "Hola?", "Hay dos.")
    assert await ended(house) == [("failed", "http_500"), ("answered", "")]
    assert await letters(house) == [("http_500", "superseded")]
    assert told(house)[-2:] == ["Tienen piscina?", "Hola?"]
    assert (remembers_once(house.ai), house.wati.texts_to(PHONE)) == (True, ["Hay dos."])
    assert (await house.audit()).sound


async def test_a_conversation_that_is_gone_is_made_again_from_what_we_know(house: House) -> None:
    await answered(house, "Hola", "Buenos dias")
    house.ai.conversations.clear()
    await answered(house, "Tienen piscina?", "Hay dos.")

    [made] = house.ai.conversations
    kept = [i["content"] for i in house.ai.conversations[made].items[:-1]]
    assert kept == ["Hola", "Buenos dias", "Tienen piscina?"]
    assert shapes(house.ai) == ("uaua",)
    assert (house.ai.responses, house.ai.conversations_created) == (3, 2)


async def test_a_conversation_that_stays_locked_is_left_for_a_new_one(house: House) -> None:
    await answered(house, "Hola", "Buenos dias")
    [locked] = house.ai.conversations.values()
    locked.locked = True
    await says(house, "Tienen piscina?")
    await house.advance(TURN_SECONDS)

    assert house.wati.texts_to(PHONE) == ["Buenos dias", "ok"]
    assert (house.ai.responses, shapes(house.ai)) == (1 + 5 + 1, ("ua", "uaua"))


async def outlast(house: House, landing: asyncio.Event) -> None:
    """Have a message whose answer is given up at its deadline, and lands when it is told to."""

    async def think(_question: Any) -> None:
        house.ai.before_answer = None
        await house.hold(ANSWER_SECONDS)
        await landing.wait()

    house.ai.before_answer = think
    await says(house, "Tienen piscina?")
    await house.advance(QUIET_SECONDS + ANSWER_SECONDS)
    assert (house.ai.responses, house.ai.holding) == (1, 1)


async def test_an_answer_that_comes_after_its_time_is_waited_for_and_sent_once(
    house: House,
) -> None:
    landing = asyncio.Event()
    house.ai.lists_locked = False
    await outlast(house, landing)
    await house.advance(5)
    assert house.ai.lists > 1
    landing.set()
    await until(lambda: shapes(house.ai) == ("ua",))
    await house.advance(TURN_SECONDS)

    assert await ended(house) == [("answered", "")]
    assert house.ai.responses == 1
    assert house.wati.texts_to(PHONE) == ["ok"]


async def test_an_answer_that_nobody_can_see_coming_lands_where_nobody_asks_again(
    house: House,
) -> None:
    landing = asyncio.Event()
    await outlast(house, landing)
    await house.advance(TURN_SECONDS)
    assert await ended(house) == [("answered", "")]
    landing.set()
    await until(lambda: shapes(house.ai) == ("ua", "ua"))

    await answered(house, "Gracias", "De nada")
    assert shapes(house.ai) == ("ua", "uaua")
    assert (house.ai.responses, house.wati.texts_to(PHONE)) == (3, ["ok", "De nada"])


async def test_the_same_words_twice_are_asked_anew_rather_than_taken_for_the_first(
    house: House,
) -> None:
    await answered(house, "Hola")
    house.ai.faults.append(fakes.dropped())
    await answered(house, "Hola", "Hola otra vez")

    assert house.wati.texts_to(PHONE) == ["ok", "Hola otra vez"]
    assert (house.ai.responses, shapes(house.ai)) == (3, ("ua", "uaua"))


async def test_what_is_refused_twice_is_not_offered_a_third_time(house: House) -> None:
    house.ai.faults.extend([error(400, "invalid_prompt")] * 2)
    for text in ("Como hago una bomba?", "Digame"):
        await says(house, text)
        await house.advance(TURN_SECONDS)
    assert await ended(house) == [("failed", "invalid_prompt")] * 2
    assert told(house) == ["Como hago una bomba?", "Digame"]

    await answered(house, "Tienen piscina?", "Hay dos.")
    assert told(house)[-2:] == ["Digame", "Tienen piscina?"]
    assert "Como hago una bomba?" not in told(house)
    assert house.ai.responses == 3


async def test_what_is_refused_twice_is_not_in_a_new_conversation_either(house: House) -> None:
    house.ai.faults.extend([error(400, "invalid_prompt")] * 2)
    for text in ("Como hago una bomba?", "Digame", "Tienen piscina?"):
        await says(house, text)
        await house.advance(TURN_SECONDS)

    assert house.ai.conversations_created == 3
    assert "Como hago una bomba?" not in house.ai.holds()


async def test_a_refusal_is_not_in_the_memory_that_the_next_turn_is_answered_with(
    house: House,
) -> None:
    house.ai.faults.append(after("turn", fakes.incomplete("content_filter")))
    await says(house, "Hola")
    await house.advance(TURN_SECONDS)
    await answered(house, "Tienen piscina?", "Hay dos.")

    first, second = house.ai.bodies("/responses")
    assert first["conversation"] != second["conversation"]
    assert remembers_once(house.ai)


async def test_a_rate_limit_of_one_customer_keeps_the_others_calls_at_home(house: House) -> None:
    house.ai.faults.append(fakes.rate_limited(retry_after="20"))
    await says(house, "Hola")
    await house.advance(1)
    await says(house, "Buenas", OTHER_PHONE)
    await house.advance(40)
    assert house.ai.responses == 1

    await house.advance(TURN_SECONDS)
    assert house.ai.responses == 3
    assert (house.wati.texts_to(PHONE), house.wati.texts_to(OTHER_PHONE)) == (["ok"], ["ok"])
    metrics = await house.metrics()
    assert metrics["relevo_assistant_brakes_total"] == 1
    assert metrics['relevo_assistant_requests_total{outcome="rate_limited"}'] >= 1


async def test_when_the_money_is_gone_one_call_a_minute_asks_whether_it_is_back(
    house: House,
) -> None:
    is_open = 'relevo_assistant_circuits_open{reason="insufficient_quota"}'
    house.ai.faults.for_ever = fakes.out_of_quota()
    await says(house, "Hola")
    await house.advance(40)
    for _ in range(3):
        await says(house, "Buenas", OTHER_PHONE)
        await house.advance(5)
    await house.advance(40)
    assert house.ai.responses == 1
    assert await letters(house) == [("insufficient_quota", "open"), ("circuit_open", "open")]
    assert (await house.metrics())[is_open] == 1
    assert house.logs.getvalue().count(b"assistant_circuit_open: insufficient_quota") == 1

    house.ai.faults.for_ever = None
    await house.advance(PROBE_SECONDS)
    await answered(house, "Sigue ahi?", "Aqui estoy.")
    assert told(house)[-2:] == ["Hola", "Sigue ahi?"]
    assert (await house.metrics())[is_open] == 0
    assert house.logs.getvalue().count(b"assistant_circuit_closed: insufficient_quota") == 1
    assert (await house.audit()).sound


async def test_nothing_of_a_customer_or_a_key_is_in_a_line_or_a_metric_of_any_failure(
    house: House,
) -> None:
    canary = "mi clave es sk-canary-50370000246"
    for fault in (
        error(400, canary, canary, canary, canary),
        error(404, canary, f"conversation {canary}"),
        error(429, canary, canary, headers={"Retry-After": canary}),
        error(401, canary, canary),
        after("turn", fakes.failed(canary)),
        after("turn", fakes.incomplete(canary)),
        after("turn", fakes.raw(canary.encode())),
        fakes.not_http(canary.encode()),
    ):
        house.ai.faults.append(fault)
        await says(house, canary)
        await house.advance(TURN_SECONDS + PROBE_SECONDS)

    shown = house.logs.getvalue().decode() + "".join(await house.metrics())
    assert "assistant_rejected" in shown
    assert not [leak for leak in (canary, "sk-canary", PHONE) if leak in shown]
    assert (NOON + timedelta(days=1)) > house.clock.now()
