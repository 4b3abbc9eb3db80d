"""A message that its webhook brings after the provider's history did."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.house import House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"


@pytest.mark.parametrize("copies", [1, 5])
async def test_a_webhook_that_comes_while_its_message_is_being_told_is_answered(
    database: DatabaseUrls, tmp_path: Path, copies: int
) -> None:
    async with House(database, tmp_path, NOON) as house:
        asked = asyncio.Event()

        async def think(_question: Any) -> None:
            asked.set()
            await house.hold(30)

        await say(house, "Hola")
        await house.advance(400)
        delayed = house.wati.customer_message(PHONE, "Mesa para dos", house.clock.now())
        await house.advance(10)
        house.ai.before_answer = think
        await say(house, "Sigue ahi?")
        await house.advance(45)
        assert asked.is_set()
        posts = [house.post(delayed.webhook()) for _ in range(copies)]
        assert set(await asyncio.gather(*posts)) == {200}
        await house.advance(300)

        first, gap, last = await house.why(PHONE)
        assert first["outcome"] == gap["outcome"] == last["outcome"] == "answered"
        assert [m["text"] for m in gap["missed"]] == ["Mesa para dos"]
        assert [m["text"] for m in last["messages"]] == ["Mesa para dos"]
        assert len(house.wati.texts_to(PHONE)) == 3
        assert (await house.audit()).sound


async def test_a_webhook_that_comes_after_its_message_was_told_is_not_answered(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with House(database, tmp_path, NOON) as house:
        await say(house, "Hola")
        await house.advance(400)
        delayed = house.wati.customer_message(PHONE, "Mesa para dos", house.clock.now())
        await house.advance(10)
        await say(house, "Sigue ahi?")
        await house.advance(60)
        assert await house.post(delayed.webhook()) == 200
        await house.advance(300)
        assert len(await house.why(PHONE)) == len(house.wati.texts_to(PHONE)) == 2
        balance = await house.audit()
        assert (balance.sound, balance.accepted) == (True, 2)


async def say(house: House, text: str) -> None:
    said = house.wati.customer_message(PHONE, text, house.clock.now())
    assert await house.post(said.webhook()) == 200
    await house.quiet()
