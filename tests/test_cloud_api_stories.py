"""A line at Meta and one at 360dialog in the whole product: a webhook in, a reply out."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relevo.messages import Address
from relevo.store.embedded import DatabaseUrls
from tests.cloud_api_rig import ANA_BSUID
from tests.fakes.cloud_api import LINE, FakeCloudApi, Sending, echo, signed, status, text, webhook
from tests.house import SECRET, TOKEN, House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
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
id = "d360"
business = "hotel"
kind = "360dialog"
base_url = "{meta.root}"
token_env = "WATI_TOKEN"
webhook_secret_env = "WATI_SECRET"
"""


class Hotel:
    """The house, with Meta beside it."""

    def __init__(self, house: House, meta: FakeCloudApi) -> None:
        self.house, self.meta = house, meta

    async def post(self, body: bytes, channel: str = "meta", **headers: str) -> int:
        given = headers or signed(body, SECRET)
        url = f"{self.house.url}/webhooks/{channel}"
        async with self.house.session.post(url, data=body, headers=given) as response:
            return response.status

    async def asks(self, channel: str = "meta", **changes: str) -> tuple[int, str]:
        """Ask, as Meta does, whether the address is ours."""
        query = {"mode": "subscribe", "challenge": "1158201444", "verify_token": SECRET, **changes}
        params = {f"hub.{name}": value for name, value in query.items()}
        url = f"{self.house.url}/webhooks/{channel}"
        async with self.house.session.get(url, params=params) as response:
            return response.status, await response.text()

    async def says(self, number: str, said: str, **more: Any) -> None:
        at = self.house.clock.now()
        assert await self.post(webhook(text(f"wamid.{number}", PHONE, said, at, **more))) == 200


@pytest.fixture
async def hotel(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Hotel]:
    house = House(database, tmp_path, NOON)
    async with FakeCloudApi(house.clock, token=TOKEN) as meta:
        house.more_configuration = LINES.format(meta=meta, line=LINE)
        async with house:
            yield Hotel(house, meta)


async def test_a_burst_by_webhook_is_answered_once(hotel: Hotel) -> None:
    await hotel.says("1", "Hola")
    await hotel.says("2", "Hay lugar?")
    await hotel.says("2", "Hay lugar?")
    await hotel.house.advance(60)
    assert hotel.meta.texts_to(PHONE) == ["ok"]
    (sent,) = hotel.meta.sends
    assert await hotel.post(status(sent.id, "delivered", recipient_id=PHONE)) == 200
    assert await hotel.post(echo(sent.id, PHONE, "ok", hotel.house.clock.now())) == 200
    await hotel.house.advance(60)
    [turn] = await hotel.house.why(PHONE)
    assert turn["outcome"] == "answered"
    authors = await hotel.house.rows("SELECT author FROM message ORDER BY id")
    assert [row["author"] for row in authors] == ["customer", "customer", "assistant"]
    metrics = await hotel.house.metrics()
    assert metrics['relevo_sends_total{outcome="accepted",provider="cloud_api"}'] == 1


async def test_a_colleague_who_answers_in_the_app_is_heard(hotel: Hotel) -> None:
    await hotel.says("1", "Hay lugar?")
    await hotel.house.advance(10)
    assert await hotel.post(echo("wamid.H1", PHONE, "Claro", hotel.house.clock.now())) == 200
    await hotel.house.advance(60)
    [turn] = await hotel.house.why(PHONE)
    assert turn["outcome"] == "answered_by_human"
    assert hotel.meta.sends == []


async def test_who_hides_the_phone_is_answered_by_user_id(hotel: Hotel) -> None:
    hidden = text("wamid.1", "", "Hola", hotel.house.clock.now(), from_user_id=ANA_BSUID.value)
    del hidden["from"]
    assert await hotel.post(webhook(hidden)) == 200
    await hotel.house.advance(60)
    assert hotel.meta.texts_to(ANA_BSUID.value) == ["ok"]


