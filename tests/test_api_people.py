"""What people do beside the AI, by the API: a hold, an answer now, tags, a chat that is closed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from relevo.http.api_links import ADDRESSES_MAX
from relevo.store.embedded import DatabaseUrls
from tests.api_rig import client
from tests.fakes.openai_faults import error
from tests.house import House
from tests.store_rig import NOON
from tests.test_api_outgoing import PHONE, QUIET_SECONDS, Chat

pytestmark = pytest.mark.postgres

OTHER = "50370000102"


@pytest.fixture
async def chat(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Chat]:
    rules = {"quiet_seconds": QUIET_SECONDS, "priority": {"vip": {"quiet_seconds": 10}}}
    async with House(database, tmp_path, NOON, **rules) as house:
        yield Chat(house, await client(house))


async def does(chat: Chat, deed: str, body: Any = None, status: int = 200) -> Any:
    """Have it done, and what comes of it at once."""
    done = await chat.api.post(f"{chat.path}/{deed}", body, status=status)
    await chat.house.quiet()
    return done


async def closed(chat: Chat) -> bool:
    return bool((await chat.api.get(chat.path))["closed"])


async def test_a_hold_stops_an_answer_that_is_under_way_until_it_is_given_back(chat: Chat) -> None:
    house = chat.house
    house.ai.before_answer = lambda _body: house.hold(30)
    await chat.customer("Hola")
    await house.advance(QUIET_SECONDS + 5)
    held = await does(chat, "hold")
    assert (held["hold"], held["id"]) == ({"until": None}, chat.id)
    await house.advance(60)
    await chat.customer("¿Hola?")
    await house.advance(60)
    assert chat.texts() == []
    given_back = await does(chat, "resume")
    assert (given_back["hold"], given_back["waiting"]) == (None, 2)
    await house.advance(600)
    assert chat.texts() == []
    await does(chat, "answer", status=202)
    await house.advance(31)
    assert chat.texts() == ["ok"]
    problem = await does(chat, "answer", status=409)
    assert "Nothing waits" in problem["detail"]
    assert (await house.audit()).sound


async def test_a_hold_lasts_as_long_as_is_said(chat: Chat) -> None:
    now, year = chat.house.clock.now(), timedelta(days=367)
    await chat.answered("Hola")
    until = (now + timedelta(hours=1)).isoformat()
    assert (await does(chat, "hold", {"until": until}))["hold"]["until"] == "2026-03-02T13:00:00Z"
    held = await does(chat, "hold", {"minutes": 1.0})
    assert held["hold"]["until"] == "2026-03-02T12:01:40Z"
    for body, place in (
        ({"minutes": 0}, "body.minutes"),
        ({"minutes": "5"}, "body.minutes"),
        ({"minutes": 1.5}, "body.minutes"),
        ({"minutes": True}, "body.minutes"),
        ({"until": "2026-03-02"}, "body.until"),
    ):
        problem = await does(chat, "hold", body, status=422)
        assert [error["where"] for error in problem["errors"]] == [place]
    for at in (now, now + year):
        await does(chat, "hold", {"until": at.isoformat()}, status=409)
    both = await does(
        chat, "hold", {"minutes": 1, "until": (now + timedelta(seconds=41)).isoformat()}
    )
    assert both == held | {"version": both["version"]}
    await chat.house.advance(60)
    await chat.answered("¿Hay mesa?")
    assert chat.texts() == ["ok", "ok"]


async def test_a_closed_chat_is_opened_by_the_next_message(chat: Chat) -> None:
    await chat.answered("Hola")
    assert (await does(chat, "close"))["closed"]
    assert [await chat.api.get("/conversations", closed=shut) for shut in (True, False)] == [
        {"conversations": [await chat.api.get(chat.path)], "next": None, "complete": True},
        {"conversations": [], "next": None, "complete": True},
    ]
    await chat.house.advance(10)
    await chat.answered("Una cosa más")
    assert not await closed(chat)
    assert chat.texts() == ["ok", "ok"]
    await does(chat, "close")
    assert not (await does(chat, "reopen"))["closed"]


async def test_a_tag_counts_from_the_next_burst(chat: Chat) -> None:
    await chat.answered("Hola")
    path = f"{chat.path}/tags"
    tagged = await chat.api.ask("PUT", path, {"tags": ["vip", "norte", "vip"]})
    assert (tagged.status, tagged.body["tags"]) == (200, ["norte", "vip"])
    await chat.customer("¿Hay mesa?")
    await chat.house.advance(10)
    assert chat.texts() == ["ok", "ok"]
    for tags in ([""], ["a\nb"], [" a"], ["a "], [" "], [f"t{n}" for n in range(51)], "vip"):
        assert (await chat.api.ask("PUT", path, {"tags": tags})).status == 422
    assert (await chat.api.ask("PUT", path, {"tags": []})).body["tags"] == []
    await chat.customer("¿Y para dos?")
    await chat.house.advance(10)
    assert chat.texts() == ["ok", "ok"]


async def test_what_is_not_there_cannot_be_held_tagged_or_closed(chat: Chat) -> None:
    chat.id = 999
    for deed in ("hold", "resume", "answer", "close", "reopen"):
        await does(chat, deed, status=404)
    assert (await chat.api.ask("PUT", f"{chat.path}/tags", {"tags": []})).status == 404


async def test_a_dead_letter_is_retried_or_dropped(chat: Chat) -> None:
    house, api = chat.house, chat.api
    house.ai.faults.append(error(400, "no"))
    await chat.answered("Hola")
    [letter] = (await api.get("/dead-letters"))["dead_letters"]
    path = f"/dead-letters/{letter['turn_id']}"
    retried = await api.post(f"{path}/retry")
    assert retried == {"turn_id": letter["turn_id"], "conversation_id": chat.id, "messages": 1}
    await house.quiet()
    assert chat.texts() == ["ok"]
    problem = await api.post(f"{path}/retry", status=409)
    assert "closed_as" in problem["detail"]
    house.ai.faults.append(error(400, "no"))
    await chat.answered("¿Hay mesa?")
    [letter] = (await api.get("/dead-letters"))["dead_letters"]
    await api.post(f"/dead-letters/{letter['turn_id']}/drop", status=200)
    assert (await api.get("/dead-letters"))["dead_letters"] == []
    await api.post("/dead-letters/999/drop", status=404)
    assert (await house.audit()).sound


async def test_a_body_that_can_be_read_by_now_is_replayed(chat: Chat) -> None:
    house, api = chat.house, chat.api
    said = house.wati.customer_message(PHONE, "Hola", house.clock.now())
    assert await house.post(b"{not json") == 200
    aside = (orjson.dumps(said.webhook()), house.clock.now())
    await house.rows(
        "INSERT INTO quarantine (business_id, channel_id, reason, body, received_at)"
        " SELECT 'hotel', 'line', 'no_id', $1, $2",
        *aside,
    )
    readable, broken = [kept["id"] for kept in (await api.get("/quarantine"))["quarantine"]]
    still = await api.post(f"/quarantine/{broken}/replay", status=200)
    assert still == {"id": broken, "replayed": False, "reasons": ["not_json"]}
    for _ in range(2):  # once more changes nothing
        replayed = await api.post(f"/quarantine/{readable}/replay", status=200)
        assert replayed == {"id": readable, "replayed": True, "reasons": []}
    await house.quiet()
    await house.advance(QUIET_SECONDS)
    assert chat.texts() == ["ok"]
    [kept] = (await api.get("/quarantine"))["quarantine"]
    assert kept["id"] == broken
    await api.post("/quarantine/999/replay", status=404)
    assert (await house.audit()).sound


async def test_a_lead_and_another_phone_lead_to_the_customer(chat: Chat) -> None:
    house, api = chat.house, chat.api
    await chat.answered("Hola")
    linked = await api.ask("PUT", f"{chat.path}/lead", {"lead": "L-7"})
    assert (linked.status, linked.body["id"]) == (202, chat.id)
    await house.quiet()
    by_lead = await api.get("/conversations/by-address/L-7", kind="lead")
    assert (by_lead["id"], by_lead["canonical_key"]) == (chat.id, "lead:hotel:L-7")
    said = house.wati.customer_message(OTHER, "Soy yo, del trabajo", house.clock.now())
    assert await house.post(said.webhook()) == 200
    await house.advance(QUIET_SECONDS + 5)
    other = await api.get(f"/conversations/by-address/{OTHER}")
    assert other["id"] != chat.id
    await api.post(f"{chat.path}/addresses", {"address": "7000-0102"})
    await house.quiet()
    assert (await api.get(f"/conversations/by-address/{OTHER}"))["id"] == chat.id
    assert [text for _, text in await chat.thread()] == ["Hola", "ok", "Soy yo, del trabajo", "ok"]
    # Whoever still has the other's id goes where he is, to read and to write.
    gone = f"/conversations/{other['id']}"
    assert (await api.get(gone))["id"] == chat.id
    assert await api.get(f"{gone}/messages") == await api.get(f"{chat.path}/messages")
    for deed in ("hold", "resume", "close", "reopen"):
        assert (await api.post(f"{gone}/{deed}", {}, status=200))["id"] == chat.id
    assert (await api.ask("PUT", f"{gone}/tags", {"tags": ["vip"]})).body["tags"] == ["vip"]
    assert (await api.post(f"{gone}/messages", {"text": "Hola"}))["conversation_id"] == chat.id
    problem = await api.post(f"{chat.path}/addresses", {"address": "US.9"}, status=409)
    assert "give his phone" in problem["detail"]
    await house.rows(
        "INSERT INTO address (business_id, kind, scope, value, conversation_id)"
        " SELECT 'hotel', 'lead', '', 'M-' || n, $1 FROM generate_series(1, $2::int) AS n",
        chat.id,
        ADDRESSES_MAX,
    )
    problem = await api.ask("PUT", f"{chat.path}/lead", {"lead": "L-8"})
    assert (problem.status, await house.rows("SELECT * FROM link")) == (409, [])
    for path, body in (("lead", {"lead": "L-8"}), ("addresses", {"address": OTHER})):
        method = "PUT" if path == "lead" else "POST"
        assert (await api.ask(method, f"/conversations/999/{path}", body)).status == 404
    assert (await house.audit()).sound
