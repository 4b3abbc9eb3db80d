"""What a person sees by the API: one row for each customer, whoever has spoken last first."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from relevo.http.api_shapes import cursor
from relevo.messages import ConversationKey
from relevo.store import holding
from relevo.store.embedded import DatabaseUrls
from tests.api_rig import Client, client
from tests.house import House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

ANA, BEA, CARO, DORA = (f"5037000010{n}" for n in range(1, 5))
HOLD_SECONDS = 600


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON, human_hold_seconds=HOLD_SECONDS) as house:
        yield house


async def write(house: House, phone: str, text: str, at: datetime | None = None) -> None:
    """Have a customer write, and time go on until he has been answered."""
    said = house.wati.customer_message(phone, text, at or house.clock.now())
    assert await house.post(said.webhook()) == 200
    await house.advance(60)


async def step_in(house: House, phone: str, text: str) -> None:
    said = house.wati.agent_message(phone, text, house.clock.now(), "Luis")
    assert await house.post(said.webhook()) == 200
    await house.quiet()


async def phones(api: Client, limit: int = 50, **wanted: Any) -> list[str]:
    """Return whom a list shows on all its pages, by their phones."""
    found: list[str] = []
    more: str | None = None
    while True:
        page = await api.get("/conversations", cursor=more, limit=limit, **wanted)
        assert page["complete"]
        found += [row["canonical_key"].rpartition("+")[2] for row in page["conversations"]]
        more = page["next"]
        if more is None:
            return found


async def test_the_list_has_one_row_for_each_customer_whoever_spoke_last_first(
    house: House,
) -> None:
    api = await client(house)
    assert await phones(api) == []
    for phone in (ANA, BEA, CARO):
        await write(house, phone, f"Hola de {phone}")
    assert await phones(api) == [CARO, BEA, ANA]
    await write(house, ANA, "¿Hay mesa?")
    assert await phones(api) == await phones(api, limit=1) == [ANA, CARO, BEA]
    first = await api.get("/conversations", limit=1)
    await step_in(house, BEA, "Le llamo")
    assert await phones(api) == [BEA, ANA, CARO]
    bea, ana, _ = (await api.get("/conversations"))["conversations"]
    assert (bea["last_message"]["author"], bea["last_message"]["name"]) == ("agent", "Luis")
    assert ana["last_message"]["text"] == house.wati.texts_to(ANA)[-1]
    assert (ana["waiting"], ana["closed"], ana["hold"], ana["tags"]) == (0, False, None, [])
    assert ana["addresses"] == [
        {"kind": "bsuid", "scope": "line", "value": f"US.{ANA}"},
        {"kind": "phone", "scope": "", "value": f"+{ANA}"},
    ]
    for spelling in (f"+{ANA}", "+503 7000-0101", "7000 0101", f"00{ANA}", "(503) 7000.0101"):
        for kind in (None, "phone"):
            found = await api.get(f"/conversations/by-address/{spelling}", kind=kind)
            assert found["id"] == ana["id"], spelling
    assert await api.get(f"/conversations/{ana['id']}") == ana
    for nobody in ("70009999", f"{ANA}?kind=lid", "%00", "a/b", "x" * 201):
        assert (await api.get(f"/conversations/by-address/{nobody}", 404))["status"] == 404
    before_time = cursor("0001-01-01T00:00:00+23:59", 1)
    for nothing in ("Hola", "0", "W10", first["next"], before_time):
        assert (await api.get("/dead-letters", 404, cursor=nothing))["status"] == 404
        assert (await api.get("/conversations/1/messages", 404, after=nothing))["status"] == 404


async def test_pages_of_the_list_stay_in_order_while_messages_come(house: House) -> None:
    api = await client(house)
    for phone in (ANA, BEA, CARO, DORA):
        await write(house, phone, "Hola")
    first = await api.get("/conversations", limit=2)
    await house.advance(1)
    # Somebody who is on a later page writes: he comes first from now on, and keeps his place here.
    await write(house, ANA, "¿Hola?")
    await write(house, DORA, "¿Hola?")
    second = await api.get("/conversations", limit=2, cursor=first["next"])
    shown = [row["canonical_key"][-3:] for row in first["conversations"] + second["conversations"]]
    assert shown == ["104", "103", "102", "101"]
    assert second["next"] is None
    assert await phones(api) == [DORA, ANA, CARO, BEA]


async def test_what_is_closed_opens_with_the_next_message_and_holds_are_told(
    house: House,
) -> None:
    api = await client(house)
    for phone in (ANA, BEA, CARO):
        await write(house, phone, "Hola")
    keys = {
        row["canonical_key"][-11:]: ConversationKey("hotel", row["id"])
        for row in (await api.get("/conversations"))["conversations"]
    }
    now = house.clock.now()
    await house.rows("UPDATE conversation SET closed_at = $1 WHERE id <> $2", now, keys[BEA][1])
    assert await phones(api, closed=True) == [CARO, ANA]
    assert await phones(api, closed=False) == [BEA]
    await house.advance(1)
    # What is received after the closing opens, though it was said before it.
    await write(house, ANA, "Otra cosa", now - timedelta(minutes=20))
    assert await phones(api, closed=True) == [CARO]
    # A person's hold, and a colleague's message, which holds for a while.
    pools = house.relevo.database.pools
    await holding.hold(pools, keys[CARO], holding.UNTIL_RESUMED)
    await step_in(house, BEA, "Le llamo")
    assert await phones(api, held=True) == [BEA, CARO]
    assert await phones(api, held=False) == [ANA]
    held_until = house.clock.now() + timedelta(seconds=HOLD_SECONDS)
    bea, caro = (await api.get("/conversations", held=True))["conversations"]
    assert datetime.fromisoformat(bea["hold"]["until"]) == held_until
    assert caro["hold"] == {"until": None}
    await write(house, CARO, "¿Hola?")
    assert (await api.get(f"/conversations/{keys[CARO][1]}"))["waiting"] == 1
    await holding.resume(pools, keys[BEA], house.clock.now())
    await holding.resume(pools, keys[CARO], house.clock.now())
    assert await phones(api, held=True) == []
    # By its tag, with everything else that is asked.
    await house.rows("UPDATE conversation SET tags = '{vip}' WHERE id = $1", keys[ANA][1])
    assert await phones(api, tag="vip") == await phones(api, search="vip") == [ANA]
    assert await phones(api, tag="vip", closed=True) == []


async def test_a_search_finds_by_how_an_address_begins_or_ends(house: House) -> None:
    api = await client(house)
    for phone in (ANA, BEA, "50378888101"):
        await write(house, phone, "Hola")
    await house.rows(
        "INSERT INTO address SELECT 'hotel', 'lead', '', 'L-2077', min(id) FROM conversation"
    )
    for texts, found in (
        (("+503", "503", "+503 7"), ["50378888101", BEA, ANA]),
        (("70", "7000-01", "(503) 7000"), [BEA, ANA]),
        (("50370000101", "+503 7000-0101", "0101", "L-20", "2077", "000101"), [ANA]),
        (("8888101", "78888101", "888-8101"), ["50378888101"]),
        (("nobody", "0999", "+504", "5037000010100"), []),
    ):
        for text in texts:
            assert await phones(api, search=text) == found, text
    assert await phones(api, search="101", limit=1) == ["50378888101", ANA]
    refused = await api.get("/conversations", 422, search="7")
    assert [error["where"] for error in refused["errors"]] == ["query.search"]


@dataclass
class Thread:
    """A thread, and how to ask for parts of it."""

    api: Client
    path: str

    async def part(self, **where: Any) -> Any:
        return await self.api.get(self.path, **where)

    async def backwards(self, limit: int) -> list[Any]:
        """Read it from its end, page by page; return it in order."""
        page = await self.part(limit=limit)
        read: list[Any] = page["messages"]
        while page["older"] is not None:
            page = await self.part(limit=limit, before=page["older"])
            read = page["messages"] + read
        return read


async def thread_of(api: Client, phone: str) -> Thread:
    conversation = await api.get(f"/conversations/by-address/{phone}")
    return Thread(api, f"/conversations/{conversation['id']}/messages")


async def missed_promise(house: House) -> None:
    """Ana is promised a table where we see it only later, and writes again."""
    await write(house, ANA, "¿Hay mesa?")
    house.wati.agent_message(ANA, "Le aparto la 4", house.clock.now(), "Luis")
    await house.advance(HOLD_SECONDS)
    await write(house, ANA, "Gracias")


async def test_a_thread_shows_what_was_missed_and_where_the_gaps_are(house: House) -> None:
    await missed_promise(house)
    api = await client(house)
    thread = await thread_of(api, ANA)
    page = await thread.part()
    asked, answer, promise, thanks, bye = page["messages"]
    authors = [message["author"] for message in page["messages"]]
    assert authors == ["customer", "assistant", "agent", "customer", "assistant"]
    assert (asked["silence"]["verdict"], asked["missed_by_turn_id"]) == ("first_contact", None)
    assert asked["turn_id"] == answer["turn_id"]
    assert (answer["sending"], answer["silence"], answer["fate"]) == ("accepted", None, None)
    assert (promise["text"], promise["name"]) == ("Le aparto la 4", "Luis")
    assert (promise["source"], promise["turn_id"]) == ("history", None)
    assert promise["missed_by_turn_id"] == thanks["turn_id"] == bye["turn_id"]
    assert thanks["silence"] == {
        "turn_id": thanks["turn_id"],
        "verdict": "gap",
        "silence_seconds": HOLD_SECONDS + 60,
        "threshold_seconds": 300,
        "recall": "complete",
    }
    assert [message["waits_as"] for message in page["messages"]] == [None] * 5
    await api.get(thread.path.replace("messages", "turns"), 422, limit=21)
    turns = await api.get(thread.path.replace("messages", "turns"), limit=1)
    assert [message["text"] for message in turns["turns"][0]["missed"]] == ["Le aparto la 4"]
    older = await api.get(thread.path.replace("messages", "turns"), cursor=turns["next"])
    assert ([t["verdict"] for t in older["turns"]], older["next"]) == (["first_contact"], None)


async def test_what_was_never_said_is_not_shown_nor_what_was_taken_back(house: House) -> None:
    await missed_promise(house)
    api = await client(house)
    thread = await thread_of(api, ANA)
    *_, promise, thanks, bye = (await thread.part())["messages"]
    await house.rows(
        "UPDATE outbox SET state = 'cancelled', reason = 'made_up' WHERE message_id = $1", bye["id"]
    )
    await house.rows("UPDATE message SET edited_at = now() WHERE id = $1", promise["id"])
    await house.rows("UPDATE message SET revoked_at = now() WHERE id = $1", thanks["id"])
    *_, changed, gone = (await thread.part())["messages"]
    assert (changed["text"], changed["edited_at"] is None) == (promise["text"], False)
    assert (gone["id"], gone["text"], gone["revoked_at"] is None) == (thanks["id"], "", False)
    [row] = (await api.get("/conversations"))["conversations"]
    assert (row["last_message"]["id"], row["last_message"]["text"]) == (thanks["id"], "")


async def test_a_thread_reads_the_same_however_it_is_paged(house: House) -> None:
    await missed_promise(house)
    api = await client(house)
    thread = await thread_of(api, ANA)
    whole = await thread.part()
    assert await thread.part() == whole
    for limit in (1, 2, 3, 4, 5):
        assert await thread.backwards(limit) == whole["messages"]
    end = whole["newer"]
    assert (await thread.part(after=end))["messages"] == []
    assert (await thread.part(after=end))["newer"] == end
    middle = await thread.part(limit=2, before=end)
    assert (await thread.part(after=middle["newer"]))["messages"] == whole["messages"][4:]
    await write(house, ANA, "Adiós")
    assert [m["text"] for m in (await thread.part(after=end, limit=1))["messages"]] == ["Adiós"]
    some = (await thread.part(after=middle["older"], before=end))["messages"]
    assert some == middle["messages"][1:]
    for path in ("/conversations/99/messages", "/conversations/99/turns"):
        assert (await api.get(path, 404))["status"] == 404
