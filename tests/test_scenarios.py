"""The timelines that really happened, through HTTP, against a fake WATI and a fake AI."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from relevo.store.embedded import DatabaseUrls
from tests.house import House
from tests.storyteller import PHONE, Storyteller, burst, instant, scenario

OTHER_NAMES = {
    "no-whatsapp-ids": {"whatsapp_ids": False},
    "other-ids": {"webhook_ids": False},
    "no-common-id": {"whatsapp_ids": False, "webhook_ids": False},
}
"""How a history may name what the webhooks of the same messages name otherwise."""
SLOW_SEND_SECONDS = 4
RECALLING = ["01", "02", "03", "04", "05", "06", "13", "14", "15", "16", "17", "18", "20"]
"""The scenarios in which ids decide: something is recalled, or must not be."""

TOLD = [
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "07",
    "08",
    "09",
    "13",
    "14",
    "15",
    "16",
    "17",
    "18",
    "19",
    "20",
]


def customers(numbers: list[str]) -> list[Any]:
    return [
        pytest.param(number, index, id=f"{scenario(number).name}-{index}")
        for number in numbers
        for index, _ in enumerate(scenario(number).customers)
    ]


@pytest.mark.parametrize(("number", "index"), customers(TOLD))
async def test_a_timeline_comes_out_right(
    number: str, index: int, database: DatabaseUrls, tmp_path: Path
) -> None:
    await told(number, index, database, tmp_path)


@pytest.mark.parametrize("names", OTHER_NAMES)
@pytest.mark.parametrize(("number", "index"), customers(RECALLING))
async def test_it_does_whatever_the_history_calls_a_message(
    number: str, index: int, names: str, database: DatabaseUrls, tmp_path: Path
) -> None:
    await told(number, index, database, tmp_path, OTHER_NAMES[names])


@pytest.mark.parametrize(("number", "index"), customers(RECALLING))
async def test_it_does_if_the_answer_to_a_send_is_slow(
    number: str, index: int, database: DatabaseUrls, tmp_path: Path
) -> None:
    """Nothing but its words tells then that a reply in the history is ours."""
    names = OTHER_NAMES["no-common-id"]
    await told(number, index, database, tmp_path, names, send_seconds=SLOW_SEND_SECONDS)


async def told(
    number: str,
    index: int,
    database: DatabaseUrls,
    folder: Path,
    manners: Mapping[str, bool] | None = None,
    *,
    send_seconds: float = 0,
) -> None:
    """Let a timeline happen, with a history of these manners, and expect what it expects."""
    story = scenario(number)
    script = story.customers[index]
    starts_at = min(instant(event["at"]) for event in script["timeline"])
    async with House(database, folder, starts_at, **story.settings) as house:
        for name, value in (manners or {}).items():
            setattr(house.wati.history, name, value)
        if send_seconds:
            house.wati.before_send_answer = lambda: house.hold(send_seconds)
        teller = Storyteller(house, script)
        await teller.prepare()
        await teller.tell()
        await expect(house, script["expect"])
        assert (await house.audit()).sound


async def test_twenty_first_contacts_at_once_are_one_conversation(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    story = scenario("10")
    expected = story.content["expect"]
    async with House(
        database, tmp_path, instant("2026-03-02T10:00:00Z"), **story.settings
    ) as house:
        statuses = await burst(house, story.content["burst"])
        assert set(statuses) == {expected["http_status_of_every_delivery"]}
        await house.advance(200)
        conversations = await house.rows("SELECT id FROM conversation")
        messages = await house.rows("SELECT conversation_id FROM message WHERE author = 'customer'")
        assert len(conversations) == expected["conversations"]
        assert len(messages) == expected["messages"]
        assert {row["conversation_id"] for row in messages} == {conversations[0]["id"]}
        [turn] = await house.why(PHONE)
        assert len(turn["messages"]) == expected["turns"][0]["message_count"]
        assert turn["verdict"] == expected["turns"][0]["verdict"]
        assert turn["replies"] == len(house.wati.texts_to(PHONE)) == 1
        assert (await house.audit()).sound


async def test_a_phone_number_in_an_old_file_is_never_a_conversation(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    story = scenario("09")
    script = story.customers[0]
    legacy = script["state"]["legacy"]
    starts_at = instant(script["timeline"][0]["at"])
    async with House(database, tmp_path, starts_at, **story.settings) as house:
        teller = Storyteller(house, script)
        await teller.prepare()
        assert teller.imported.imported == 1
        assert teller.imported.refused == {("id", "wrong_prefix"): 1}
        [known] = await house.conversations(PHONE)
        assert known["last_customer_at"] == instant(f"{legacy['last_webhook_timestamp']}+00:00")
        assert known["ai_conversation"] is None
        await teller.tell()
        asked = [r for r in house.ai.requests if legacy["conversation_id"] in repr(r)]
        assert len(asked) == script["expect"]["ai_calls_with_that_id"]
        assert house.ai.responses == 1
        with pytest.raises(asyncpg.CheckViolationError, match="openai_conversation_id_is_one"):
            await house.rows(
                "UPDATE conversation SET openai_conversation_id = $1", legacy["conversation_id"]
            )


async def expect(house: House, expected: dict[str, Any]) -> None:
    told = await house.why(PHONE)
    turns = [turn for turn in told if turn["purpose"] == "reply"]
    assert [seen(turn, wanted) for turn, wanted in zip(turns, expected["turns"], strict=True)] == (
        expected["turns"]
    )
    replies = [turn.get("replies") for turn in expected["turns"]]
    if None not in replies:
        assert len(house.wati.texts_to(PHONE)) == sum(replies) + len(told) - len(turns)
    if "ai_conversations_created" in expected:
        assert house.ai.conversations_created == expected["ai_conversations_created"]
    never = expected.get("never", {})
    sent = " ".join(house.wati.texts_to(PHONE))
    missed = " ".join(message["text"] for turn in turns for message in turn["missed"])
    assert not [text for text in never.get("sent", ()) if text in sent]
    assert not [text for text in never.get("missed", ()) if text in missed]


def seen(turn: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return what came of a turn, in the words and with the keys of the scenario."""
    told = {
        "messages": [m["text"] or f"<{m['kind']}>" for m in turn["messages"]],
        "verdict": turn["verdict"],
        "silence_seconds": turn["silence_seconds"],
        "recall": turn["recall"],
        "missed": [{m["author"]: m["text"]} for m in turn["missed"]],
        "outcome": turn["outcome"],
        "replies": turn["replies"],
    }
    return {key: told[key] for key in wanted}
