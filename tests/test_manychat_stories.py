"""A ManyChat line in the whole product: an External Request in, a reply out."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.fakes.manychat import PHONE, SUBSCRIBER, FakeManyChat, Sending, custom, full_contact
from tests.house import TOKEN, House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

LINE = """
[[channel]]
id = "contacts"
business = "hotel"
kind = "manychat"
base_url = "{base_url}"
token_env = "WATI_TOKEN"
webhook_secret_env = "WATI_SECRET"
"""


class Flow(NamedTuple):
    """A house, and the ManyChat whose flow calls it."""

    house: House
    manychat: FakeManyChat

    async def calls(self, body: dict[str, Any]) -> None:
        assert await self.house.post(body, channel="contacts") == 200


@pytest.fixture
async def flow(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Flow]:
    house = House(database, tmp_path, NOON)
    async with FakeManyChat(house.clock, token=TOKEN) as manychat:
        house.more_configuration = LINE.format(base_url=manychat.base_url)
        async with house:
            yield Flow(house, manychat)


async def test_a_message_is_answered_once_however_often_it_comes(flow: Flow) -> None:
    await flow.calls(full_contact("Hola", NOON))
    await flow.calls(full_contact("Hola", NOON))
    await flow.house.advance(40)
    await flow.calls(custom("Hola", NOON))
    await flow.house.advance(60)
    assert [(sent.subscriber, sent.text) for sent in flow.manychat.sends] == [(SUBSCRIBER, "ok")]
    assert [turn["outcome"] for turn in await flow.house.why(PHONE)] == ["answered"]
    assert (await flow.house.audit()).sound


async def test_the_same_text_a_minute_later_is_answered_again(flow: Flow) -> None:
    await flow.calls(full_contact("ok", NOON))
    await flow.house.advance(60)
    await flow.calls(full_contact("ok", flow.house.clock.now()))
    await flow.house.advance(60)
    assert flow.manychat.texts() == ["ok", "ok"]


async def test_after_a_gap_the_turn_says_that_nobody_could_be_asked(flow: Flow) -> None:
    await flow.calls(full_contact("Hola", NOON))
    await flow.house.advance(3600)
    await flow.calls(full_contact("Sigue libre?", flow.house.clock.now()))
    await flow.house.advance(60)
    turn = (await flow.house.why(PHONE))[-1]
    assert (turn["outcome"], turn["verdict"], turn["recall"]) == ("answered", "gap", "unavailable")


async def test_a_closed_window_is_a_refusal(flow: Flow) -> None:
    flow.manychat.send_next(Sending(recorded=False, status=400, code=3011, said="no"))
    await flow.calls(custom("Hola", NOON))
    await flow.house.advance(60)
    [turn] = await flow.house.why(PHONE)
    assert (turn["outcome"], turn["reason"]) == ("refused", "window_closed")


async def test_one_message_in_two_bodies_at_once_is_answered_to_the_subscriber(flow: Flow) -> None:
    flow.manychat.contacts[PHONE] = {"id": str(SUBSCRIBER)}
    bare = custom("Hola", NOON, whatsapp_phone=None)
    assert await flow.house.post([bare, full_contact("Hola", NOON)], channel="contacts") == 200
    await flow.house.advance(60)
    assert [(sent.subscriber, sent.text) for sent in flow.manychat.sends] == [(SUBSCRIBER, "ok")]


async def test_what_a_flow_did_not_fill_in_is_kept_and_not_answered(flow: Flow) -> None:
    await flow.calls(custom("{{last_input_text}}", NOON))
    await flow.house.advance(60)
    assert flow.manychat.sends == []
    [kept] = await flow.house.rows("SELECT reason FROM quarantine")
    assert kept["reason"] == "not_rendered"


async def test_who_sends_no_secret_is_not_let_in(flow: Flow) -> None:
    body = custom("Hola", NOON)
    assert await flow.house.post(body, channel="contacts", secret=None) == 401
    await flow.house.advance(60)
    assert flow.manychat.sends == []


async def test_a_reply_that_nobody_can_ask_after_is_sent_again_once(flow: Flow) -> None:
    flow.manychat.send_next(Sending(drop=True), Sending(drop=True))
    await flow.calls(full_contact("Hola", NOON))
    await flow.house.advance(100)
    assert flow.manychat.texts() == ["ok"]
    await flow.house.advance(600)
    assert flow.manychat.texts() == ["ok", "ok"]
    [turn] = await flow.house.why(PHONE)
    assert (turn["outcome"], turn["reason"]) == ("failed", "send_unknown")
