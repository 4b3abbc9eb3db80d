"""People beside the AI: a chat that is held and given back, an answer asked for, a body replayed.

The whole product, with the clock of the tests; what a command does is done through its own store.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from relevo.http.session import open_session
from relevo.lines import OwnLine, open_channels
from relevo.messages import ConversationKey
from relevo.store import holding, letters, quarantined
from relevo.store.embedded import DatabaseUrls
from relevo.store.inbox import Inbox
from relevo.store.letters import Dealt, Refusal
from relevo.store.means import Means
from relevo.store.placing import Placer
from relevo.store.pools import Pools
from relevo.tasks import Tasks
from tests.fakes.clock import until
from tests.fakes.openai_faults import error
from tests.house import House
from tests.store_rig import NOON, within

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
QUIET_SECONDS = 35


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON, quiet_seconds=QUIET_SECONDS) as house:
        yield house


class TestADeadLetter:
    async def test_a_retry_answers_what_was_given_up(self, house: House) -> None:
        letter = await given_up(house, "Hola")
        await house.advance(600)
        assert house.wati.texts_to(PHONE) == []
        asked = await within(pools(house), letters.retry, "hotel", letter, house.clock.now())
        assert asked == Dealt((await who(house))[1], 1)
        await swept(house)
        assert house.wati.texts_to(PHONE) == ["ok"]
        assert await told(house, letter) == "retried"
        again = await within(pools(house), letters.retry, "hotel", letter, house.clock.now())
        assert again is Refusal.CLOSED
        assert await fates(house) == {"Hola": "answered"}
        assert (await house.audit()).sound

    async def test_a_retry_that_fails_again_is_a_letter_again(self, house: House) -> None:
        first = await given_up(house, "Hola")
        house.ai.faults.for_ever = error(400, "no")
        await within(pools(house), letters.retry, "hotel", first, house.clock.now())
        await swept(house)
        [second] = await letters.open_ids(pools(house), "hotel")
        house.ai.faults.for_ever = None
        assert second != first
        await within(pools(house), letters.retry, "hotel", second, house.clock.now())
        await swept(house)
        assert house.wati.texts_to(PHONE) == ["ok"]
        assert (await house.audit()).sound

    async def test_what_the_next_turn_told_is_not_retried(self, house: House) -> None:
        letter = await given_up(house, "Hola")
        await say(house, "Hola??")
        await house.advance(QUIET_SECONDS + 5)
        assert house.wati.texts_to(PHONE) == ["ok"]
        refused = await within(pools(house), letters.retry, "hotel", letter, house.clock.now())
        assert refused is Refusal.CLOSED
        assert await told(house, letter) == "superseded"
        await house.advance(60)
        assert house.wati.texts_to(PHONE) == ["ok"]

    async def test_what_was_dropped_is_never_told(self, house: House) -> None:
        letter = await given_up(house, "olvidalo")
        await within(pools(house), letters.drop, "hotel", letter, house.clock.now())
        await say(house, "Hola")
        await house.advance(QUIET_SECONDS + 5)
        assert house.wati.texts_to(PHONE) == ["ok"]
        assert "olvidalo" not in asked_last(house)
        assert await fates(house) == {"olvidalo": "dead", "Hola": "answered"}
        assert (await house.audit()).sound


class TestAHold:
    async def test_nothing_is_answered_until_a_person_asks(self, house: House) -> None:
        await say(house, "Hola")
        await house.advance(QUIET_SECONDS + 5)
        key = await who(house)
        await holding.hold(pools(house), key, holding.UNTIL_RESUMED)
        for text in ("Sigue ahi?", "Hay mesa?"):
            await say(house, text)
            await house.advance(60)
        assert await fates(house) == {"Hola": "answered", "Sigue ahi?": "held", "Hay mesa?": "held"}
        resumed = await holding.resume(pools(house), key, house.clock.now())
        assert resumed is not None
        assert resumed.messages == 2
        await house.advance(600)
        assert house.wati.texts_to(PHONE) == ["ok"]
        assert await holding.answer(pools(house), key, house.clock.now()) == 2
        await swept(house)
        assert house.wati.texts_to(PHONE) == ["ok", "ok"]
        assert "Sigue ahi?" in asked_last(house)
        assert "Hay mesa?" in asked_last(house)
        assert set((await fates(house)).values()) == {"answered"}
        assert (await house.audit()).sound

    async def test_after_a_hold_the_next_message_is_answered_with_what_came_meanwhile(
        self, house: House
    ) -> None:
        await say(house, "Hola")
        await house.advance(QUIET_SECONDS + 5)
        key = await who(house)
        await holding.hold(pools(house), key, holding.UNTIL_RESUMED)
        await say(house, "Sigue ahi?")
        await house.advance(60)
        await holding.resume(pools(house), key, house.clock.now())
        await say(house, "Hay mesa?")
        await house.advance(QUIET_SECONDS + 5)
        assert house.wati.texts_to(PHONE) == ["ok", "ok"]
        assert "Sigue ahi?" in asked_last(house)
        assert (await fates(house))["Hay mesa?"] == "answered"

    async def test_a_hold_that_comes_while_the_ai_thinks_is_in_time(self, house: House) -> None:
        async def think(_question: object) -> None:
            await house.hold(10)

        house.ai.before_answer = think
        await say(house, "Hola")
        await house.advance(QUIET_SECONDS + 1)
        await until(lambda: house.ai.holding == 1)
        key = await who(house)
        await holding.hold(pools(house), key, holding.UNTIL_RESUMED)
        await house.advance(60)
        assert house.wati.texts_to(PHONE) == []
        assert await fates(house) == {"Hola": "held"}
        house.ai.before_answer = None
        await holding.answer(pools(house), key, house.clock.now())
        await swept(house)
        assert house.wati.texts_to(PHONE) == ["ok"]
        assert (await house.audit()).sound

    async def test_a_hold_that_comes_while_the_burst_grows_is_in_time(self, house: House) -> None:
        await say(house, "Hola")
        await holding.hold(pools(house), await who(house), holding.UNTIL_RESUMED)
        await house.advance(600)
        assert house.wati.texts_to(PHONE) == []
        assert await fates(house) == {"Hola": "held"}
        assert (await house.audit()).sound

    async def test_a_hold_ends_by_itself_too(self, house: House) -> None:
        await say(house, "Hola")
        await house.advance(QUIET_SECONDS + 5)
        ends_at = house.clock.now().replace(microsecond=0)
        await holding.hold(pools(house), await who(house), ends_at)
        await house.advance(60)
        await say(house, "Hay mesa?")
        await house.advance(QUIET_SECONDS + 5)
        assert house.wati.texts_to(PHONE) == ["ok", "ok"]


async def test_a_chat_that_a_colleague_holds_can_be_given_back(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with House(database, tmp_path, NOON, human_hold_seconds=1800) as house:
        await say(house, "Hola")
        said = house.wati.agent_message(PHONE, "Le atiendo", house.clock.now(), "Luis")
        assert await house.post(said.webhook()) == 200
        await house.advance(60)
        await say(house, "Hay mesa?")
        await house.advance(120)
        assert house.wati.texts_to(PHONE) == []
        resumed = await holding.resume(pools(house), await who(house), house.clock.now())
        assert resumed == holding.Resumed(None, 1)
        await house.advance(120)
        assert house.wati.texts_to(PHONE) == []
        await say(house, "Hola?")
        await house.advance(60)
        assert house.wati.texts_to(PHONE) == ["ok"]
        assert "Hay mesa?" in asked_last(house)
        assert (await house.audit()).sound


async def test_an_answer_that_is_asked_for_does_not_wait_for_the_burst(house: House) -> None:
    await say(house, "Hola")
    key = await who(house)
    assert await holding.answer(pools(house), key, house.clock.now()) == 1
    await swept(house)
    assert house.wati.texts_to(PHONE) == ["ok"]
    await house.advance(600)
    assert house.wati.texts_to(PHONE) == ["ok"]
    assert (await house.audit()).sound


async def test_a_replayed_body_is_answered_as_if_it_came_now(house: House) -> None:
    body = orjson.dumps(house.wati.customer_message(PHONE, "Hola", NOON).webhook())
    await house.rows(
        "INSERT INTO quarantine (business_id, channel_id, reason, body, received_at)"
        " VALUES ('hotel', 'line', 'unknown_event', $1, $2)",
        *(body, NOON),
    )
    await house.advance(3600)
    assert house.wati.texts_to(PHONE) == []
    [kept] = await quarantined.waiting_ids(pools(house), "hotel")
    found = await quarantined.body(pools(house), "hotel", kept)
    assert found is not None
    async with open_session() as session:
        config = house.config()
        channels = open_channels(config, session, house.clock, OwnLine("", ""))
        inbox = Inbox(
            Means(pools(house), Tasks(reraise), house.clock, Unobserved()),
            placer=Placer({"hotel": "SV"}, {}),
            writer=house.relevo.database.incarnation.number,
            wake=lambda _key: None,
            sets_aside=False,
        )
        arrivals = channels["line"].parse(body)
        now = house.clock.now()
        async with pools(house).tenant("hotel") as connection:
            assert await quarantined.replay(connection, inbox, found, arrivals, now) == []
    await swept(house)
    await house.advance(QUIET_SECONDS)
    assert house.wati.texts_to(PHONE) == ["ok"]
    [turn] = await house.why(PHONE)
    assert turn["opened_at"] == NOON
    assert (await house.audit()).sound


def reraise(error: BaseException) -> None:
    raise error


class Unobserved:
    def changed(self, kind: str, outcome: str, changes: int) -> None:
        """Be nobody's probe."""

    def identity_resolved(self, outcome: str, count: int) -> None:
        """Be nobody's probe."""

    def store_operation(self, operation: str, seconds: float, rows: int) -> None:
        """Be nobody's probe."""


