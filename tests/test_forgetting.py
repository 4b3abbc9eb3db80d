"""What has to be known to erase a customer, and that nothing of him is left."""

import asyncio
from asyncio import Future
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import orjson
import pytest

from relevo.messages import Author, ConversationKey, Edit, Unusable
from relevo.outgoing import Draft
from relevo.store.embedded import DatabaseUrls
from relevo.store.exporting import SECTIONS, export_of
from relevo.store.forgetting import forget
from relevo.store.merging import Reason
from relevo.store.parting import Undoing
from relevo.writes import Writes
from tests.commands import WELL, configured
from tests.crm_rows import put_aside, row
from tests.lives_on_rows import Life, failed, idle
from tests.merging_rig import books, link, part, two
from tests.outgoing_rig import asked
from tests.store_rig import BUSINESS, NOON, Desk, bsuid, desk, phone, said
from tests.traces import traces

pytestmark = pytest.mark.postgres

R = TypeVar("R")


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def test_every_conversation_that_the_ai_ever_had_for_a_customer_is_known(store: Desk) -> None:
    await store.deliver(said("Hola"))
    key = ConversationKey(BUSINESS, await store.value("SELECT id FROM conversation"))
    await store.rows("UPDATE conversation SET openai_conversation_id = 'conv_0'")
    first = (await store.journal.load([key]))[key].conversation
    for ai_conversation in ("conv_1", "conv_1", None, "conv_2"):
        conversation = (await store.journal.load([key]))[key].conversation
        kept = Writes(replace(conversation, ai_conversation=ai_conversation))
        assert await store.journal.commit(kept)
    lost = Writes(replace(first, ai_conversation="conv_lost"))
    assert not await store.journal.commit(lost)
    known = await store.rows("SELECT id, created_at FROM ai_conversation ORDER BY id")
    assert [tuple(row) for row in known] == [
        *(("conv_0", NOON), ("conv_1", NOON), ("conv_2", NOON))
    ]


CARRIERS = (
    "SELECT c.table_name FROM information_schema.columns AS c WHERE c.table_schema = 'public'"
    " AND c.column_name = $1 ORDER BY 1"
)
ANSWERED = (
    "INSERT INTO idempotency SELECT 'hotel', $1::bigint || ' ' || $2::bigint, 'asked', 202,"
    """ format('{"id":%s,"conversation_id":%s,"text":"Luego"}', $1, $2)::bytea, $3"""
)
"""A send as the API tells it: its id, and the conversation it was in then."""

LATER = Draft("Luego", Author.AGENT, "Ana", due_at=NOON + timedelta(days=30))


def edit(target: str, text: str, seconds: float) -> Edit:
    return Edit(target, Author.CUSTOMER, text, NOON + timedelta(seconds=seconds))


async def carried(store: Desk, conversation_id: int) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of a conversation, by every table that has such rows."""
    found = {}
    for (table,) in await store.rows(CARRIERS, "conversation_id"):
        rows = await store.rows(
            f"SELECT (to_jsonb(t) - 'reversed' - 'conversation_id')::text FROM {table} AS t"
            " WHERE conversation_id = $1 ORDER BY 1",
            conversation_id,
        )
        found[table] = [orjson.loads(row[0]) for row in rows]
    return found


async def exported(store: Desk, life: Life) -> list[dict[str, Any]]:
    async with export_of(store.pools, await life.key(), "SV") as export:
        return [orjson.loads(row) for name in SECTIONS async for row in export.rows(name)]


async def test_whatever_a_conversation_has_is_moved_parted_exported_and_erased(
    store: Desk,
) -> None:
    """The catalogue says what there is, so a table that is new cannot be forgotten."""
    ana, other = await two(store, 1, (idle, failed))
    await store.deliver(edit("B1 1", "otra cosa", 3600))
    send = await asked(store, await other.key(), LATER)
    loser = (await other.key()).conversation_id
    for places in ((send, loser), (send, 901), (901, 902)):
        await store.rows(ANSWERED, *places, NOON)
    before = await carried(store, loser)
    assert [table for table, rows in before.items() if not rows] == [], "have a row of it here"
    survivor = (await ana.key()).conversation_id
    own = await carried(store, survivor)

    done = await link(store, ana.address, other.address)
    assert not any((await carried(store, loser)).values())
    both = await carried(store, survivor)
    told = await exported(store, ana)
    for table, rows in both.items():
        assert sorted(map(str, rows)) == sorted(map(str, own[table] + before[table])), table
        assert all(any(row.items() <= each.items() for each in told) for row in rows), table
    assert (await part(store, done.merge_id)).undoing is Undoing.UNDONE
    assert await carried(store, loser) == before
    assert await carried(store, survivor) == own

    await link(store, ana.address, other.address, Reason.PERSON)
    await forget(store.pools, await ana.key(), "SV", store.clock)
    for conversation_id in (survivor, loser):
        assert not any((await carried(store, conversation_id)).values())
    for table, column in (("message", "message_id"), ("turn", "turn_id")):
        for (name,) in await store.rows(CARRIERS, column):
            left = f"SELECT FROM {name} AS t WHERE {column} IS NOT NULL"
            assert await store.rows(left) == [], f"{name}, of a {table} that is gone"
    assert await store.rows("SELECT FROM conversation UNION ALL SELECT FROM merge") == []
    assert [tuple(row) for row in await store.rows("SELECT key FROM idempotency")] == [("901 902",)]
    assert (await books(store)).sound


@asynccontextmanager
async def half_way(store: Desk, forgetting: Awaitable[R]) -> AsyncIterator[Future[tuple[R]]]:
    """Have what is kept raw been looked through, and nothing be erased, while this lasts."""
    owner = await asyncpg.connect(store.urls.owner_url)
    try:
        async with owner.transaction():
            await owner.execute("SELECT FROM legacy_message FOR UPDATE")
            running = asyncio.gather(forgetting)
            while not await store.waiting():
                assert not running.done()
            yield running
    finally:
        await owner.close()


async def test_who_is_merged_while_he_is_being_forgotten_is_forgotten(
    store: Desk, tmp_path: Path
) -> None:
    """One after the other: the one whose conversation is gone by then, and the one who has it."""
    ids = [bsuid(f"US.77700{n}") for n in range(2)]
    for n, (address, other_one) in enumerate(zip(ids, ("50370000000", "US.777001"), strict=True)):
        raw = f'{{"from": "{other_one}"'.encode()
        await store.deliver(said(f"Hola {n}", addresses=(address,)), Unusable("odd"), body=raw)
        await store.deliver(said(f"Soy yo {n}", addresses=phone(n)))
    await put_aside(store.pools, [row("antes", lead_id="US.777000")])
    command = configured(store.urls, tmp_path)("forget", "US.777000", "--yes", "--json")
    async with half_way(store, command) as ended:
        await link(store, ids[0], phone(0)[0], Reason.PERSON)
    [told] = await ended
    assert (told.code, orjson.loads(told.out)["conversations"]) == (WELL, 1)
    assert not await traces(store.urls, "US.777000", "70000000", "antes")

    await put_aside(store.pools, [row("antes", to_number="70000001")])
    other = Life(store, phone(1)[0], "B")
    async with half_way(store, forget(store.pools, await other.key(), "SV", store.clock)) as done:
        await link(store, ids[1], other.address, Reason.PERSON)
    [counts] = await done
    assert counts["messages"] == len(("Hola", "Soy yo"))
    gone = ("US.777001", "70000001", "Hola", "Soy yo", "antes")
    assert await traces(store.urls, *gone) == set()
    assert (await books(store)).sound
