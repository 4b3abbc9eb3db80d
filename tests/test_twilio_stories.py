"""A line at Twilio in the whole product: a signed webhook in, a reply out."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.fakes.twilio import ACCOUNT, SENDER, FakeTwilio, Said, Sending
from tests.house import TOKEN, House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "+50370000101"
PUBLIC_URL = "https://relevo.example.com/webhooks/twilio"
LINE = f"""
[[channel]]
id = "twilio"
business = "hotel"
kind = "twilio"
base_url = "{{twilio.base_url}}"
account_sid = "{ACCOUNT}"
sender = "{SENDER}"
public_url = "{PUBLIC_URL}"
token_env = "WATI_TOKEN"
"""


class Hotel:
    """The house, with Twilio beside it."""

    def __init__(self, house: House, twilio: FakeTwilio) -> None:
        self.house, self.twilio = house, twilio

    async def post(self, body: bytes, token: str = TOKEN) -> tuple[int, str]:
        """Post as Twilio does: it signs the public address, and calls it by way of a proxy."""
        headers = FakeTwilio.signed(f"{PUBLIC_URL}?from=a%20b", body, token)
        url = f"{self.house.url}/webhooks/twilio?from=a%20b"
        async with self.house.session.post(url, data=body, headers=headers) as response:
            return response.status, await response.text()

    async def says(self, text: str) -> Said:
        said = self.twilio.say(PHONE, "customer", text, self.house.clock.now())
        assert await self.post(FakeTwilio.webhook(said)) == (200, "")
        return said


@pytest.fixture
async def hotel(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Hotel]:
    house = House(database, tmp_path, NOON)
    async with FakeTwilio(house.clock, token=TOKEN) as twilio:
        house.more_configuration = LINE.format(twilio=twilio)
        async with house:
            yield Hotel(house, twilio)


async def test_a_burst_by_webhook_is_answered_once(hotel: Hotel) -> None:
    await hotel.says("Hola")
    said = await hotel.says("Hay lugar?")
    assert await hotel.post(FakeTwilio.webhook(said)) == (200, "")
    await hotel.house.advance(60)
    assert hotel.twilio.texts_to(PHONE) == ["ok"]
    ours = hotel.twilio.said[-1]
    assert await hotel.post(FakeTwilio.status(ours.sid, "delivered")) == (200, "")
    [turn] = await hotel.house.why(PHONE)
    assert turn["outcome"] == "answered"
    rows = await hotel.house.rows("SELECT author, status FROM message ORDER BY id")
    assert [row["author"] for row in rows] == ["customer", "customer", "assistant"]
    assert rows[-1]["status"] == "delivered"
    metrics = await hotel.house.metrics()
    assert metrics['relevo_sends_total{outcome="accepted",provider="twilio"}'] == 1


async def test_a_wrong_signature_stores_nothing(hotel: Hotel) -> None:
    said = hotel.twilio.say(PHONE, "customer", "Hola", hotel.house.clock.now())
    status, _ = await hotel.post(FakeTwilio.webhook(said), token="another")
    assert status == 401
    assert await hotel.house.rows("SELECT 1 FROM message") == []


async def test_what_a_colleague_promised_meanwhile_is_told_to_the_ai(hotel: Hotel) -> None:
    await hotel.says("Hola")
    await hotel.house.advance(60)
    promised_at = hotel.house.clock.now() + timedelta(seconds=100)
    hotel.twilio.say(PHONE, "api", "Late checkout until two, I promise.", promised_at)
    await hotel.house.advance(1000)
    await hotel.says("So until when may I stay?")
    await hotel.house.advance(60)
    _, turn = await hotel.house.why(PHONE)
    assert (turn["verdict"], turn["outcome"]) == ("gap", "answered")
    asked = [request for request in hotel.house.ai.requests if "input" in request.body]
    assert "Late checkout until two, I promise." in str(asked[-1].body["input"])
    rows = await hotel.house.rows("SELECT author, body FROM message ORDER BY event_at, id")
    assert [row["author"] for row in rows] == [
        *("customer", "assistant", "agent", "customer", "assistant")
    ]
    assert hotel.twilio.texts_to(PHONE) == ["ok", "ok"]


async def test_a_send_in_doubt_that_twilio_has_queued_is_not_repeated(hotel: Hotel) -> None:
    hotel.twilio.send_next(Sending(drop=True))
    await hotel.says("Hola")
    await hotel.house.advance(3600)
    assert hotel.twilio.texts_to(PHONE) == ["ok"]
    [turn] = await hotel.house.why(PHONE)
    assert (turn["outcome"], turn["outbox"][0]["resent"]) == ("answered", False)


async def test_a_send_in_doubt_that_twilio_does_not_know_is_repeated_once(hotel: Hotel) -> None:
    hotel.twilio.send_next(Sending(drop=True, recorded=False))
    await hotel.says("Hola")
    await hotel.house.advance(3600)
    assert hotel.twilio.texts_to(PHONE) == ["ok"]
    [turn] = await hotel.house.why(PHONE)
    assert (turn["outcome"], turn["outbox"][0]["resent"]) == ("answered", True)


async def test_a_long_answer_comes_in_parts_that_twilio_takes(hotel: Hotel) -> None:
    answer = " ".join(f"word{number}" for number in range(500))
    hotel.house.ai.answers.append(answer)
    await hotel.says("Tell me everything")
    await hotel.house.advance(60)
    texts = hotel.twilio.texts_to(PHONE)
    assert " ".join(texts) == answer
    assert [len(text) <= 1600 for text in texts] == [True] * 3
