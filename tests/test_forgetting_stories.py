"""A customer who left traces everywhere is forgotten: nothing of him is left, here or at the AI."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from relevo.messages import ConversationKey
from relevo.store.embedded import DatabaseUrls
from relevo.store.erasing import erase_noted
from relevo.store.forgetting import LOOK_SECONDS, WAIT_SECONDS_MAX, forget
from tests.commands import BAD, WELL, Configured
from tests.fakes import openai_faults as ai
from tests.fakes.clock import until
from tests.house import KEY, SECRET, TOKEN, House
from tests.store_rig import NOON
from tests.traces import traces

pytestmark = [pytest.mark.postgres, pytest.mark.process]

PHONE = "50379990123"
WORDS = "canario azul"
NAME = "Canaria Mesa"
CANARIES = (PHONE, PHONE.removeprefix("503"), WORDS, NAME)
BYSTANDER = "50370000101"
NEWS = "gorriones"

SPELLED = "+503 7999-0123"
TURN_SECONDS = 500
"""Longer than the gap: each message is a turn that asks for the history."""

ELSEWHERE = """
INSERT INTO merge (business_id, survivor_id, loser_id, reason, survivor, loser, addresses,
    message_ids, turn_ids, merged_at)
SELECT 'hotel', survivor_id, loser_id, 'person', survivor::jsonb, '{}', '[]', '{}', '{}', now()
FROM (VALUES ($1::bigint, 901, '{"key": "lid:hotel:90210"}'),
    (901, 902, '{"key": "phone:hotel:+50379990123"}'),
    (801, 802, '{"key": "gorriones"}')) AS merged (survivor_id, loser_id, survivor);
""", """
INSERT INTO outgoing (business_id, conversation_id, author, author_name, body, due_at, state,
    created_at)
SELECT 'hotel', id, 'agent', 'Canaria Mesa', 'canario azul', created_at + interval '1 year',
    'scheduled', created_at FROM conversation WHERE id = $1::bigint;
""", """
INSERT INTO address SELECT 'hotel', 'lid', 'line', '998877@lid', $1::bigint;
""", """
INSERT INTO link SELECT 'hotel', 'lead', '', 'L-7', 'phone', '', '+50379990123', 'lead',
    created_at FROM conversation WHERE id = $1::bigint;
""", """
INSERT INTO idempotency SELECT 'hotel', key, 'asked', 202, body::bytea, created_at
FROM conversation, (VALUES ('one', '{"to": "+50379990123", "text": "canario azul"}'),
    ('two', '{"conversation_id":' || $1::bigint || ',"text":"canario azul"}'),
    ('three', '{"conversation_id":' || $1::bigint || '0,"text":"gorriones"}')) AS a (key, body)
WHERE id = $1::bigint;
""", """
INSERT INTO legacy_message (business_id, channel_id, legacy_id, to_number, author, lead_id, lid,
    body, created_at, state)
VALUES ('hotel', 'line', '1', '503 7999-0123', 'agent', '', '', 'canario azul', now(), 'waiting'),
    ('hotel', 'line', '2', '7999 0123', 'agent', '', '', 'canario azul', now(), 'refused'),
    ('hotel', 'line', '3', '', 'agent', '', '998877@lid', 'canario azul', now(), 'refused'),
    ('hotel', 'line', '4', '79990124', 'agent', '', '', 'gorriones', now(), 'waiting');
"""  # fmt: skip


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(
        database, tmp_path, NOON, quiet_seconds=1, first_contact_lookback_seconds=0
    ) as house:
        yield house


async def says(house: House, phone: str, text: str, name: str = "") -> None:
    said = house.wati.customer_message(phone, text, house.clock.now(), fields={"senderName": name})
    assert await house.post(said.webhook()) == 200
    await house.advance(TURN_SECONDS)


async def leaves_traces(house: House) -> None:
    """Go through the webhook, the history, replies, failures and the quarantine."""
    house.ai.answers.append(f"Buenos dias, {WORDS}")
    await says(house, PHONE, f"Hola, {WORDS}", NAME)
    house.wati.agent_message(PHONE, f"le aparte {WORDS}", house.clock.now(), NAME)
    house.ai.faults.append(ai.after("none", ai.incomplete("max_output_tokens")))
    await says(house, PHONE, f"de nuevo {WORDS}", NAME)
    house.ai.answers.append(f"Claro, {WORDS}")
    await says(house, PHONE, f"otra vez {WORDS}", NAME)
    note = {"eventType": "message", "waId": {"a": f"+{PHONE}"}, "text": WORDS}
    assert await house.post(note) == 200
    assert await house.post(f'{{"phone": "{PHONE}", "{WORDS}'.encode()) == 200
    assert await house.post(f'{{"phone": "{BYSTANDER}", "{NEWS}'.encode()) == 200


def command(house: House) -> Configured:
    """Call commands as the house is configured, from beside it."""
    environ = {
        "RELEVO_DATABASE_URL": house.urls.url,
        "RELEVO_DATABASE_OWNER_URL": house.urls.owner_url,
        "WATI_TOKEN": TOKEN,
        "WATI_SECRET": SECRET,
        "OPENAI_KEY": KEY,
    }
    return Configured(house.folder, environ | {"PATH": os.environ["PATH"]})


async def leaves_more(house: House) -> int:
    """Leave traces where only other parts of the product write; return the conversation's id."""
    [found] = await house.conversations(PHONE)
    for statement in ELSEWHERE:
        placed = (found["conversation"],) if "$1" in statement else ()
        await house.rows(statement, *placed)
    tables = {place.partition(".")[0] for place in await traces(house.urls, *CANARIES)}
    assert tables >= {
        *("conversation", "address", "message", "turn", "quarantine", "merge", "outgoing"),
        *("link", "idempotency", "legacy_message"),
    }
    letters = "SELECT count(*) FROM dead_letter WHERE conversation_id = $1"
    assert (await house.rows(letters, found["conversation"]))[0][0] == 1
    assert (await house.rows("SELECT discarded_responses FROM turn WHERE outcome = 'failed'"))[0][0]
    assert WORDS in house.ai.holds()
    return int(found["conversation"])


