"""Ingest: a status that comes before its message waits for it, and is applied when it is known."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey, StatusUpdate, correlation_key
from relevo.store import statuses
from relevo.store.embedded import DatabaseUrls
from relevo.store.means import Means
from relevo.turns import PARTS_TERMINAL, Part, PartState
from tests.fakes.clock import settle
from tests.journal_rows import loaded, replying, written
from tests.store_rig import BUSINESS, Desk, PostgresStores, deadlocks, desk, phone, said

pytestmark = pytest.mark.postgres

CUSTOMERS = 20


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def sending(store: Desk, state: PartState, number: int = 1) -> tuple[ConversationKey, Part]:
    """Have a reply to the n-th customer whose only part stands like this."""
    stores = PostgresStores(store)
    [address] = phone(number)
    key = await stores.deliver(address.value, said(f"Hola {number}"))
    (message,) = (await loaded(stores, key)).untold
    turn, (part,) = await replying(stores, key, message.id)
    await written(stores, key, turn=turn, parts=(replace(part, state=state),))
    store.woken.clear()
    return key, part


async def learn(store: Desk, part: Part, *names: str) -> None:
    """Have the message known under these ids too, as the answer to its send tells them."""
    for name in names:
        await store.rows(
            "INSERT INTO message_key VALUES ($1, 'line', $2, $3)", BUSINESS, name, part.message_id
        )


async def waiting(store: Desk) -> list[tuple[str, str]]:
    rows = await store.rows("SELECT key, status FROM early_status ORDER BY key, status")
    return [(row["key"], row["status"]) for row in rows]


async def standing(store: Desk, part: Part) -> tuple[str, int]:
    """Return the message's status, and the version of its conversation."""
    [row] = await store.rows(
        "SELECT m.status, c.version FROM message AS m JOIN conversation AS c"
        " ON c.id = m.conversation_id WHERE m.id = $1",
        part.message_id,
    )
    return row["status"], row["version"]


@pytest.mark.parametrize("state", list(PartState))
@pytest.mark.parametrize("status", ["sent", "delivered", "read", "failed"])
async def test_a_status_waits_until_its_id_is_known(
    store: Desk, state: PartState, status: str
) -> None:
    key, part = await sending(store, state)
    _, version = await standing(store, part)
    await store.deliver(StatusUpdate(("wamid.1", "6a01"), status))
    await store.statuses.settle()
    assert await waiting(store) == [("6a01", status), ("wamid.1", status)]
    assert await standing(store, part) == ("", version)

    await learn(store, part, "6a01")
    await store.statuses.settle()
    heard = status != "failed" and state not in PARTS_TERMINAL
    assert await standing(store, part) == (status, version + heard)
    assert store.woken == [key] * heard
    assert await waiting(store) == [("wamid.1", status)]
    assert store.early == {"settled": 1}


async def test_of_several_statuses_that_waited_the_highest_stays(store: Desk) -> None:
    key, part = await sending(store, PartState.UNKNOWN)
    for status in ("read", "sent", "delivered"):
        await store.deliver(StatusUpdate(("wamid.1",), status))
    await learn(store, part, "wamid.1")
    await store.statuses.settle()
    assert (await standing(store, part))[0] == "read"
    assert store.woken == [key]
    assert await waiting(store) == []


async def test_a_status_that_waited_moves_nothing_backwards(store: Desk) -> None:
    _, part = await sending(store, PartState.UNKNOWN)
    await store.deliver(StatusUpdate(("wamid.1",), "sent"))
    await learn(store, part, "wamid.1")
    await store.deliver(StatusUpdate(("wamid.1",), "read"))
    await store.statuses.settle()
    assert (await standing(store, part))[0] == "read"


async def test_what_names_a_known_id_too_does_not_wait(store: Desk) -> None:
    _, part = await sending(store, PartState.SENDING)
    ours = correlation_key(part.correlation_id)
    await store.deliver(StatusUpdate(("wamid.1", "6a01", ours), "delivered"))
    assert (await standing(store, part))[0] == "delivered"
    assert await waiting(store) == []


async def test_an_id_of_our_own_making_that_nobody_knows_is_not_ours(store: Desk) -> None:
    await store.deliver(StatusUpdate((correlation_key("somebody-else-s"),), "read"))
    assert await waiting(store) == []


async def test_the_same_status_told_twice_waits_once(store: Desk) -> None:
    twice = StatusUpdate(("wamid.1",), "read")
    await asyncio.gather(*(store.deliver(twice, twice) for _ in range(5)))
    assert await waiting(store) == [("wamid.1", "read")]


