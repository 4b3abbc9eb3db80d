"""An Evolution line in the whole product: webhooks in, replies out, and people who step in."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from relevo.store.embedded import DatabaseUrls
from tests.fakes.evolution import INSTANCE, Chat, FakeEvolution, Said, Sending
from tests.house import SECRET, TOKEN, House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
LID = "88001122334455"
ANA = Chat(PHONE, LID)
ONLY_LID = Chat(lid=LID)
LINE = """
[[channel]]
id = "shop"
business = "hotel"
kind = "evolution"
base_url = "{base_url}"
instance = "{instance}"
token_env = "WATI_TOKEN"
webhook_secret_env = "WATI_SECRET"
"""


class Shop(NamedTuple):
    """A house, and the gateway behind its line."""

    house: House
    gateway: FakeEvolution

    async def hears(self, text: str, chat: Chat = ANA, **more: Any) -> Said:
        """Something is said, and Evolution posts it."""
        said = self.gateway.say(chat, text, self.house.clock.now(), **more)
        await self.posts(said.webhook())
        return said

    async def posts(self, body: object) -> None:
        assert await self.house.post(body, channel="shop") == 200

    def texts(self) -> list[str]:
        return [text for _, text in self.gateway.sends]


@pytest.fixture
async def shop(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Shop]:
    house = House(database, tmp_path, NOON)
    async with FakeEvolution(house.clock, key=TOKEN) as gateway:
        house.more_configuration = LINE.format(base_url=gateway.base_url, instance=INSTANCE)
        async with house:
            yield Shop(house, gateway)


async def test_a_message_is_answered_once_however_often_it_comes(shop: Shop) -> None:
    said = await shop.hears("Hola")
    await shop.posts(said.webhook())
    await shop.house.advance(60)
    await shop.posts(said.webhook())
    await shop.house.advance(60)
    assert shop.gateway.sends == [(PHONE, "ok")]
    assert [turn["outcome"] for turn in await shop.house.why(PHONE)] == ["answered"]
    assert (await shop.house.audit()).sound


async def test_a_colleague_who_writes_on_the_phone_is_first(shop: Shop) -> None:
    await shop.hears("Hola")
    await shop.house.advance(10)
    await shop.hears("Buenos dias, soy Maria", from_me=True)
    await shop.house.advance(60)
    assert shop.gateway.sends == []
    assert [turn["outcome"] for turn in await shop.house.why(PHONE)] == ["answered_by_human"]


async def test_what_a_colleague_wrote_unseen_is_found_after_a_gap(shop: Shop) -> None:
    await shop.hears("Hola")
    await shop.house.advance(1800)
    now = shop.house.clock.now()
    shop.gateway.say(ANA, "Le reservo la 14", now - timedelta(seconds=600), from_me=True)
    await shop.hears("Sigue libre?")
    await shop.house.advance(60)
    turn = (await shop.house.why(PHONE))[-1]
    assert (turn["outcome"], turn["verdict"], turn["recall"]) == ("answered", "gap", "complete")
    assert "Le reservo la 14" in str(shop.house.ai.requests[-1])
    assert shop.texts() == ["ok", "ok"]


async def test_our_own_reply_that_is_echoed_is_no_colleague_s(shop: Shop) -> None:
    async def echo(said: Said) -> None:
        await shop.posts(said.webhook("send.message"))

    shop.gateway.before_send_answer = echo
    await shop.hears("Hola")
    await shop.house.advance(60)
    await shop.posts(shop.gateway.said[-1].webhook("messages.upsert"))
    await shop.posts(shop.gateway.said[-1].status("READ"))
    await shop.house.advance(60)
    assert shop.texts() == ["ok"]
    assert [turn["outcome"] for turn in await shop.house.why(PHONE)] == ["answered"]
    rows = await shop.house.rows("SELECT author, status FROM message ORDER BY id")
    assert [tuple(row) for row in rows] == [("customer", ""), ("assistant", "read")]
    assert (await shop.house.audit()).sound


async def test_a_reply_that_is_echoed_under_a_lid_before_its_answer_is_in_one_thread(
    shop: Shop,
) -> None:
    """Nobody knows the lid yet, nor the id: that it is ours shows when both are known."""

    async def echo(said: Said) -> None:
        await shop.posts(replace(said, chat=ONLY_LID).webhook("send.message"))

    shop.gateway.before_send_answer = echo
    await shop.hears("Hola", Chat(PHONE))
    await shop.house.advance(60)
    shop.gateway.before_send_answer = None
    await shop.hears("Gracias")
    await shop.house.advance(60)
    assert shop.texts() == ["ok", "ok"]
    assert [turn["missed"] for turn in await shop.house.why(PHONE)] == [[], []]
    [known] = await shop.house.rows("SELECT id FROM conversation")
    thread = await shop.house.rows("SELECT author, conversation_id FROM message ORDER BY id")
    assert [tuple(row) for row in thread] == [
        (author, known["id"]) for author in ("customer", "assistant", "assistant", "customer")
    ]
    assert (await shop.house.audit()).sound


async def test_the_echo_of_our_own_reply_holds_no_chat(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    house = House(database, tmp_path, NOON, human_hold_seconds=3600)
    async with FakeEvolution(house.clock, key=TOKEN) as gateway:
        house.more_configuration = LINE.format(base_url=gateway.base_url, instance=INSTANCE)
        shop = Shop(house, gateway)

        async def echo(said: Said) -> None:
            await shop.posts(said.webhook("send.message"))

        gateway.before_send_answer = echo
        async with house:
            await shop.hears("Hola")
            await house.advance(60)
            await shop.hears("Sigue libre?")
            await house.advance(60)
            assert [turn["outcome"] for turn in await house.why(PHONE)] == ["answered"] * 2
            await shop.hears("Soy Maria", from_me=True)
            await shop.hears("Gracias")
            await house.advance(60)
        assert shop.texts() == ["ok", "ok"]


async def test_a_send_in_doubt_is_looked_for_and_not_said_twice(shop: Shop) -> None:
    shop.gateway.send_next(Sending(drop=True))
    await shop.hears("Hola")
    await shop.house.advance(200)
    assert shop.texts() == ["ok"]
    assert [turn["outcome"] for turn in await shop.house.why(PHONE)] == ["answered"]
    assert (await shop.house.audit()).sound


async def test_who_is_known_by_a_lid_is_answered_and_later_known_by_a_phone(shop: Shop) -> None:
    await shop.hears("Hola", ONLY_LID)
    await shop.house.advance(60)
    assert shop.gateway.sends == [(f"{LID}@lid", "ok")]
    await shop.hears("Soy yo")
    await shop.house.advance(60)
    assert shop.texts() == ["ok", "ok"]
    assert len(await shop.house.rows("SELECT id FROM conversation")) == 1
    assert len(await shop.house.why(PHONE)) == 2


async def test_another_instance_s_webhook_reaches_nobody(shop: Shop) -> None:
    said = shop.gateway.say(ANA, "Hola", NOON)
    await shop.posts(said.webhook() | {"instance": "another"})
    await shop.house.advance(60)
    assert shop.gateway.sends == []
    [kept] = await shop.house.rows("SELECT reason FROM quarantine")
    assert kept["reason"] == "other_instance"


async def test_no_secret_number_or_text_of_a_body_is_logged(shop: Shop) -> None:
    said = await shop.hears("Hola, que tal")
    await shop.posts({**said.webhook(), "data": {"key": 7}})
    await shop.posts(b"{" + said.id.encode())
    await shop.house.advance(60)
    logged = shop.house.logs.getvalue().decode()
    for secret in ("an-instance-secret", "que tal", PHONE, LID, TOKEN):
        assert secret not in logged


async def test_a_gateway_that_appends_the_event_to_the_address_is_heard(shop: Shop) -> None:
    """It would never send again what it was answered 404 or 401."""
    for number, end in enumerate((f"/messages-upsert?secret={SECRET}", f"?secret={SECRET}/send-m")):
        said = shop.gateway.say(ANA, f"Hola {number}", shop.house.clock.now())
        url = f"{shop.house.url}/webhooks/shop{end}"
        async with shop.house.session.post(url, data=orjson.dumps(said.webhook())) as response:
            assert response.status == 200
    await shop.house.advance(60)
    [turn] = await shop.house.why(PHONE)
    assert [message["text"] for message in turn["messages"]] == ["Hola 0", "Hola 1"]


async def test_who_sends_no_secret_is_not_let_in(shop: Shop) -> None:
    body = shop.gateway.say(ANA, "Hola", NOON).webhook()
    assert await shop.house.post(body, channel="shop", secret=None) == 401
    await shop.house.advance(60)
    assert shop.gateway.sends == []
