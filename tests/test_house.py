"""The house: a stop ends by itself, also with work under way on a clock that stands still."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.fakes.clock import until
from tests.house import House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"


async def test_a_stop_while_the_ai_thinks_ends_within_the_bound_of_its_drain(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with House(database, tmp_path, NOON) as house:

        async def think(_question: Any) -> None:
            await house.hold(30)

        house.ai.before_answer = think
        assert await house.post(house.wati.customer_message(PHONE, "Hola", NOON).webhook()) == 200
        await house.advance(40)
        await until(lambda: house.ai.holding == 1)
        asked_at = house.clock.now()
        await house.stop()
        assert house.clock.now() - asked_at <= timedelta(seconds=house.bounds.drain_seconds)
        house.ai.before_answer = None
        await house.start()
        await house.advance(60)
        assert house.wati.texts_to(PHONE) == ["ok"]
        assert (await house.audit()).sound


async def test_a_stop_with_nothing_under_way_takes_no_time(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with House(database, tmp_path, NOON) as house:
        assert await house.post(house.wati.customer_message(PHONE, "Hola", NOON).webhook()) == 200
        await house.advance(5)
        before = house.clock.now()
        await house.stop()
        assert house.clock.now() == before
        await house.start()
        await house.advance(60)
        assert house.wati.texts_to(PHONE) == ["ok"]
