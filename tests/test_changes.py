"""Edits and revocations in PostgreSQL: those that come early, and those that meet others."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise

import asyncpg
import pytest

from relevo.messages import Author, Change, Edit, Revocation, StatusUpdate
from relevo.store import changes
from relevo.store.embedded import DatabaseUrls
from relevo.store.inspection import audit
from tests.lives_on_rows import idle
from tests.merging_rig import link, part, two
from tests.store_rig import BUSINESS, NOON, Desk, deadlocks, desk, phone, said

pytestmark = pytest.mark.postgres

CUSTOMERS = 15
WAITS = (
    "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE datname = current_database() AND NOT granted"
)


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


def edit(target: str, text: str, seconds: float = 20) -> Edit:
    return Edit(target, Author.CUSTOMER, text, NOON + timedelta(seconds=seconds))


def revocation(target: str) -> Revocation:
    return Revocation(target, Author.CUSTOMER, None)


async def early(store: Desk) -> set[tuple[str, str, str]]:
    rows = await store.rows("SELECT target, kind, body FROM early_change")
    return {tuple(row) for row in rows}


async def thread(store: Desk) -> list[tuple[str, bool, bool]]:
    """Return what was said, whether it was edited, and whether it was revoked."""
    rows = await store.rows(
        "SELECT body, edited_at IS NOT NULL, revoked_at IS NOT NULL FROM message ORDER BY id"
    )
    return [tuple(row) for row in rows]


async def test_a_change_waits_until_its_message_is_known(store: Desk) -> None:
    await store.deliver(edit("1", "Mesa para tres", 30), edit("1", "Mesa para dos"))
    await store.deliver(edit("1", "Mesa para una"), revocation("2"))
    await store.deliver(revocation("2"), edit("3", "de otra linea"), line="line-2")
    await store.deliver(Edit("1", Author.AGENT, "de otra persona", None))
    waiting = await early(store)
    assert waiting == {
        ("1", "edit", "Mesa para tres"),
        ("1", "edit", "de otra persona"),
        ("2", "revocation", ""),
        ("3", "edit", "de otra linea"),
    }
    await store.deliver(said("Mesa", "1"), said("Adios", "2"), said("Hola", "3"))
    store.woken.clear()
    await store.inbox.changes.settle()
    await store.inbox.changes.settle()
    assert await thread(store) == [
        ("Mesa para tres", True, False),
        ("Adios", False, True),
        ("Hola", False, False),
    ]
    assert len(store.woken) == 2
    assert await early(store) == {("2", "revocation", ""), ("3", "edit", "de otra linea")}
    assert store.changes["edit", "settled"] == 2
    assert store.changes["revocation", "settled"] == 1


async def test_what_comes_with_its_message_does_not_wait(store: Desk) -> None:
    await store.deliver(edit("1", "Hola!"), said("Hola", "1"), revocation("2"), said("Ay", "2"))
    assert await early(store) == set()
    assert await thread(store) == [("Hola!", True, False), ("Ay", False, True)]


async def test_what_nobody_came_to_know_is_forgotten(store: Desk) -> None:
    await store.deliver(edit("1", "un secreto"))
    store.clock.advance_to(NOON + changes.EARLY_MAX + timedelta(seconds=1))
    await store.deliver(edit("2", "otro"), after_seconds=60)
    await store.inbox.changes.settle()
    assert await early(store) == {("2", "edit", "otro")}
    assert store.changes["edit", "forgotten"] == 1


async def test_of_too_many_the_oldest_of_that_business_are_dropped(store: Desk) -> None:
    over = 3
    await store.rows(
        "INSERT INTO early_change SELECT $1, 'line', 'w' || n, 'edit', 'customer', '', $2,"
        " $2::timestamptz + n * interval '1 millisecond' FROM generate_series(1, $3::int) AS n",
        *(BUSINESS, NOON, changes.EARLY_ROWS_MAX + over),
    )
    await store.rows("INSERT INTO business VALUES ('bakery')")
    await store.rows(
        "INSERT INTO early_change VALUES ('bakery', 'oven', 'w', 'edit', 'customer', '', $1, $1)",
        NOON,
    )
    await store.inbox.changes.settle()
    left = {target for target, _, _ in await early(store)}
    assert left == {"w", *(f"w{n}" for n in range(over + 1, changes.EARLY_ROWS_MAX + over + 1))}
    assert store.changes["edit", "dropped"] == over


async def test_an_edit_goes_with_its_message_when_a_merge_is_undone(store: Desk) -> None:
    survivor, loser = await two(store, 1, (idle, idle))
    done = await link(store, survivor.address, loser.address)
    await store.deliver(edit("A1 1", "A anew", 3600), edit("B1 1", "B anew", 3600))
    await part(store, done.merge_id)
    for life, text in ((survivor, "A anew"), (loser, "B anew")):
        rows = await store.rows(
            "SELECT body, fate FROM message WHERE kind = 'edit' AND conversation_id = $1",
            (await life.key()).conversation_id,
        )
        assert [tuple(row) for row in rows] == [(text, "context")]
    assert all(balance.sound for balance in await audit(store.urls.owner_url))


MOVE = """
UPDATE message SET conversation_id = {there} WHERE conversation_id = {here};
UPDATE untold SET conversation_id = {there} WHERE conversation_id = {here};
UPDATE address SET conversation_id = {there} WHERE conversation_id = {here};
DELETE FROM conversation WHERE id = {here}
"""


async def test_what_moves_while_a_change_waits_for_it_is_changed_where_it_is(
    store: Desk,
) -> None:
    await store.deliver(said("Hola", "1"))
    await store.deliver(said("Buenas", "2", addresses=phone(7)))
    one, other = await store.rows("SELECT id FROM conversation ORDER BY id")
    mover = await asyncpg.connect(store.urls.owner_url)
    moving = mover.transaction()
    await moving.start()
    await mover.execute("SELECT FROM conversation FOR NO KEY UPDATE")

    async def move() -> None:
        while not await store.value(WAITS):
            continue
        await mover.execute(MOVE.format(here=one["id"], there=other["id"]))
        await moving.commit()
        await mover.close()

    await asyncio.gather(store.deliver(edit("1", "Hola!")), move())
    assert await early(store) == {("1", "edit", "Hola!")}
    await store.inbox.changes.settle()
    assert await thread(store) == [("Hola!", True, False), ("Buenas", False, False)]
    assert await store.version() == 1
    assert store.woken[-1].conversation_id == other["id"]


async def test_changes_merges_and_statuses_at_once_lock_nobody_out(
    database: DatabaseUrls,
) -> None:
    async with desk(database) as one, desk(database) as other:
        addresses = [phone(number)[0] for number in range(CUSTOMERS)]
        for number, address in enumerate(addresses):
            await one.deliver(said(f"Hola {number}", f"w{number}", addresses=(address,)))
        told: list[Change] = [edit(f"w{n}", f"Hola, {n}") for n in range(CUSTOMERS)]
        await asyncio.gather(
            *(one.deliver(change) for change in told),
            *(other.deliver(change, change) for change in reversed(told)),
            *(other.deliver(StatusUpdate((f"w{n}",), "read")) for n in range(CUSTOMERS)),
            *(one.deliver(revocation(f"w{n}")) for n in range(0, CUSTOMERS, 3)),
            *(link(other, *pair) for pair in pairwise(addresses)),
            *(store.inbox.changes.settle() for store in (one, other) for _ in range(3)),
        )
        await one.inbox.changes.settle()
        assert await early(one) == set()
        rows = await thread(one)
        # A revocation is final, so an edit may have come too late; what came first counts.
        assert [body for body, _, revoked in rows if not revoked] == [
            f"Hola, {n}" for n in range(CUSTOMERS) if n % 3
        ]
        assert sum(revoked for _, _, revoked in rows) == CUSTOMERS // 3
    assert await deadlocks(database) == 0
