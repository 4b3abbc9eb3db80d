"""The answer to a send, its echo and its statuses come in any order, or not at all: one reply."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from relevo.actors.supervisor import Bounds
from relevo.store.embedded import DatabaseUrls
from tests.fakes.wati import Said, Sending
from tests.house import NEVER, House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
NAMELESS = b'{"ok":true,"result":"success"}'
"""An answer to a send that gives it no id."""

Story = Callable[[House], Awaitable[None]]


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    house = House(database, tmp_path, NOON)
    house.bounds = Bounds(sweep_seconds=2, idle_seconds=NEVER)
    async with house:
        yield house


def left(house: House) -> Said:
    """Return the newest message of ours that the customer got."""
    return house.wati.sends[-1].said


async def echo(house: House) -> None:
    """WATI tells of our message under its own ids, and as its account's owner's."""
    event = left(house).webhook("_v2") | {"localMessageId": None}
    assert await house.post(event) == 200


async def status(house: House, name: str = "sentMessageDELIVERED") -> None:
    """WATI tells what became of our message, under its own ids only."""
    event = left(house).status(name) | {"localMessageId": None}
    assert await house.post(event) == 200


async def named_status(house: House) -> None:
    """The same, with our own id."""
    assert await house.post(left(house).status("sentMessageDELIVERED")) == 200


def before_the_answer(house: House, *stories: Story) -> None:
    """Have these happen once, while Relevo still waits for the answer to its send."""

    async def tell() -> None:
        house.wati.before_send_answer = None
        for story in stories:
            await story(house)

    house.wati.before_send_answer = tell


async def writes(house: House, text: str = "Hola") -> None:
    said = house.wati.customer_message(PHONE, text, house.clock.now())
    assert await house.post(said.webhook()) == 200


async def replied(house: House, *texts: str) -> None:
    """Everything has come to rest: each of these was said once, and nobody else has spoken."""
    assert house.wati.texts_to(PHONE) == list(texts)
    turns = await house.why(PHONE)
    assert [turn["outcome"] for turn in turns] == ["answered"] * len(texts)
    assert await house.rows("SELECT FROM untold") == []
    authors = await house.rows("SELECT author FROM message WHERE author <> 'customer'")
    assert [row["author"] for row in authors] == ["assistant"] * len(texts)


async def statuses(house: House) -> list[Any]:
    rows = await house.rows("SELECT status FROM message WHERE author = 'assistant' ORDER BY id")
    return [row["status"] for row in rows]


async def test_the_echo_comes_first_and_then_the_answer_and_then_a_status(house: House) -> None:
    before_the_answer(house, echo)
    await writes(house)
    await house.advance(40)
    await status(house)
    await house.advance(200)
    await replied(house, "ok")
    assert await statuses(house) == ["delivered"]


async def test_a_status_comes_first_and_then_the_echo_and_then_the_answer(house: House) -> None:
    before_the_answer(house, status, echo)
    await writes(house)
    await house.advance(240)
    await replied(house, "ok")
    assert await statuses(house) == ["delivered"]


async def test_a_status_comes_before_the_answer(house: House) -> None:
    before_the_answer(house, status)
    await writes(house)
    await house.advance(40)
    await replied(house, "ok")
    assert await statuses(house) == ["delivered"]


async def test_of_several_statuses_before_the_answer_the_highest_stays(house: House) -> None:
    async def read(house: House) -> None:
        await status(house, "sentMessageREAD")

    before_the_answer(house, read, status)
    await writes(house)
    await house.advance(40)
    await replied(house, "ok")
    assert await statuses(house) == ["read"]


async def test_a_status_waits_for_the_echo_when_the_answer_gives_no_id(house: House) -> None:
    house.wati.send_next(Sending(body=NAMELESS))
    before_the_answer(house, status)
    await writes(house)
    await house.advance(40)
    assert await statuses(house) == [""]
    await echo(house)
    await house.advance(10)
    await replied(house, "ok")
    assert await statuses(house) == ["delivered"]


async def test_an_answer_is_lost_and_a_status_names_our_id(house: House) -> None:
    house.wati.send_next(Sending(drop=True))
    before_the_answer(house, named_status)
    await writes(house)
    await house.advance(37)
    await replied(house, "ok")
    assert await statuses(house) == ["delivered"]


async def test_an_answer_is_lost_and_only_the_history_has_the_name_in_a_status(
    house: House,
) -> None:
    house.wati.send_next(Sending(drop=True))
    before_the_answer(house, status)
    await writes(house)
    await house.advance(240)
    await replied(house, "ok")
    assert await statuses(house) == ["delivered"]


@pytest.mark.parametrize("tells", [echo, named_status])
async def test_an_answer_is_lost_and_the_history_is_away(house: House, tells: Story) -> None:
    house.wati.history.status = 503
    house.wati.send_next(Sending(drop=True))
    await writes(house)
    await house.advance(50)
    assert [turn["outcome"] for turn in await house.why(PHONE)] == [None]
    await tells(house)
    await house.advance(5)
    await replied(house, "ok")


async def test_the_echo_of_one_text_never_proves_the_same_text_in_another_turn(
    house: House,
) -> None:
    house.wati.send_next(Sending(body=NAMELESS), Sending(recorded=False, drop=True))
    await writes(house)
    await house.advance(40)
    await writes(house, "Gracias")
    await house.advance(36)
    await echo(house)  # the first one's, when the second is in doubt
    await house.advance(240)
    await replied(house, "ok", "ok")


async def test_one_status_never_proves_two_sends(house: House) -> None:
    house.wati.send_next(Sending(), Sending(recorded=False, drop=True))
    await writes(house)
    await house.advance(40)
    await writes(house, "Gracias")
    await house.advance(36)
    await status(house)
    await house.advance(240)
    await replied(house, "ok", "ok")
    assert await statuses(house) == ["delivered", ""]


async def test_what_a_colleague_s_app_is_told_of_his_message_is_forgotten(house: House) -> None:
    colleague = house.wati.agent_message(PHONE, "Ya voy", NOON, "Ana")
    event = colleague.status("sentMessageREAD") | {"localMessageId": None}
    assert await house.post(event) == 200
    await house.advance(590)
    assert len(await house.rows("SELECT FROM early_status")) == 2
    await house.advance(20)
    assert await house.rows("SELECT FROM early_status") == []
    metrics = await house.metrics()
    assert metrics['relevo_early_statuses_total{outcome="forgotten"}'] == 2


async def test_a_message_that_fails_after_it_was_taken_is_counted_by_why(house: House) -> None:
    await writes(house)
    await house.advance(40)
    event = left(house).status("sessionMessageFailed", failedCode="131026")
    assert await house.post(event) == 200
    assert await statuses(house) == ["failed"]
    metrics = await house.metrics()
    assert metrics['relevo_messages_failed_total{reason="undeliverable"}'] == 1


async def test_a_stopped_line_shows_in_the_metrics_until_it_sends_again(house: House) -> None:
    house.wati.send_next(Sending(recorded=False, status=401))
    await writes(house)
    await house.advance(36)
    assert (await house.metrics())["relevo_lines_stopped"] == 1
    assert house.wati.sends == []
