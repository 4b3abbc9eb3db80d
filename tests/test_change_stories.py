"""Messages that are edited or taken back, in the whole product: at Meta and at a gateway's line."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from relevo.store.embedded import DatabaseUrls
from tests.fakes import cloud_api
from tests.fakes.cloud_api import FakeCloudApi, echoes, edit, revoke, signed, text, webhook
from tests.fakes.evolution import INSTANCE, Chat, FakeEvolution, Said
from tests.house import SECRET, TOKEN, House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

ANA, BEA = "50370000101", "50370000102"
LINES = """
[[channel]]
id = "meta"
business = "hotel"
kind = "cloud_api"
base_url = "{meta.base_url}"
phone_number_id = "{line}"
token_env = "WATI_TOKEN"
webhook_secret_env = "WATI_SECRET"
verify_token_env = "WATI_SECRET"

[[channel]]
id = "shop"
business = "hotel"
kind = "evolution"
base_url = "{gateway.base_url}"
instance = "{instance}"
token_env = "WATI_TOKEN"
webhook_secret_env = "WATI_SECRET"
"""


class Hotel:
    """A house with a line at Meta and one at a gateway. The AI thinks for five seconds."""

    def __init__(self, house: House, meta: FakeCloudApi, gateway: FakeEvolution) -> None:
        self.house, self.meta, self.gateway = house, meta, gateway
        house.ai.before_answer = self._think

    async def _think(self, _body: object) -> None:
        await self.house.hold(5)

    async def at_meta(self, body: bytes) -> None:
        url = f"{self.house.url}/webhooks/meta"
        async with self.house.session.post(url, data=body, headers=signed(body, SECRET)) as answer:
            assert answer.status == 200

    async def at_the_gateway(self, body: object) -> None:
        assert await self.house.post(body, channel="shop") == 200

    async def ana_says(self, number: int, said: str) -> None:
        at = self.house.clock.now()
        await self.at_meta(webhook(text(f"wamid.{number}", ANA, said, at)))

    async def ana_edits(self, number: int, said: str) -> None:
        at = self.house.clock.now()
        await self.at_meta(webhook(edit(f"wamid.E{at}", ANA, f"wamid.{number}", said, at)))

    async def ana_revokes(self, number: int) -> None:
        at = self.house.clock.now()
        await self.at_meta(webhook(revoke(f"wamid.X{at}", ANA, f"wamid.{number}", at)))

    async def bea_says(self, text: str, **more: Any) -> Said:
        said = self.gateway.say(Chat(BEA), text, self.house.clock.now(), **more)
        await self.at_the_gateway(said.webhook())
        return said

    async def early_is_settled(self) -> None:
        """Let time pass until what came before its message was applied."""
        while await self.house.rows("SELECT FROM early_change"):
            await self.house.advance(0.5)

    def asked_last(self) -> str:
        """Return what the AI was told in its last question."""
        return orjson.dumps(self.house.ai.bodies("/responses")[-1]["input"]).decode()

    async def outcomes(self, phone: str) -> list[tuple[str, str]]:
        return [(turn["outcome"], turn["reason"]) for turn in await self.house.why(phone)]

    async def changes(self, **labels: str) -> float:
        named = ",".join(f'{name}="{value}"' for name, value in labels.items())
        return (await self.house.metrics())[f"relevo_changes_total{{{named}}}"]


@pytest.fixture
async def hotel(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Hotel]:
    house = House(database, tmp_path, NOON)
    house.bounds = replace(house.bounds, sweep_seconds=2)
    async with AsyncExitStack() as stack:
        meta = await stack.enter_async_context(FakeCloudApi(house.clock, token=TOKEN))
        gateway = await stack.enter_async_context(FakeEvolution(house.clock, key=TOKEN))
        house.more_configuration = LINES.format(
            meta=meta, line=cloud_api.LINE, gateway=gateway, instance=INSTANCE
        )
        await stack.enter_async_context(house)
        yield Hotel(house, meta, gateway)


async def test_an_edit_at_meta_counts_before_the_ai_is_asked_and_is_told_after(
    hotel: Hotel,
) -> None:
    house = hotel.house
    await hotel.ana_says(1, "Mesa para dos")
    await house.advance(10)
    await hotel.ana_edits(1, "Mesa para tres")
    await house.advance(27)
    assert house.ai.holding == 1
    assert "Mesa para tres" in hotel.asked_last()
    assert "Mesa para dos" not in hotel.asked_last()
    await hotel.ana_edits(1, "Mesa para cuatro")
    at = house.clock.now()
    await hotel.at_meta(webhook(edit("wamid.E", ANA, "wamid.1", "Mesa para cuatro", at)))
    await house.advance(20)
    assert hotel.meta.texts_to(ANA) == ["ok"]
    [conversation] = await house.conversations(ANA)
    assert [(m["kind"], m["text"]) for m in conversation["waiting"]] == [
        ("edit", "Mesa para cuatro")
    ]
    [told] = conversation["turns"][0]["messages"]
    assert (told["text"], told["edited_at"], told["revoked_at"]) == ("Mesa para tres", at, None)
    await house.advance(10)
    await hotel.ana_edits(1, "Mesa para cinco")
    await hotel.ana_says(2, "Gracias")
    await house.advance(60)
    asked = hotel.asked_last()
    assert "an earlier message as it was edited" in asked
    assert asked.index("Mesa para cinco") < asked.index("Gracias")
    assert "cuatro" not in asked
    assert hotel.meta.texts_to(ANA) == ["ok", "ok"]
    assert await hotel.changes(kind="edit", outcome="context") == 1
    assert await hotel.changes(kind="edit", outcome="ignored") == 1
    assert (await house.audit()).sound


async def test_what_is_taken_back_at_meta_is_neither_answered_nor_told(hotel: Hotel) -> None:
    house = hotel.house
    await hotel.ana_revokes(1)  # it overtakes what it takes back
    await hotel.ana_says(1, "Mi tarjeta es 4111")
    await hotel.early_is_settled()
    await hotel.ana_says(2, "Hola")
    await hotel.ana_says(3, "Perdon")
    await house.advance(10)
    await hotel.ana_revokes(3)
    await house.advance(40)
    assert "Hola" in hotel.asked_last()
    assert "4111" not in hotel.asked_last()
    assert "Perdon" not in hotel.asked_last()
    await hotel.ana_revokes(2)  # answered already

    await hotel.ana_says(4, "Hay lugar?")
    await house.advance(36)
    await hotel.ana_revokes(4)  # while the AI thinks
    await house.advance(60)
    assert hotel.meta.texts_to(ANA) == ["ok"]
    assert await hotel.outcomes(ANA) == [("answered", ""), ("no_reply", "revoked")]
    rows = await house.rows("SELECT body, fate FROM message WHERE author = 'customer' ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("Mi tarjeta es 4111", "revoked"),
        ("Hola", "answered"),
        ("Perdon", "revoked"),
        ("Hay lugar?", "revoked"),
    ]

    await hotel.ana_says(5, "Sigue ahi?")
    await house.advance(60)
    # A new conversation, for the AI's held a question that was taken back; nor is it told again.
    seeds = orjson.dumps([body.get("items") for body in house.ai.bodies("/conversations")]).decode()
    held = seeds + hotel.asked_last()
    assert "Sigue ahi?" in held
    assert not [text for text in ("4111", "Perdon", "Hola", "Hay lugar?") if text in held]
    assert await hotel.changes(kind="revocation", outcome="early") == 1
    assert await hotel.changes(kind="revocation", outcome="settled") == 1
    assert (await house.audit()).sound


async def test_what_a_colleague_changes_in_the_app_answers_nobody(hotel: Hotel) -> None:
    house = hotel.house
    at = house.clock.now()
    written = text("wamid.H1", cloud_api.OUR_PHONE, "Le espero el lunes", at, to=ANA)
    await hotel.at_meta(echoes(written))
    await house.advance(20)
    await hotel.ana_says(1, "Entonces el lunes?")
    at = house.clock.now()
    await hotel.at_meta(webhook(edit("wamid.M", ANA, "wamid.H1", "gratis", at)))
    # The parties of such an echo were seen swapped.
    await hotel.at_meta(echoes(edit("wamid.E1", ANA, "wamid.H1", "Le espero el martes", at)))
    await house.advance(60)
    assert "Le espero el martes" in hotel.asked_last()
    assert "gratis" not in hotel.asked_last()
    assert hotel.meta.texts_to(ANA) == ["ok"]
    at = house.clock.now()
    await hotel.at_meta(echoes(revoke("wamid.X1", cloud_api.OUR_PHONE, "wamid.OUT1", at)))
    await house.advance(60)
    [reply] = await house.rows("SELECT revoked_at FROM message WHERE author = 'assistant'")
    assert reply["revoked_at"] == at
    assert (await house.audit()).sound


async def test_edits_and_deletions_at_the_gateway(hotel: Hotel) -> None:
    house = hotel.house
    first = await hotel.bea_says("Mesa para dos")
    await house.advance(10)
    second = await hotel.bea_says("Y una cuna")
    await hotel.at_the_gateway(first.edited("Mesa para tres", house.clock.now()))
    await hotel.at_the_gateway(second.deleted())
    await house.advance(27)
    assert "Mesa para tres" in hotel.asked_last()
    assert "cuna" not in hotel.asked_last()
    later = first.edited("Mesa para cuatro", house.clock.now())
    for _ in range(2):
        await hotel.at_the_gateway(later)
    await house.advance(60)
    assert [text for _, text in hotel.gateway.sends] == ["ok"]

    colleague = await hotel.bea_says("Va por la casa", from_me=True)
    await hotel.at_the_gateway(colleague.edited("Todo por la casa", house.clock.now()))
    early = hotel.gateway.say(Chat(BEA), "Gracais", house.clock.now())
    await hotel.at_the_gateway(early.edited("Gracias", house.clock.now()))
    await hotel.at_the_gateway(early.webhook())
    await hotel.early_is_settled()
    await house.advance(60)
    asked = hotel.asked_last()
    assert [text in asked for text in ("cuatro", "Todo por la casa", "Gracias")] == [True] * 3
    assert [text in asked for text in ("Va por la casa", "Gracais")] == [False] * 2
    # The gateway's history has it under the same id, with other words and another time.
    await house.advance(1800)
    await hotel.bea_says("Sigue en pie?")
    await house.advance(60)
    assert "Gracais" not in hotel.asked_last()
    kinds = await house.rows("SELECT kind FROM message WHERE author = 'customer' ORDER BY id")
    assert [row["kind"] for row in kinds] == ["text", "text", "edit", "text", "text"]
    assert (await house.audit()).sound
