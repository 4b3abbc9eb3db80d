"""The server is stopped or killed from outside, at moments that no point of its own marks."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from relevo.actors.supervisor import Bounds
from relevo.store.embedded import DatabaseUrls
from tests.crash_story import FIRST, FIRST_REPLY, PHONE, expect_one_reply, expect_sound, reply
from tests.lives import Lives

pytestmark = pytest.mark.process

STOP_SECONDS_MAX = Bounds().drain_seconds + 5
"""How long a process may take to exit once it was told to."""

WAITING = """
SELECT count(*) > 0 FROM pg_locks
WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.mark.parametrize("ended", [1, 0], ids=["answered_in_time", "never_answered"])
async def test_told_to_stop_within_a_turn_it_exits_well_and_the_next_life_ends_the_turn(
    ended: int, database: DatabaseUrls, tmp_path: Path
) -> None:
    async with Lives(database, tmp_path) as lives:
        go_on = await answering(lives)
        lives.process.terminate()
        await lives.until(lambda: lives.stopping)
        if ended:
            go_on.set()
        await lives.until(lambda: lives.exits == [0], STOP_SECONDS_MAX)
        assert await lives.ended(ended)
        go_on.set()
        await lives.start()
        await lives.until(lambda: lives.ended(1))
        await expect_one_reply(lives)


async def test_killed_while_the_ai_answers_it_asks_elsewhere_and_replies_once(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with Lives(database, tmp_path) as lives:
        go_on = await answering(lives)
        lives.process.kill()
        await lives.until(lambda: lives.exits == [-9])
        go_on.set()  # the AI finishes, and keeps, what nobody waits for any more
        await lives.until(lambda: lives.ended(1))
        await expect_one_reply(lives)


async def test_a_send_that_arrives_after_it_was_looked_for_is_not_repeated(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    """It was on its way when the process died; the provider takes it while the next one waits."""
    async with Lives(database, tmp_path) as lives:
        lives.ai.before_answer = lambda body: reply(lives, body)
        wati = lives.wati
        await lives.start("before:effect:Send#1")
        said = wati.customer_message(PHONE, FIRST, lives.clock.now())
        await lives.deliver(said.webhook())
        await lives.until(lambda: lives.passed.count("after:effect:Recall") == 2)
        wati.say(PHONE, "api", FIRST_REPLY, lives.clock.now(), name=wati.api_operator)
        await lives.until(lambda: lives.ended(1))
        assert wati.sends == []
        assert await lives.value("SELECT state FROM outbox") == "accepted"
        await expect_sound(lives)


async def test_killed_while_fifty_customers_gather_it_replies_to_each_once_and_in_order(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    phones = [f"503700002{n:02}" for n in range(50)]
    said = ["Hola.", "Quisiera una habitación.", "Para dos noches."]
    business = {"quiet_seconds": 60, "first_contact_lookback_seconds": 0}
    async with Lives(database, tmp_path, **business) as lives:
        lives.ai.before_answer = lambda body: repeat(lives, body)
        await lives.start()
        for text in said:
            now = lives.clock.now()
            bodies = [lives.wati.customer_message(p, f"{p}: {text}", now).webhook() for p in phones]
            await asyncio.gather(*(lives.deliver(body) for body in bodies))
        assert lives.passed == []
        lives.business["quiet_seconds"] = 0.3
        lives.process.kill()
        await lives.until(lambda: lives.ended(len(phones)))
        assert lives.exits == [-9]
        assert {phone: lives.wati.texts_to(phone) for phone in phones} == {
            phone: ["\n".join(f"{phone}: {text}" for text in said)] for phone in phones
        }
        assert (await lives.audit()).fates == {"answered": len(phones) * len(said)}
        await expect_sound(lives)


@pytest.mark.parametrize(("locked", "stored"), [("message", 0), ("quarantine", 1)])
async def test_a_webhook_whose_answer_died_is_delivered_again_and_is_one_message(
    locked: str, stored: int, database: DatabaseUrls, tmp_path: Path
) -> None:
    """A body with a message and something unreadable: killed before the one, or between the two."""
    async with Lives(database, tmp_path) as lives:
        lives.ai.before_answer = lambda body: reply(lives, body)
        body = lives.wati.customer_message(PHONE, FIRST, lives.clock.now()).webhook()
        await lives.start()
        async with asyncio.TaskGroup() as provider, lives.owner.transaction():
            await lives.owner.execute(f"LOCK TABLE {locked} IN SHARE MODE")
            provider.create_task(lives.deliver([body, "unreadable"]))
            async with asyncio.timeout(10):
                while not await lives.value(WAITING):
                    assert lives.exits == []
            assert await lives.value("SELECT count(*) FROM message") == stored
            lives.process.kill()
            await lives.until(lambda: lives.exits == [-9])
        await lives.until(lambda: lives.ended(1))
        await expect_one_reply(lives)
        assert await lives.value("SELECT count(*) FROM quarantine") >= 1


async def answering(lives: Lives) -> asyncio.Event:
    """Bring a server to where the AI has a customer's message, and return what lets it answer."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(body: Mapping[str, Any]) -> None:
        asked.set()
        await go_on.wait()
        await reply(lives, body)

    lives.ai.before_answer = hold
    await lives.start()
    said = lives.wati.customer_message(PHONE, FIRST, lives.clock.now())
    await lives.deliver(said.webhook())
    async with asyncio.timeout(10):
        await asked.wait()
    return go_on


async def repeat(lives: Lives, body: Mapping[str, Any]) -> None:
    told = [item["content"] for item in body["input"] if item["role"] == "user"]
    lives.ai.answers.append("\n".join(told))
