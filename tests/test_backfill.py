"""What an older CRM holds is given to whose it is: once, as told, while webhooks come."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from relevo.errors import StoreUnavailableError
from relevo.identity import LEAD, PHONE
from relevo.messages import Address, Author
from relevo.store.embedded import DatabaseUrls
from relevo.store.merging import Fulfilled, Reason, Wish, carry_out
from tests.crm_rows import LONG_AGO, backfilled, put_aside, row
from tests.house import House
from tests.merging_rig import writer
from tests.store_rig import BUSINESS, LINE, NOON, Desk, deadlocks, desk, said
from tests.turn_rows import have_answered

pytestmark = pytest.mark.postgres

ANA, BEA = "+50370000101", "+50370000102"
LID = "1234567890123"
TOLD = ("inserted", "")
KNOWN = ("inserted", "known")

THREADS = (
    "SELECT c.canonical_key, array_agg(m.body ORDER BY m.event_at, m.id) AS said"
    " FROM conversation AS c JOIN message AS m ON m.conversation_id = c.id"
    " GROUP BY c.canonical_key ORDER BY c.canonical_key"
)
LEADS_TO = (
    "SELECT a.value, c.canonical_key FROM address AS a"
    " JOIN conversation AS c ON c.id = a.conversation_id ORDER BY a.value"
)
MESSAGES = (
    "SELECT m.body, m.author, m.source, m.fate, m.event_at, m.address_kind, m.address_value"
    " FROM message AS m ORDER BY m.event_at, m.id"
)


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def test_a_lead_a_phone_and_a_lid_are_one_thread_whatever_comes_first(store: Desk) -> None:
    taken = await put_aside(
        store.pools,
        [
            row("by lid alone", 5, lid=LID),
            row("by lead alone", 4, lead_id="L-7", direction="out"),
            row("by lead and lid", 3, lead_id="L-7", lid=LID),
            row("by phone and lead", 2, to_number=ANA, lead_id="L-7"),
            row("by phone", 1, to_number="7000-0101"),
            row("of somebody else", 0, to_number=BEA),
            row("of a lead that nobody has", 0, lead_id="L-8"),
            row("of a lid that nobody has", 0, lid="99"),
            row("of nobody", 0),
        ],
    )
    assert (taken.rows, taken.staged, taken.refused) == (9, 8, {"nobody": 1})
    found = await backfilled(store.pools, store.clock)
    assert found == {TOLD: 6, ("refused", "unknown_lead"): 1, ("refused", "unknown_lid"): 1}
    key = f"lead:{BUSINESS}:L-7"
    thread = ["by phone", "by phone and lead", "by lead and lid", "by lead alone", "by lid alone"]
    assert await store.rows(THREADS) == [
        (key, thread),
        (f"phone:{BUSINESS}:{BEA}", ["of somebody else"]),
    ]
    assert (await store.rows(LEADS_TO))[2:] == [(LID, key), ("L-7", key)]
    [by_lead] = [m for m in await store.rows(MESSAGES) if m["body"] == "by lead alone"]
    assert tuple(by_lead)[1:] == (
        *("agent", "import", None, LONG_AGO + timedelta(minutes=4)),
        *("phone", ANA),
    )
    assert await store.value("SELECT count(*) FROM untold") == 0
    assert await store.value("SELECT count(*) FROM accepted") == 0
    assert await store.value("SELECT string_agg(DISTINCT body, ', ') FROM legacy_message") == (
        ", of a lead that nobody has, of a lid that nobody has"
    )


async def test_a_second_time_changes_nothing_and_again_tries_what_was_refused(
    store: Desk,
) -> None:
    rows = [row("Hola", 0, to_number=ANA), row("Buenas", 1, lead_id="L-8")]
    await put_aside(store.pools, rows)
    await backfilled(store.pools, store.clock)
    before = await store.rows(MESSAGES)
    again = await put_aside(store.pools, rows)
    assert (again.staged, again.known) == (0, 2)
    assert (await backfilled(store.pools, store.clock))[TOLD] == 1
    assert await store.rows(MESSAGES) == before
    await put_aside(store.pools, [row("Soy yo", 2, to_number=ANA, lead_id="L-8")])
    found = await backfilled(store.pools, store.clock)
    assert found == {TOLD: 2, ("refused", "unknown_lead"): 1}
    assert await backfilled(store.pools, store.clock, again=True) == {TOLD: 3}
    await store.rows("DELETE FROM legacy_message")
    await put_aside(store.pools, rows)
    assert await backfilled(store.pools, store.clock) == {KNOWN: 2}
    assert len(await store.rows(MESSAGES)) == 3


async def test_two_conversations_of_one_lead_are_wished_to_be_one(store: Desk) -> None:
    await put_aside(
        store.pools,
        [
            row("from the old phone", 0, to_number=ANA, lead_id="L-7"),
            row("from the new phone", 1, to_number=BEA, lead_id="L-7"),
        ],
    )
    assert await backfilled(store.pools, store.clock) == {TOLD: 2}
    key = f"lead:{BUSINESS}:L-7"
    assert await store.rows(THREADS) == [(key, ["from the old phone", "from the new phone"])]
    wishes = "SELECT kind, value, other_kind, other_value, reason FROM link ORDER BY kind"
    assert await store.rows(wishes) == [("lead", "L-7", "phone", BEA, "lead")]
    await store.deliver(said("by lid alone", addresses=(Address("lid", LID),)))
    await put_aside(store.pools, [row("by both", 2, to_number=BEA, lid=LID)])
    await backfilled(store.pools, store.clock)
    by_both = ("phone", BEA, "lid", LID, "message")
    assert (await store.rows(wishes))[1:] == [by_both]
    lead, lid, reached_at = (LEAD, "", "L-7"), ("lid", LINE, LID), (PHONE, "", BEA)
    for wish in (
        Wish(BUSINESS, lead, reached_at, Reason.LEAD),
        Wish(BUSINESS, reached_at, lid, Reason.MESSAGE),
    ):
        done = await carry_out(writer(store), wish, store.clock.now())
        assert done.fulfilled is Fulfilled.MERGED
    said_by_all = ["from the old phone", "from the new phone", "by both", "by lid alone"]
    assert await store.rows(THREADS) == [(key, said_by_all)]
    assert await store.rows(wishes) == []


async def test_what_a_webhook_or_a_recall_has_brought_is_not_stored_twice(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=(Address("phone", ANA),)))
    await store.deliver(
        said("Buenas tardes ", author=Author.AGENT, kind="interactive", after_seconds=30,
             addresses=(Address("phone", ANA),))
    )  # fmt: skip
    at = NOON.isoformat()
    later = (NOON + timedelta(seconds=31)).isoformat()
    await put_aside(
        store.pools,
        [
            row("Hola", to_number=ANA, created_at=at),
            row("Hola", to_number=ANA, created_at=at) | {"id": "a twin of it"},
            row("Hola", to_number=ANA, created_at=at, direction="out") | {"id": "echoed"},
            row("Buenas tardes", to_number=ANA, created_at=later, direction="out"),
        ],
    )
    assert await backfilled(store.pools, store.clock) == {TOLD: 2, KNOWN: 2}
    await put_aside(
        store.pools, [row("Hola", to_number=ANA, created_at=at) | {"id": "a third, later"}]
    )
    assert await backfilled(store.pools, store.clock) == {TOLD: 3, KNOWN: 2}
    bodies = [(m["body"], m["author"], m["source"]) for m in await store.rows(MESSAGES)]
    assert sorted(bodies) == [
        ("Buenas tardes ", "agent", "webhook"),
        ("Hola", "agent", "import"),
        ("Hola", "customer", "import"),
        ("Hola", "customer", "import"),
        ("Hola", "customer", "webhook"),
    ]


async def test_the_last_time_is_the_newest_before_the_first_message_here(store: Desk) -> None:
    mark = "SELECT last_customer_at, version FROM conversation"
    await store.deliver(said("Hola", addresses=(Address("phone", ANA),)))
    await put_aside(
        store.pools,
        [
            row("the first", 0, to_number=ANA),
            row("the newest", 9, to_number=ANA),
            row("not the customer's", 10, to_number=ANA, direction="out"),
            row("about this one", to_number=ANA, created_at="2026-03-02T11:59:30Z"),
        ],
    )
    await backfilled(store.pools, store.clock)
    newest = LONG_AGO + timedelta(minutes=9)
    assert await store.rows(mark) == [(newest, 1)]
    await put_aside(store.pools, [row("older", 5, to_number=ANA)])
    await backfilled(store.pools, store.clock)
    assert await store.rows(mark) == [(newest, 1)]


async def test_a_turn_that_recalls_hears_of_what_it_would_store_again(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=(Address("phone", ANA),)))
    await have_answered(store, NOON)
    own_at = LONG_AGO - timedelta(days=1)
    await store.rows("UPDATE conversation SET last_customer_at = $1", own_at)
    await put_aside(store.pools, [row("one", to_number=ANA)])
    await backfilled(store.pools, store.clock)
    assert await store.rows("SELECT last_customer_at, version FROM conversation") == [(own_at, 0)]
    await store.rows("UPDATE turn SET stage = 'recalling', outcome = NULL, ended_at = NULL")
    await put_aside(store.pools, [row("two", to_number=ANA, direction="out")])
    await backfilled(store.pools, store.clock)
    assert await store.version() == 1


async def test_strangers_who_write_meanwhile_are_one_person_each(
    store: Desk, database: DatabaseUrls
) -> None:
    numbers = range(60)
    await put_aside(
        store.pools,
        [
            row(f"old {n} {m}", m, to_number=f"+503700001{n:02}", lid=f"9{n:02}", lead_id=f"L{n}")
            for n in numbers
            for m in range(3)
        ],
    )

    async def write(n: int) -> None:
        by = (Address("phone", f"+503700001{n:02}"), Address("lid", f"9{n:02}"))
        for which in (by[1:], by, by[:1])[n % 3 :]:
            keys = (f"new {n} {len(which)} {which[0].kind}",)
            await store.deliver(said(keys[0], *keys, addresses=which))

    await asyncio.gather(backfilled(store.pools, store.clock), *map(write, numbers))
    threads = await store.rows(THREADS)
    assert len(threads) == len(numbers)
    assert sum(len(thread["said"]) for thread in threads) == 60 * 3 + 20 * (3 + 2 + 1)
    assert await deadlocks_after(store, database) == 0


async def test_who_is_given_away_again_and_again_is_left_for_later(store: Desk) -> None:
    await put_aside(store.pools, [row("Hola", to_number=ANA)])
    await store.deliver(said("from before", addresses=(Address("phone", ANA),)))
    await store.rows(
        "CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE foreign_key_violation USING constraint ="
        " 'message_business_id_conversation_id_fkey'; END $$"
    )
    await store.rows("CREATE TRIGGER t BEFORE INSERT ON message EXECUTE FUNCTION gone()")
    with pytest.raises(StoreUnavailableError, match="merged again and again"):
        await backfilled(store.pools, store.clock)
    await store.rows("DROP TRIGGER t ON message")
    assert await backfilled(store.pools, store.clock) == {TOLD: 1}


@pytest.mark.parametrize("merged", [True, False])
async def test_a_customer_who_is_merged_or_parted_meanwhile_is_found_again(
    store: Desk, *, merged: bool
) -> None:
    await put_aside(store.pools, [row("Hola", to_number=ANA)])
    await store.deliver(said("from before", addresses=(Address("phone", ANA),)))
    await store.deliver(said("the survivor's", addresses=(Address("phone", BEA),)))
    merging = await asyncpg.connect(store.urls.owner_url)
    try:
        merge = merging.transaction()
        await merge.start()
        whose = "SELECT conversation_id FROM address WHERE value = $1"
        loser = await merging.fetchval(whose, ANA)
        survivor = await merging.fetchval(whose, BEA)
        await merging.execute("SELECT FROM conversation WHERE id = $1 FOR UPDATE", loser)
        running = asyncio.gather(backfilled(store.pools, store.clock))
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not await store.value(waits):
            assert not running.done(), running
        for table in ("address", "message", "untold")[: 3 if merged else 1]:
            await merging.execute(
                f"UPDATE {table} SET conversation_id = $1 WHERE conversation_id = $2",
                *(survivor, loser),
            )
        if merged:
            await merging.execute("DELETE FROM conversation WHERE id = $1", loser)
        await merge.commit()
        [found] = await running
        assert found == {TOLD: 1}
    finally:
        await merging.close()
    [there] = [people for people in await store.people() if "Hola" in people]
    assert there == {"Hola", "the survivor's"} | ({"from before"} if merged else set())


async def test_the_ai_begins_with_what_was_imported_and_has_missed_nothing(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with House(database, tmp_path, NOON, quiet_seconds=35) as house:
        pools = house.relevo.database.pools
        await put_aside(
            pools,
            [
                row("¿Tienen piscina?", 0, to_number=ANA),
                row("Sí, y es gratis", 1, to_number=ANA, direction="out"),
                row("Quiero ir mañana", to_number=ANA, created_at=NOON.isoformat()),
            ],
        )
        await backfilled(pools, house.clock)
        digits = ANA.removeprefix("+")
        house.wati.agent_message(digits, "Sí, y es gratis", LONG_AGO + timedelta(minutes=1), "Luis")
        asked = house.wati.customer_message(digits, "Quiero ir mañana", NOON)
        assert await house.post(asked.webhook()) == 200
        await house.advance(600)
        assert house.wati.texts_to(digits) == ["ok"]
        [held] = house.ai.conversations.values()
        told = [i["content"] for i in held.items if i["role"] != "developer"]
        assert told[:3] == ["¿Tienen piscina?", "Sí, y es gratis", "Quiero ir mañana"]
        [turn] = await house.why(digits)
        assert (turn["verdict"], turn["missed"], turn["recalled"]) == ("gap", [], 0)
        assert [m["text"] for m in turn["messages"]] == ["Quiero ir mañana"]
        found = await house.rows("SELECT body, source FROM message ORDER BY event_at, id")
        assert [tuple(m) for m in found[:3]] == [
            ("¿Tienen piscina?", "import"),
            ("Sí, y es gratis", "import"),
            ("Quiero ir mañana", "webhook"),
        ]
        assert (await house.audit()).sound


async def deadlocks_after(store: Desk, database: DatabaseUrls) -> int:
    """Return how many there were, once this process has left."""
    await store.incarnation.release()
    await store.pools.close()
    return await deadlocks(database)