async def test_a_customer_is_forgotten_and_nobody_else_is(house: House) -> None:
    await says(house, BYSTANDER, f"Hola, {NEWS}")
    await leaves_traces(house)
    conversation_id = await leaves_more(house)
    news = await traces(house.urls, NEWS, BYSTANDER)
    relevo = command(house)
    refused = await relevo("forget", SPELLED)
    assert "erases 1 conversation, " in refused.line
    assert await traces(house.urls, WORDS)

    ended = await relevo("forget", SPELLED, "--yes", "--json")
    assert (ended.code, ended.errors) == (WELL, "")
    told = orjson.loads(ended.out)
    assert (told["conversations"], told["deliveries"], told["ai"]["left"]) == (1, 2, 0)
    assert not [canary for canary in CANARIES if canary in ended.out]
    assert await traces(house.urls, *CANARIES) == set()
    assert not [canary for canary in CANARIES if canary in house.ai.holds()]
    assert house.ai.lost_items == []
    assert await traces(house.urls, NEWS, BYSTANDER) == news
    assert NEWS in house.ai.holds()
    assert (await house.audit()).sound

    again = await relevo("forget", SPELLED, "--yes")
    assert (again.code, "Nobody is known" in again.out) == (BAD, True)
    await says(house, PHONE, "Soy nuevo")
    await says(house, BYSTANDER, "Sigo aqui")
    [anew] = await house.conversations(PHONE)
    assert [t["outcome"] for t in anew["turns"]] == ["answered"]
    assert anew["conversation"] != conversation_id
    assert [t["outcome"] for t in await house.why(BYSTANDER)] == ["answered", "answered"]
    assert (await house.audit()).sound


def looks_again(house: House) -> bool:
    """Tell whether somebody waits to look again soon."""
    due = house.clock.next_alarm_at
    return due is not None and due <= house.clock.now() + timedelta(seconds=LOOK_SECONDS)


async def test_a_customer_is_forgotten_while_he_is_being_answered(house: House) -> None:
    async def think(_question: object) -> None:
        await house.hold(60)

    house.ai.before_answer = think
    said = house.wati.customer_message(PHONE, WORDS, house.clock.now())
    assert await house.post(said.webhook()) == 200
    await house.advance(5)
    [found] = await house.conversations(PHONE)
    pools, assistants = house.relevo.database.pools, house.relevo.assistants
    key = ConversationKey("hotel", found["conversation"])
    forgotten = asyncio.gather(forget(pools, key, "SV", house.clock))
    await until(lambda: looks_again(house))
    await house.advance(WAIT_SECONDS_MAX - 1)
    assert not forgotten.done(), "an answer may come, and be sent"
    while not forgotten.done():
        await until(lambda: forgotten.done() or looks_again(house))
        await house.advance(LOOK_SECONDS)
    [counts] = await forgotten
    assert (counts["messages"], counts["turns"]) == (1, 1)
    assert await traces(house.urls, *CANARIES) == set()
    erased = await erase_noted(pools, "hotel", assistants["hotel"], house.clock)
    assert (erased.done, erased.left, erased.reason) == (0, 1, "conversation_locked")

    await house.advance(100)
    erased = await erase_noted(pools, "hotel", assistants["hotel"], house.clock)
    assert (erased.done, erased.left, house.ai.conversations) == (1, 0, {})
    assert house.wati.texts_to(PHONE) == []
    assert (await house.audit()).sound