async def given_up(house: House, text: str) -> int:
    """Have a customer ask, and the AI fail for good; return the dead letter."""
    house.ai.faults.append(error(400, "no"))
    await say(house, text)
    await house.advance(QUIET_SECONDS + 5)
    [letter] = await letters.open_ids(pools(house), "hotel")
    return letter


async def say(house: House, text: str) -> None:
    said = house.wati.customer_message(PHONE, text, house.clock.now())
    assert await house.post(said.webhook()) == 200
    await house.quiet()


async def swept(house: House) -> None:
    """Have the server look for what no wake told it of, as it does every two seconds."""
    await house.relevo.supervisor.sweep()
    await house.advance(1)


async def who(house: House) -> ConversationKey:
    [known] = await holding.known(pools(house), "hotel", PHONE, "SV")
    return known.key


async def told(house: House, turn_id: int) -> str | None:
    letter = await letters.letter(pools(house), "hotel", turn_id)
    assert letter is not None
    return letter.closed_as


async def fates(house: House) -> dict[str, str]:
    rows = await house.rows("SELECT body, fate FROM message WHERE author = 'customer'")
    return {row["body"]: row["fate"] for row in rows}


def asked_last(house: House) -> str:
    """Return what the AI was told in its last question."""
    return orjson.dumps(house.ai.bodies("/responses")[-1]["input"]).decode()


def pools(house: House) -> Pools:
    return house.relevo.database.pools
