"""The books balance, show what is taken out of them by hand, and tell why a customer was answered.

Every story here is scenario 02: a gap is found, the history tells what an agent promised.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from relevo.store.embedded import DatabaseUrls
from relevo.store.inspection import Balance
from tests.house import KEY, SECRET, TOKEN, House
from tests.storyteller import PHONE, Storyteller, instant, scenario

pytestmark = pytest.mark.postgres

WELL, BAD, CANNOT = 0, 1, 2
SPELLINGS = (PHONE, f"+{PHONE}", "7000-0101", "+503 7000 0101")


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    errors: str


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    """A house in which scenario 02 has happened."""
    story = scenario("02")
    starts_at = instant(story.content["timeline"][0]["at"])
    async with House(database, tmp_path, starts_at, **story.settings) as house:
        teller = Storyteller(house, story.content)
        await teller.prepare()
        await teller.tell()
        yield house


async def test_the_books_balance(house: House) -> None:
    balance = await house.audit()
    assert balance == Balance("hotel", 2, {"answered": 2}, stranded=0, unexplained=0)
    assert (balance.remainder, balance.sound) == (0, True)


async def test_what_waits_and_what_is_under_way_balances_too(house: House) -> None:
    await say(house, "Y para cenar?")
    assert (await house.audit()).fates == {"answered": 2, "in_flight": 1}
    assert (await house.audit()).sound
    house.wati.history.hang = True
    await house.advance(500)
    await say(house, "Hola?")
    await house.advance(36)
    assert (await house.audit()).sound
    house.wati.release()


async def test_a_message_that_is_taken_away_is_missed(house: House) -> None:
    await take_away_a_message(house)
    balance = await house.audit()
    assert (balance.remainder, balance.sound) == (1, False)


async def test_a_message_that_nobody_delivered_is_noticed(house: House) -> None:
    await house.rows(
        "INSERT INTO message SELECT (jsonb_populate_record(m, '{\"id\": 900}')).* FROM message AS m"
        " WHERE author = 'customer' ORDER BY id LIMIT 1"
    )
    assert (await house.audit()).remainder == -1


async def test_a_message_that_nobody_looks_at_is_stranded(house: House) -> None:
    await say(house, "Y para cenar?")
    await house.rows("DELETE FROM untold WHERE state = 'unread'")
    balance = await house.audit()
    assert (balance.remainder, balance.stranded, balance.sound) == (0, 1, False)


async def test_an_answer_that_no_turn_gave_is_unexplained(house: House) -> None:
    [last] = await house.rows("SELECT max(id) AS id FROM turn")
    await house.rows("DELETE FROM outbox WHERE turn_id = $1", last["id"])
    await house.rows("DELETE FROM turn WHERE id = $1", last["id"])
    balance = await house.audit()
    assert (balance.remainder, balance.unexplained, balance.sound) == (0, 1, False)


async def test_a_fate_that_its_turn_did_not_give_is_unexplained(house: House) -> None:
    await house.rows("UPDATE message SET fate = 'dead' WHERE author = 'customer'")
    assert (await house.audit()).unexplained == 2


async def test_the_metrics_show_the_gap_and_what_it_hid(house: House) -> None:
    metrics = await house.metrics()
    assert metrics['relevo_gap_checks_total{result="gap"}'] == 1
    assert metrics['relevo_gap_checks_total{result="first_contact"}'] == 1
    assert metrics['relevo_gap_checks_total{result="none"}'] == 0
    recovered = {
        name: value
        for name, value in metrics.items()
        if name.startswith("relevo_gap_messages_recovered_total") and value
    }
    assert recovered == {'relevo_gap_messages_recovered_total{author="agent"}': 1}
    assert metrics['relevo_turns_total{outcome="answered"}'] == 2
    assert metrics["relevo_conservation_remainder_messages"] == 0


@pytest.mark.process
async def test_the_command_audit_says_with_its_code_whether_all_is_well(house: House) -> None:
    sound = await relevo(house, "audit")
    assert (sound.code, sound.errors) == (WELL, "")
    assert "Nothing is missing." in sound.out
    await house.rows("UPDATE accepted SET messages = messages + 3")
    bad = await relevo(house, "audit")
    assert (bad.code, bad.errors) == (BAD, "")
    assert "Something is missing: hotel." in bad.out
    assert "hotel: 3 accepted, and no longer stored (remainder)" in bad.out
    assert "compare it with a backup" in bad.out
    told = await relevo(house, "audit", "--json")
    assert told.code == BAD
    [balance] = orjson.loads(told.out)
    assert (balance["business_id"], balance["remainder"], balance["sound"]) == ("hotel", 3, False)


@pytest.mark.process
async def test_the_command_audit_misses_a_message_that_was_really_taken_away(house: House) -> None:
    assert (await relevo(house, "audit")).code == WELL
    await take_away_a_message(house)
    bad = await relevo(house, "audit")
    assert (bad.code, bad.errors) == (BAD, "")
    assert "Something is missing: hotel." in bad.out
    told = await relevo(house, "audit", "--json")
    [balance] = orjson.loads(told.out)
    assert (told.code, balance["remainder"], balance["sound"]) == (BAD, 1, False)


@pytest.mark.process
async def test_the_command_audit_needs_an_owner_who_may(house: House) -> None:
    owner_url = house.urls.owner_url
    for wrong, line in (
        ("", "database.owner_url is not set, and an audit needs it; set it"),
        (owner_url.replace("owner:", "owner:x"), "database.owner_url does not open the database"),
        (
            "postgresql://relevo_owner:x@127.0.0.1:1/relevo",
            "database.owner_url: the database cannot",
        ),
    ):
        ended = await relevo(house, "audit", RELEVO_DATABASE_OWNER_URL=wrong)
        assert (ended.code, ended.out, ended.errors.count("\n")) == (CANNOT, "", 1), ended
        assert line in ended.errors


@pytest.mark.process
async def test_the_command_why_tells_a_script_the_evidence(house: House) -> None:
    ended = await relevo(house, "why", PHONE, "--json")
    assert (ended.code, ended.errors) == (WELL, "")
    told = orjson.loads(ended.out)
    assert told["address"] == PHONE
    [conversation] = told["conversations"]
    assert conversation["canonical_key"] == f"phone:hotel:+{PHONE}"
    gap, first = conversation["turns"]
    assert (first["verdict"], first["silence_seconds"]) == ("first_contact", None)
    assert [m["text"] for m in gap["messages"]] == ["Que paso?"]
    assert (gap["verdict"], gap["silence_seconds"], gap["threshold_seconds"]) == ("gap", 780, 300)
    assert gap["previous_customer_at"] == "2025-10-07T16:54:17+00:00"
    assert (gap["recall"], gap["recall_reasons"], gap["recalled"]) == ("complete", ["gap"], 1)
    [missed] = gap["missed"]
    assert (missed["author"], missed["name"], missed["source"]) == ("agent", "Luis", "history")
    assert missed["text"] == "Ya le aparte la mesa 4"
    assert (gap["outcome"], gap["replies"], len(gap["reply"])) == ("answered", 1, 1)


@pytest.mark.process
async def test_the_command_why_knows_a_customer_in_every_spelling(house: House) -> None:
    ended = await asyncio.gather(*(relevo(house, "why", text) for text in SPELLINGS))
    assert {e.code for e in ended} == {WELL}
    assert len({e.out for e in ended}) == 1
    assert "780 s of silence" in ended[0].out
    assert "agent Luis: Ya le aparte la mesa 4" in ended[0].out
    stranger = await relevo(house, "why", "50370009999", "--json")
    assert (stranger.code, orjson.loads(stranger.out)["conversations"]) == (BAD, [])


async def take_away_a_message(house: House) -> None:
    """Delete the customer's first message as the owner may, and what hangs on it."""
    first = "(SELECT min(id) FROM message WHERE author = 'customer')"
    await house.rows(f"DELETE FROM message_key WHERE message_id = {first}")
    await house.rows(f"DELETE FROM message WHERE id = {first}")


async def say(house: House, text: str) -> None:
    said = house.wati.customer_message(PHONE, text, house.clock.now())
    assert await house.post(said.webhook()) == 200
    await house.quiet()


async def relevo(house: House, *arguments: str, **environ: Any) -> Ended:
    """Run a command beside the house, with the house's own configuration."""
    secrets = {"WATI_TOKEN": TOKEN, "WATI_SECRET": SECRET, "OPENAI_KEY": KEY}
    urls = {
        "RELEVO_DATABASE_URL": house.urls.url,
        "RELEVO_DATABASE_OWNER_URL": house.urls.owner_url,
    }
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "relevo",
            "--config",
            str(house.folder / "relevo.toml"),
            *arguments,
        ),
        env={"PATH": os.environ["PATH"], "COLUMNS": "200"} | secrets | urls | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), errors.decode())
