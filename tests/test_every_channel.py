"""The scenarios that every channel can express, on each of them, and whatever else may come."""

import asyncio
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from fuzz.targets import kept, samples
from relevo.store.embedded import DatabaseUrls
from tests.every_line import KINDS, named
from tests.every_provider import PHONE, Line, every_house
from tests.store_rig import NOON
from tests.storyteller import instant, scenario

pytestmark = pytest.mark.postgres


async def test_twenty_first_contacts_at_once_are_one_conversation_on_every_channel(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    story = scenario("10")
    script, expected = story.content["burst"], story.content["expect"]
    async with every_house(database, tmp_path, NOON, **story.settings) as (house, lines):
        posts = [
            line.posts(body)
            for line in lines
            for number in range(script["webhooks"])
            for body in [line.says(f"mensaje {number}", phone=PHONE)]
            for _ in range(script["each_delivered_times"])
        ]
        assert {line.kind for line in lines} == {*KINDS} - {"sandbox"}
        statuses = await asyncio.gather(*posts)
        assert set(statuses) == {expected["http_status_of_every_delivery"]}
        await house.advance(200)
        for line in lines:
            conversations = await line.rows("SELECT id FROM conversation WHERE business_id = $1")
            said = await line.rows(
                "SELECT conversation_id AS id FROM message"
                " WHERE business_id = $1 AND author = 'customer'"
            )
            assert len(conversations) == expected["conversations"], line.kind
            assert [row["id"] for row in said] == [conversations[0]["id"]] * expected["messages"]
            [turn] = await line.told()
            assert len(turn["messages"]) == expected["turns"][0]["message_count"]
            assert turn["verdict"] == expected["turns"][0]["verdict"]
            assert turn["replies"] == len(line.replies()) == expected["turns"][0]["replies"]


async def test_twenty_first_contacts_under_either_address_or_both_are_one_conversation_too(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    """Both conversations are being made when the first message links them."""
    async with every_house(database, tmp_path, NOON, quiet_seconds=35) as (house, every):
        lines = [line for line in every if line.hides_phone]
        ways = ((PHONE, False), ("", True), (PHONE, True))
        posts = [
            line.posts(line.says(f"mensaje {number}", phone=phone, second=second))
            for line in lines
            for number, (phone, second) in zip(range(20), cycle(ways), strict=False)
        ]
        assert set(await asyncio.gather(*posts)) == {200}
        await house.advance(200)
        for line in lines:
            [known] = await line.rows("SELECT id FROM conversation WHERE business_id = $1")
            said = await line.rows(
                "SELECT conversation_id AS id FROM message"
                " WHERE business_id = $1 AND author = 'customer'"
            )
            assert [row["id"] for row in said] == [known["id"]] * 20, line.kind
            [turn] = await line.told()
            assert (len(turn["messages"]), turn["outcome"]) == (20, "answered"), line.kind
            assert line.replies() == ["ok"], line.kind


async def test_one_person_is_one_thread_on_every_channel(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    story = scenario("11")
    timeline, expected = story.content["timeline"], story.content["expect"]
    begins = instant(timeline[0]["at"])
    settings = {name: value for name, value in story.settings.items() if name != "region"}
    async with every_house(database, tmp_path, begins, **settings) as (house, lines):
        assert {*story.content["channels"]} <= {line.kind for line in lines}
        for event in timeline:
            await house.advance_to(instant(event["at"]))
            if "assistant" in event:
                assert [line.replies() for line in lines] == [[event["assistant"]]] * len(lines)
                await happens(lines, event)
            elif "webhook" in event:
                house.ai.answers.extend(answers(timeline, event) * len(lines))
                await happens(lines, event)
            else:
                for line in lines:
                    await expect(line, expected, expected["canonical_key_before_lead"])
                    await line.is_lead(event["link_lead"])
            await house.quiet()
        for line in lines:
            await expect(line, expected, expected["canonical_key_after_lead"])


def answers(timeline: list[dict[str, Any]], event: dict[str, Any]) -> list[str]:
    """Return what the AI says to an event: what the timeline says next, if that is a reply."""
    after = timeline[timeline.index(event) + 1 :]
    return [text for text in (each.get("assistant") for each in after[:1]) if text]


async def happens(lines: tuple[Line, ...], event: dict[str, Any]) -> None:
    for line in lines:
        if "assistant" in event:
            await line.echoes()
        else:
            given = event["from"]
            second = given.get("second_address", False)
            await line.hears(event["webhook"], phone=given.get("phone", ""), second=second)


async def expect(line: Line, expected: dict[str, Any], key: str) -> None:
    known = await line.rows("SELECT canonical_key FROM conversation WHERE business_id = $1")
    keys = [key.format(business=line.business)] * expected["conversations"]
    assert [row["canonical_key"] for row in known] == keys, line.kind
    turns = [
        {"messages": [m["text"] for m in turn["messages"]], "replies": turn["replies"]}
        for turn in await line.told()
    ]
    assert turns == expected["turns"], line.kind
    thread = await line.rows(
        "SELECT author FROM message WHERE business_id = $1 ORDER BY event_at, id"
    )
    assert [row["author"] for row in thread] == expected["thread"], line.kind


async def test_whatever_was_kept_of_a_body_is_answered_with_200_on_every_channel(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with every_house(database, tmp_path, NOON) as (house, lines):
        for line in lines:
            bodies = [path.read_bytes() for path in kept(f"{line.kind}/webhook")]
            statuses = await asyncio.gather(*map(line.posts, bodies))
            refused = [body for body, status in zip(bodies, statuses, strict=True) if status != 200]
            assert not [body for body in refused if line.kind != "twilio" or b"=" in body]
        kept_raw = await house.rows("SELECT business_id, reason FROM quarantine")
        assert "refused_by_store" not in {row["reason"] for row in kept_raw}
        assert {row["business_id"] for row in kept_raw} == {named(line.kind) for line in lines}


async def test_who_shows_no_phone_is_answered_and_known_again_by_both_addresses(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with every_house(database, tmp_path, NOON, quiet_seconds=35) as (house, lines):
        for line in lines:
            await line.hears("Hola", second=True)
        await house.advance(60)
        assert [line.replies() for line in lines] == [["ok"]] * len(lines)
        for line in lines:
            await line.hears("Soy yo", phone=PHONE, second=True)
        await house.advance(60)
        for line in lines:
            await line.hears("Y otra vez", phone=PHONE)
        await house.advance(60)
        for line in lines:
            known = await line.rows("SELECT id FROM conversation WHERE business_id = $1")
            assert len(known) == 1, line.kind
            assert line.replies() == ["ok"] * 3, line.kind


NO_CHATS = {
    "cloud_api": ("group.json", "history.json", "contacts-sync.json", "user-actions.json"),
    "360dialog": ("group.json", "history.json"),
    "evolution": (
        "group.json",
        "status-broadcast.json",
        "newsletter.json",
        "another-instance.json",
    ),
    "twilio": ("other-sender.form", "sms.form"),
    "wati": ("chatbot-triggered.json", "new-contact.json"),
    "manychat": ("not-rendered.json",),
}


async def test_what_is_no_chat_with_one_customer_is_never_answered(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with every_house(database, tmp_path, NOON) as (house, lines):
        for line in lines:
            bodies = {path.name: path.read_bytes() for path in samples(f"{line.kind}/webhook")}
            for name in NO_CHATS[line.kind]:
                assert await line.posts(bodies[name]) == 200
        await house.advance(600)
        assert [line.replies() for line in lines] == [[]] * len(lines)
        assert await house.rows("SELECT id FROM message") == []


async def test_two_conversations_of_one_person_are_merged_by_the_message_that_names_both(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with every_house(database, tmp_path, NOON, quiet_seconds=35) as (house, every):
        lines = [line for line in every if line.hides_phone]
        for line in lines:
            await line.hears("Hola", second=True)
        await house.advance(60)
        for line in lines:
            await line.hears("Hay lugar?", phone=PHONE)
        await house.advance(60)
        apart = await house.rows("SELECT id FROM conversation")
        assert len(apart) == 2 * len(lines)
        for line in lines:
            await line.hears("Soy la misma", phone=PHONE, second=True)
        await house.advance(120)
        for line in lines:
            await expect_one_thread(line)
        told = [
            r for r in house.ai.requests if "Hola" in str(r.body) and "Hay lugar?" in str(r.body)
        ]
        assert len(told) >= len(lines)


async def expect_one_thread(line: Line) -> None:
    [known] = await line.rows("SELECT id, canonical_key FROM conversation WHERE business_id = $1")
    assert known["canonical_key"] == f"phone:{line.business}:{PHONE}", line.kind
    thread = await line.rows(
        "SELECT conversation_id, author FROM message WHERE business_id = $1 ORDER BY event_at, id"
    )
    assert {row["conversation_id"] for row in thread} == {known["id"]}, line.kind
    assert [row["author"] for row in thread] == ["customer", "assistant"] * 3, line.kind
    assert line.replies() == ["ok"] * 3, line.kind