async def test_ids_are_a_channel_s_own(store: Desk) -> None:
    _, part = await sending(store, PartState.UNKNOWN)
    await store.deliver(StatusUpdate(("wamid.1",), "read"), line="line-2")
    await learn(store, part, "wamid.1")
    await store.statuses.settle()
    assert (await standing(store, part))[0] == ""
    assert await waiting(store) == [("wamid.1", "read")]


async def test_what_nobody_came_to_know_is_forgotten(store: Desk) -> None:
    await store.deliver(StatusUpdate(("wamid.1",), "read"))
    store.clock.advance_to(store.clock.now() + statuses.EARLY_MAX)
    await store.deliver(StatusUpdate(("wamid.2",), "read"))
    await store.statuses.settle()
    assert [key for key, _ in await waiting(store)] == ["wamid.1", "wamid.2"]
    store.clock.advance_to(store.clock.now() + timedelta(seconds=1))
    await store.statuses.settle()
    assert [key for key, _ in await waiting(store)] == ["wamid.2"]
    assert store.early == {"forgotten": 1}


async def test_of_too_many_the_oldest_of_that_business_are_dropped(store: Desk) -> None:
    over, others = 7, 3
    await store.rows(
        "INSERT INTO early_status SELECT $1, 'line', 'w' || n, 'read',"
        " $2::timestamptz + n * interval '1 millisecond' FROM generate_series(1, $3::int) AS n",
        *(BUSINESS, store.clock.now(), statuses.EARLY_ROWS_MAX + over),
    )
    await store.rows("INSERT INTO business VALUES ('bakery')")
    await store.rows(
        "INSERT INTO early_status SELECT 'bakery', 'oven', 'w' || n, 'read', $1"
        " FROM generate_series(1, $2::int) AS n",
        *(store.clock.now(), others),
    )
    await store.statuses.settle()
    left = [key for key, _ in await waiting(store)]
    assert len(left) == statuses.EARLY_ROWS_MAX + others
    assert {f"w{n}" for n in range(others + 1, over + 1)}.isdisjoint(left)
    assert store.early == {"dropped": over}


class Unlucky(statuses.Statuses):
    """Fails in these ways, one after the other."""

    def __init__(self, store: Desk, *failures: Exception) -> None:
        means = Means(store.pools, store.tasks, store.clock, store)
        super().__init__(means, store.woken.append)
        self.failures = deque(failures)
        self.settled = 0

    async def settle(self) -> None:
        self.settled += 1
        if self.failures:
            raise self.failures.popleft()
        await super().settle()


async def test_neither_an_absent_store_nor_a_bug_ends_the_settling(store: Desk) -> None:
    bug = RuntimeError("a bug")
    unlucky = Unlucky(store, StoreUnavailableError("away"), bug)
    store.tasks.spawn(unlucky.settle_for_ever(2), "settle-statuses")
    while unlucky.settled < 3:
        store.clock.advance_to(store.clock.now() + timedelta(seconds=2))
        await settle()
    assert store.failures == [bug]
    store.failures.clear()


async def test_settling_commits_echoes_and_statuses_at_once_lock_nobody_out(
    database: DatabaseUrls,
) -> None:
    async with desk(database) as one, desk(database) as two:
        parts = [
            (await sending(one, PartState.SENDING, number))[1] for number in range(1, CUSTOMERS + 1)
        ]
        names = [f"wamid.{number}" for number in range(CUSTOMERS)]
        for name in names:
            await one.deliver(StatusUpdate((name,), "delivered"))
        for part, name in zip(parts, names, strict=True):
            await learn(one, part, name)
        ours = [correlation_key(part.correlation_id) for part in parts]
        await asyncio.gather(
            *(desk.statuses.settle() for desk in (one, two) for _ in range(5)),
            *(one.deliver(StatusUpdate((name,), "sent")) for name in reversed(names)),
            *(two.deliver(StatusUpdate((key,), "sent")) for key in ours),
            *(two.deliver(StatusUpdate((f"x{n}",), "sent")) for n in range(CUSTOMERS)),
        )
        await one.statuses.settle()
        found = [(await standing(one, part))[0] for part in parts]
        assert found == ["delivered"] * CUSTOMERS
        left = [key for key, _ in await waiting(one)]
        assert sorted(left) == sorted(f"x{n}" for n in range(CUSTOMERS))
    assert await deadlocks(database) == 0
