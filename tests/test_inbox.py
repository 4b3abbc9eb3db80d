"""Ingest: one message one row, one person one conversation, nothing accepted is lost."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from relevo.messages import Address, Author, InboundMessage, Receipt, StatusUpdate
from relevo.store.embedded import DatabaseUrls
from relevo.store.inbox import WAITING_BYTES_MAX, WAITING_MAX
from relevo.store.inspection import audit
from tests.fakes.clock import until
from tests.store_rig import BUSINESS, NOON, PHONE, Desk, bsuid, deadlocks, desk, phone, said

pytestmark = pytest.mark.postgres

BATCHES = 60
CUSTOMERS = 25
MESSAGES = 240
MIB = 1024 * 1024


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def test_a_redelivery_under_any_of_its_ids_is_no_new_message(store: Desk) -> None:
    await store.deliver(said("Hola", "wamid.1", "a1"))
    for keys in (("wamid.1",), ("a1",), ("a1", "local:1"), ("local:1",)):
        receipt = await store.deliver(said("Hola", *keys))
        assert (receipt.stored, receipt.duplicates) == ([], 1)
    assert await store.value("SELECT count(*) FROM message") == 1
    assert await keys_of(store) == {"wamid.1", "a1", "local:1"}
    assert len(store.woken) == 1


async def test_twins_in_one_batch_are_one_message_under_all_their_ids(store: Desk) -> None:
    receipts = await asyncio.gather(
        store.deliver(said("Hola", "wamid.1", "a1")),
        store.deliver(said("Hola", "wamid.1", "b1")),
        store.deliver(said("Hola", "b1")),
    )
    assert [len(r.stored) for r in receipts] == [1, 0, 0]
    assert [r.duplicates for r in receipts] == [0, 1, 1]
    assert await store.value("SELECT count(*) FROM message") == 1
    assert await keys_of(store) == {"wamid.1", "a1", "b1"}


async def test_one_body_may_carry_twins_and_different_messages(store: Desk) -> None:
    receipt = await store.deliver(said("Hola", "1"), said("Hola", "1"), said("Busco mesa", "2"))
    assert [m.body for m in receipt.stored] == ["Hola", "Busco mesa"]
    assert receipt.duplicates == 1


async def test_an_event_in_three_versions_is_one_message(store: Desk) -> None:
    both = (Address("phone", PHONE), bsuid("US.1"))
    await store.deliver(said("Hola", "wamid.1", "a1", addresses=both))
    await store.deliver(said("Hola", "wamid.1", "a1", addresses=both[:1]))
    await store.deliver(said("Hola", "wamid.1", "a1", addresses=both[1:]))
    assert await store.value("SELECT count(*) FROM message") == 1
    assert await store.value("SELECT count(*) FROM conversation") == 1


async def test_an_id_means_something_only_on_its_own_line(store: Desk) -> None:
    await store.rows("INSERT INTO channel VALUES ('hotel', 'other-line', 'wati')")
    await store.deliver(said("Hola", "1"))
    await store.rows("UPDATE message_key SET channel_id = 'other-line'")
    assert len((await store.deliver(said("Hola", "1"))).stored) == 1


async def test_a_reaction_is_kept_and_wants_no_answer(store: Desk) -> None:
    await store.deliver(said("👍", kind="reaction"))
    assert await store.value("SELECT fate FROM message") == "context"
    assert await store.value("SELECT count(*) FROM untold") == 0
    assert await sound(store)


@pytest.mark.parametrize(
    ("author", "raises", "waits"),
    [
        (Author.CUSTOMER, 0, ["unread"]),
        (Author.AGENT, 1, ["context"]),
        (Author.UNKNOWN, 1, ["context"]),
        (Author.AUTOMATION, 0, ["context"]),
        (Author.ASSISTANT, 0, ["context"]),
    ],
)
async def test_what_can_forbid_a_reply_raises_the_version(
    store: Desk, author: Author, raises: int, waits: list[str]
) -> None:
    await store.deliver(said("Hola"))
    before = await store.version()
    await store.deliver(said("Buenas", author=author))
    await store.deliver(said("Buenas", author=author))
    assert await store.version() == before + raises
    found = await store.rows(
        "SELECT state FROM untold JOIN message ON id = message_id WHERE body = 'Buenas'"
    )
    assert [row["state"] for row in found] == waits


async def test_a_providers_clock_may_run_ahead_by_a_minute_and_no_more(store: Desk) -> None:
    for name, ahead in (("behind", -9000), ("ahead", 59), ("far", 61), ("none", None)):
        await store.deliver(said(name, after_seconds=ahead))
    rows = await store.rows("SELECT body, event_at FROM message")
    assert {row["body"]: (row["event_at"] - NOON).total_seconds() for row in rows} == {
        "behind": -9000,
        "ahead": 59,
        "far": 60,
        "none": 0,
    }


async def test_statuses_only_go_up_and_come_under_any_id(store: Desk) -> None:
    await store.deliver(said("Hola", "wamid.1", "a1", author=Author.ASSISTANT))
    seen = []
    for key, status in (
        ("a1", "delivered"),
        ("wamid.1", "sent"),
        ("wamid.1", "read"),
        ("a1", "delivered"),
        ("nobody", "failed"),
        ("a1", "failed"),
        ("a1", "read"),
    ):
        await store.deliver(StatusUpdate((key,), status))
        seen.append(await store.value("SELECT status FROM message"))
    assert seen == ["delivered", "delivered", "read", "read", "read", "failed", "failed"]
    assert await store.version() == 0


async def test_statuses_of_one_batch_count_as_their_highest(store: Desk) -> None:
    await store.deliver(said("Hola", "wamid.1", "a1", author=Author.ASSISTANT))
    await asyncio.gather(
        store.deliver(StatusUpdate(("a1",), "read"), StatusUpdate(("a1",), "sent")),
        store.deliver(StatusUpdate(("wamid.1", "a1"), "delivered")),
    )
    assert await store.value("SELECT status FROM message") == "read"


@pytest.mark.parametrize("told", [False, True])
async def test_a_row_of_the_history_is_revived_by_its_webhook_unless_told(
    store: Desk,
    told: bool,  # noqa: FBT001  (parametrised)
) -> None:
    await store.deliver(said("Antes", author=Author.AUTOMATION))
    await store.know_from_history(1000, "wamid.9", told=told)
    receipt = await store.deliver(said("Hola", "wamid.9", "a9"), after_seconds=30)
    row = (await store.rows("SELECT source, fate FROM message WHERE id = 1000"))[0]
    unread = await store.rows("SELECT received_at FROM untold WHERE state = 'unread'")
    if told:
        assert (receipt.duplicates, tuple(row), unread) == (1, ("history", "context"), [])
    else:
        assert [m.body for m in receipt.stored] == ["Hola"]
        assert tuple(row) == ("webhook", "in_flight")
        assert [r["received_at"] for r in unread] == [NOON + timedelta(seconds=30)]
    assert await store.value("SELECT count(*) FROM message") == 2
    assert len(store.woken) == (1 if told else 2)
    assert await sound(store)
    again = await store.deliver(said("Hola", "wamid.9"))
    assert (again.stored, again.duplicates) == ([], 1)


async def test_a_stored_message_is_looked_at_also_when_its_batch_fails_after_it(
    store: Desk,
) -> None:
    refused = StatusUpdate(("a\0",), "read")
    receipts = await asyncio.gather(store.deliver(said("Hola")), store.deliver(refused))
    assert [r.quarantined for r in receipts] == [[], ["refused_by_store"]]
    assert len(store.woken) == 1


@pytest.mark.parametrize(
    ("count", "body"),
    [
        pytest.param(WAITING_MAX, b"", id="many"),
        pytest.param(WAITING_BYTES_MAX // MIB, b" " * MIB, id="large"),
    ],
)
async def test_so_much_may_wait_and_no_more(store: Desk, count: int, body: bytes) -> None:
    waiting = asyncio.gather(*(store.deliver(body=body) for _ in range(count)))
    assert not store.inbox.full_for(BUSINESS)
    await until(lambda: store.inbox.full_for(BUSINESS))
    await waiting
    assert not store.inbox.full_for(BUSINESS)


async def test_twenty_first_contacts_delivered_four_times_are_one_conversation(
    database: DatabaseUrls,
) -> None:
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(desk(database)) for _ in range(2)]
        receipts = await asyncio.gather(
            *(
                processes[(n + time) % 2].deliver(said(f"mensaje {n}"))
                for n in range(20)
                for time in range(4)
            )
        )
        store = processes[0]
        assert sum(len(r.stored) for r in receipts) == 20
        assert sum(r.duplicates for r in receipts) == 60
        assert await store.people() == [{f"mensaje {n}" for n in range(20)}]
        assert await sound(store)


async def test_many_processes_lose_double_and_split_nothing(database: DatabaseUrls) -> None:
    chance = random.Random(20260302)
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(desk(database)) for _ in range(3)]
        deliveries = [n for n in range(MESSAGES) for _ in range(chance.choice((1, 2, 3)))]
        chance.shuffle(deliveries)
        batches = [deliveries[start::BATCHES] for start in range(BATCHES)]
        receipts = await asyncio.gather(
            *(
                processes[number % 3].deliver(*(message(n, chance) for n in batch))
                for number, batch in enumerate(batches)
            )
        )
        await expect_everything_once(processes[0], receipts, len(deliveries))
    assert await deadlocks(database) == 0


def message(number: int, chance: random.Random) -> InboundMessage:
    """Return the n-th message as one of its deliveries: some of its ids, some of its addresses."""
    customer = number % CUSTOMERS
    addresses = (*phone(customer), bsuid(f"US.{customer}"))
    if chance.random() < 0.5:
        addresses = addresses[:1]
    ids = [f"wamid.{number}", f"a{number}"]
    keys = ids if chance.random() < 0.7 else ids[:1]
    author = Author.AGENT if number % 7 == 0 else Author.CUSTOMER
    return said(f"mensaje {number}", *keys, addresses=addresses, author=author)


async def expect_everything_once(
    store: Desk, receipts: list[Receipt], delivered_count: int
) -> None:
    stored = [m.body for receipt in receipts for m in receipt.stored]
    assert sorted(stored) == sorted(f"mensaje {n}" for n in range(MESSAGES))
    assert sum(r.duplicates for r in receipts) == delivered_count - MESSAGES
    assert sorted(map(sorted, await store.people())) == sorted(
        sorted(f"mensaje {n}" for n in range(customer, MESSAGES, CUSTOMERS))
        for customer in range(CUSTOMERS)
    )
    missed = "SELECT count(*) FROM conversation WHERE version = 0 AND id IN (SELECT"
    assert await store.value(f"{missed} conversation_id FROM message WHERE author = 'agent')") == 0
    [balance] = await audit(store.urls.owner_url)
    assert balance.sound
    assert balance.accepted == MESSAGES - len(range(0, MESSAGES, 7))


async def keys_of(store: Desk) -> set[str]:
    return {row["key"] for row in await store.rows("SELECT key FROM message_key")}


async def sound(store: Desk) -> bool:
    return all(b.sound for b in await audit(store.urls.owner_url) if b.business_id == BUSINESS)