async def test_lines_that_are_given_their_portfolio_know_one_another_s_people(hotel: Hotel) -> None:
    house = hotel.house

    async def says(number: str, channel: str, bsuid: Address = ANA_BSUID) -> None:
        hidden = text(f"wamid.{number}", "", number, house.clock.now(), from_user_id=bsuid.value)
        del hidden["from"]
        headers = {} if channel == "meta" else {"X-Relevo-Secret": SECRET}
        assert await hotel.post(webhook(hidden), channel, **headers) == 200

    async def threads() -> list[str]:
        threads = "SELECT string_agg(body, ' ' ORDER BY id) AS said FROM message"
        rows = await house.rows(f"{threads} WHERE author = 'customer' GROUP BY conversation_id")
        return sorted(row["said"] for row in rows)

    eva = Address("bsuid", "US.2")
    await says("1", "meta")
    await says("2", "d360")
    await says("3", "meta", eva)
    assert await threads() == ["1", "2", "3"]
    await house.stop()
    own = 'business = "hotel"\n'
    house.more_configuration = house.more_configuration.replace(own, own + 'portfolio = "our"\n')
    await house.start()
    assert house.relevo.merger is not None
    house.relevo.merger.soon()  # what a sweep does
    await says("4", "d360", eva)
    await says("5", "meta", Address("bsuid", "US.3"))
    await says("6", "d360", Address("bsuid", "US.3"))
    await house.advance(60)
    assert await threads() == ["1 2", "3 4", "5 6"]
    assert (await house.audit()).sound


async def test_a_send_whose_answer_is_lost_is_known_by_its_status(hotel: Hotel) -> None:
    hotel.meta.send_next(Sending(drop=True))
    await hotel.says("1", "Hola")
    await hotel.house.advance(36)
    (sent,) = hotel.meta.sends
    ours = sent.message["biz_opaque_callback_data"]
    assert await hotel.post(status(sent.id, "sent", biz_opaque_callback_data=ours)) == 200
    await hotel.house.advance(600)
    [turn] = await hotel.house.why(PHONE)
    assert turn["outcome"] == "answered"
    assert hotel.meta.texts_to(PHONE) == ["ok"]


async def test_a_line_at_360dialog_hears_and_answers_the_same(hotel: Hotel) -> None:
    body = webhook(text("wamid.1", PHONE, "Hola", hotel.house.clock.now()))
    assert await hotel.post(body, "d360", **signed(body, SECRET)) == 401
    assert await hotel.post(body, "d360", **{"X-Relevo-Secret": SECRET}) == 200
    await hotel.house.advance(60)
    assert hotel.meta.texts_to(PHONE) == ["ok"]


async def test_what_meta_did_not_sign_is_not_stored(hotel: Hotel) -> None:
    body = webhook(text("wamid.1", PHONE, "Hola", hotel.house.clock.now()))
    assert await hotel.post(body, **{"X-Relevo-Secret": SECRET}) == 401
    assert await hotel.post(body, **{"X-Hub-Signature-256": "sha256=\u00e9"}) == 401
    assert await hotel.post(body, **signed(body + b" ", SECRET)) == 401
    assert await hotel.house.rows("SELECT id FROM message") == []


async def test_meta_is_told_that_the_address_is_ours(hotel: Hotel) -> None:
    assert await hotel.asks() == (200, "1158201444")
    assert (await hotel.asks(verify_token="wrong"))[0] == 403
    assert (await hotel.asks("d360"))[0] == 403
    assert (await hotel.asks("line"))[0] == 405
    assert (await hotel.asks("nobody"))[0] == 404


async def test_a_send_that_no_status_ever_names_is_repeated_once(hotel: Hotel) -> None:
    hotel.meta.send_next(Sending(drop=True, recorded=False))
    await hotel.says("1", "Hola")
    await hotel.house.advance(100)
    assert hotel.meta.sends == []
    await hotel.house.advance(3600)
    assert hotel.meta.texts_to(PHONE) == ["ok"]
    [turn] = await hotel.house.why(PHONE)
    assert (turn["outcome"], turn["outbox"][0]["resent"]) == ("answered", True)


async def test_a_batch_is_stored_whole_and_what_has_no_place_is_kept_raw(hotel: Hotel) -> None:
    now = hotel.house.clock.now()
    said = [text(f"wamid.{n}", f"503700{n:05}", f"Hola {n}", now) for n in range(998)]
    changed = {"type": "user_changed_number", "new": "50379999999"}
    moved = {"from": "50370000001", "id": "wamid.Y", "type": "system", "system": changed}
    assert await hotel.post(webhook(*said, moved, text("wamid.0", PHONE, "again", now))) == 200
    [stored] = await hotel.house.rows("SELECT count(*) FROM message")
    [kept] = await hotel.house.rows("SELECT reason, body FROM quarantine")
    assert (stored["count"], kept["reason"]) == (998, "number_changed")
    assert b"50379999999" in kept["body"]
