"""Everything that writes to the same customers at the same time, in two processes."""

import asyncio
import random
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from relevo.errors import StoreUnavailableError
from relevo.messages import Author, ConversationKey, Edit, StatusUpdate
from relevo.outgoing import Draft
from relevo.store import chats, holding, outgoing
from relevo.store.embedded import DatabaseUrls
from relevo.store.forgetting import forget
from relevo.store.inspection import audit
from relevo.store.merging import Reason
from relevo.store.retention import outlive
from relevo.store.schedule import Schedule
from relevo.writes import Writes
from tests.crm_rows import backfilled, put_aside, row
from tests.merging_rig import link, part
from tests.store_rig import BUSINESS, NOON, Desk, bsuid, desk, phone, said

pytestmark = pytest.mark.postgres

PEOPLE = 6
ROUNDS = 6
LATE_AFTER = {BUSINESS: timedelta(days=1)}

ORPHANS = {
    "untold": "SELECT FROM untold AS u WHERE NOT EXISTS (SELECT FROM message AS m"
    " WHERE m.id = u.message_id AND m.conversation_id = u.conversation_id)",
    "edits": "SELECT FROM message AS e JOIN message AS m ON m.id = e.edits"
    " WHERE m.conversation_id <> e.conversation_id",
    "keys": "SELECT FROM message_key AS k LEFT JOIN message AS m ON m.id = k.message_id"
    " WHERE m.id IS NULL",
    "sends": "SELECT FROM outgoing AS o LEFT JOIN message AS m ON m.id = o.message_id"
    " WHERE o.state = 'queued' AND m.conversation_id IS DISTINCT FROM o.conversation_id",
    "merges": "SELECT FROM merge AS m WHERE m.undone_at IS NULL AND NOT EXISTS (SELECT FROM"
    " conversation AS c WHERE c.id = m.survivor_id) AND NOT EXISTS (SELECT FROM merge AS n"
    " WHERE n.loser_id = m.survivor_id AND n.undone_at IS NULL)",
    "edits that nobody made": "SELECT FROM message WHERE body LIKE 'a %' AND edited_at IS NULL",
    "letters": "SELECT FROM dead_letter AS d JOIN turn AS t ON t.id = d.turn_id"
    " WHERE t.conversation_id <> d.conversation_id",
}


async def test_whatever_is_done_at_once_is_done_or_not_and_leaves_nothing_behind(
    database: DatabaseUrls,
) -> None:
    chance = random.Random(7)  # the order of deeds, not what they are
    async with desk(database) as one, desk(database) as other:
        await put_aside(
            one.pools,
            [
                row(f"antes {n} {i}", i, to_number=phone(n)[0].value, lead_id=f"L-{n}")
                for n in range(PEOPLE)
                for i in range(3)
            ],
        )
        for number in range(ROUNDS):
            deeds = [deed for n in range(PEOPLE) for deed in deeds_of(one, other, number, n)]
            deeds += [backfilled(one.pools, one.clock), one.inbox.changes.settle()]
            deeds += [other.merger.settle(), other.statuses.settle()]
            deeds += [committed(other), committed(one)]
            schedule = Schedule(other.means, LATE_AFTER, other.woken.append)
            deeds += [schedule.look(), outlive(other.pools, BUSINESS, NOON, NOON)]
            chance.shuffle(deeds)
            results = await asyncio.gather(*deeds, return_exceptions=True)
            failed = [r for r in results if isinstance(r, BaseException)]
            assert not [r for r in failed if not isinstance(r, StoreUnavailableError)]
        await one.inbox.changes.settle()
        for name, orphans in ORPHANS.items():
            assert await one.rows(orphans) == [], name
        assert await one.value("SELECT count(undone_at) FROM merge"), "nobody was parted"
        [balance] = await audit(database.owner_url)
        assert balance.sound
        for (conversation_id,) in await one.rows("SELECT id FROM conversation"):
            key = ConversationKey(BUSINESS, conversation_id)
            await forget(one.pools, key, "SV", one.clock)
        for table in ("message", "message_key", "untold", "outgoing", "merge", "link", "address"):
            assert await one.rows(f"SELECT FROM {table}") == [], table


def deeds_of(one: Desk, other: Desk, number: int, n: int) -> list[Awaitable[Any]]:
    """Return what is done in a round to one customer, who has two addresses."""
    ids = (phone(n)[0], bsuid(f"US.{n}"))
    name = f"{n} {number}"
    deeds: list[Awaitable[Any]] = [
        one.deliver(said(f"a {name}", addresses=(ids[0],), after_seconds=number)),
        other.deliver(said(f"b {name}", addresses=(ids[1],), after_seconds=number)),
        other.deliver(said(f"c {name}", addresses=(ids[0],), author=Author.AGENT)),
        one.deliver(Edit(f"a {name}", Author.CUSTOMER, "otra", NOON + timedelta(seconds=60))),
        other.deliver(StatusUpdate((f"c {name}",), "read")),
        link(one, *ids, Reason.PERSON),
        to_all(other, number + n),
    ]
    if number % 2:
        deeds.append(undone(other))
    if number % 3 == n % 3:
        deeds.append(erased(one, ids[n % 2].value))
    return deeds


async def to_all(store: Desk, salt: int) -> None:
    """Do to some conversation what people and programs do."""
    rows = await store.rows("SELECT id FROM conversation ORDER BY id")
    for (conversation_id,) in rows[salt % 3 :: 3]:
        key = ConversationKey(BUSINESS, conversation_id)
        await holding.hold(store.pools, key, NOON)
        async with store.pools.tenant(BUSINESS) as connection:
            await chats.tag(connection, key, [f"t{salt}"])
            draft = Draft("Luego", Author.AUTOMATION, due_at=None if salt % 2 else NOON)
            await outgoing.ask(connection, key, draft, NOON)


async def undone(store: Desk) -> None:
    rows = await store.rows("SELECT id FROM merge WHERE undone_at IS NULL ORDER BY id DESC")
    for (merge_id,) in rows[:2]:
        await part(store, merge_id)


async def erased(store: Desk, value: str) -> None:
    for (conversation_id,) in await store.rows(
        "SELECT conversation_id FROM address WHERE value = $1", value
    ):
        await forget(store.pools, ConversationKey(BUSINESS, conversation_id), "SV", store.clock)


async def committed(store: Desk) -> None:
    """Commit a step of everybody, as turns do: many join one transaction."""
    rows = await store.rows("SELECT id FROM conversation ORDER BY id DESC")
    found = await store.journal.load([ConversationKey(BUSINESS, row["id"]) for row in rows])
    steps = [store.journal.commit(Writes(each.conversation)) for each in found.values()]
    await asyncio.gather(*steps)
