"""Sixty bodies at once, full of messages that other bodies bring too, through HTTP to the reply."""

import asyncio
import random
from pathlib import Path

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.house import House
from tests.store_rig import NOON, deadlocks

pytestmark = pytest.mark.postgres

BODIES = 60
CUSTOMERS = 20
MESSAGES = 200


async def test_sixty_bodies_at_once_lose_double_and_split_nothing(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    chance = random.Random(20261126)
    # No look-backs: they would wait for tokens, and so for the clock.
    async with House(database, tmp_path, NOON, first_contact_lookback_seconds=0) as house:
        said = [
            house.wati.customer_message(phone(n % CUSTOMERS), f"mensaje {n}", house.clock.now())
            for n in range(MESSAGES)
        ]
        deliveries = [one for one in said for _ in range(chance.choice((1, 2, 4)))]
        chance.shuffle(deliveries)
        events = [one.webhook(chance.choice(("", "_v2", "_bsuid"))) for one in deliveries]
        bodies = [events[start::BODIES] for start in range(BODIES)]

        statuses = await asyncio.gather(*(house.post(body) for body in bodies))

        assert statuses == [200] * BODIES
        rows = await house.rows("SELECT conversation_id, body FROM message ORDER BY id")
        assert sorted(row["body"] for row in rows) == sorted(
            f"mensaje {n}" for n in range(MESSAGES)
        )
        assert len({row["conversation_id"] for row in rows}) == CUSTOMERS
        await house.advance(300)
        for customer in range(CUSTOMERS):
            [turn] = await house.why(phone(customer))
            assert len(turn["messages"]) == MESSAGES // CUSTOMERS
            assert len(house.wati.texts_to(phone(customer))) == 1
        balance = await house.audit()
        assert (balance.sound, balance.accepted) == (True, MESSAGES)
    assert await deadlocks(database) == 0


def phone(customer: int) -> str:
    return f"503700002{customer:02}"
