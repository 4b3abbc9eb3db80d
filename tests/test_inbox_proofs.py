"""Ingest: an echo or a status of a send in doubt is heard by whoever doubts it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from relevo.messages import Author, ConversationKey, InboundMessage, StatusUpdate, correlation_key
from relevo.store.embedded import DatabaseUrls
from relevo.turns import PARTS_TERMINAL, Part, PartState
from relevo.writes import Absorbed, Writes
from tests.journal_rows import after, loaded, replying, written
from tests.store_rig import BUSINESS, Desk, PostgresStores, deadlocks, desk, phone, said

pytestmark = pytest.mark.postgres

CUSTOMERS = 20
RANKS = ["sent", "delivered", "read", "failed"]
COMMITS = 2
"""The reply, and then what became of its part."""


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def test_an_echo_is_heard_until_its_send_has_ended(store: Desk) -> None:
    for number, state in enumerate(PartState, start=1):
        part = await doubting(store, state, number)
        heard = state not in PARTS_TERMINAL
        for told in (echo(part),), (echo(part), echo(part)):
            receipt = await store.deliver(*told)
            assert (receipt.stored, receipt.duplicates) == ([], len(told))
            assert (await raised(store, part), len(store.woken)) == (heard, heard), state
            assert await status_of(store, part) == ("sent" if heard else "")


@pytest.mark.parametrize("status", ["sent", "delivered", "read", "failed"])
async def test_a_status_is_heard_until_its_send_has_ended(store: Desk, status: str) -> None:
    for number, state in enumerate(PartState, start=1):
        part = await doubting(store, state, number)
        heard = status != "failed" and state not in PARTS_TERMINAL
        for told in (status, "read"):
            await store.deliver(StatusUpdate((correlation_key(part.correlation_id),), told))
            assert (await raised(store, part), len(store.woken)) == (heard, heard), state
        assert await status_of(store, part) == max(status, "read", key=RANKS.index)


async def test_an_echo_that_is_heard_leaves_a_higher_status(store: Desk) -> None:
    part = await doubting(store, PartState.SENDING)
    await store.deliver(StatusUpdate((correlation_key(part.correlation_id),), "read"))
    await store.deliver(echo(part))
    assert await status_of(store, part) == "read"


async def test_a_reply_has_the_status_of_the_echo_that_was_taken_for_it(store: Desk) -> None:
    part = await doubting(store, PartState.ACCEPTED)
    stores = PostgresStores(store)
    key = await stores.deliver(phone(1)[0].value, said(part.text, "s1", author=Author.AGENT))
    await store.deliver(StatusUpdate(("s1",), "read"))
    (echoed,) = (await loaded(stores, key)).untold
    pair = Absorbed(echoed.id, part.message_id, by_webhook=True)
    await written(stores, key, absorbed=(pair,))
    assert await status_of(store, part) == "read"
    await store.deliver(StatusUpdate(("s1",), "delivered"))
    assert await status_of(store, part) == "read"


async def test_a_customer_who_uses_the_id_of_a_send_proves_nothing(store: Desk) -> None:
    part = await doubting(store, PartState.UNKNOWN)
    await store.deliver(said("Hola", correlation_key(part.correlation_id)))
    assert await status_of(store, part) == ""
    assert not store.woken


async def test_echoes_statuses_and_commits_at_once_lock_nobody_out(database: DatabaseUrls) -> None:
    async with desk(database) as one, desk(database) as two:
        parts = [
            await doubting(one, PartState.SENDING, number) for number in range(1, CUSTOMERS + 1)
        ]
        keys = [correlation_key(part.correlation_id) for part in parts]
        rows = await one.rows("SELECT id, version FROM conversation ORDER BY id DESC")
        found = await one.journal.load([ConversationKey(BUSINESS, row["id"]) for row in rows])
        commits = [
            two.journal.commit(
                Writes(found.conversation, parts=(replace(found.parts[0], started_at=after(60)),))
            )
            for found in found.values()
        ]
        await asyncio.gather(
            *(one.deliver(echo(part)) for part in parts),
            *(two.deliver(StatusUpdate((key,), "delivered")) for key in reversed(keys)),
            *commits,
        )
        statuses = await one.rows("SELECT status FROM message WHERE source = 'turn'")
        assert [row["status"] for row in statuses] == ["delivered"] * CUSTOMERS
    assert await deadlocks(database) == 0


async def doubting(store: Desk, state: PartState, number: int = 1) -> Part:
    """Have a reply to the n-th customer whose only part stands like this."""
    stores = PostgresStores(store)
    [address] = phone(number)
    key = await stores.deliver(address.value, said(f"Hola {number}"))
    store.woken.clear()
    (message,) = (await loaded(stores, key)).untold
    turn, (part,) = await replying(stores, key, message.id)
    part = replace(part, state=state, started_at=after(50))
    await written(stores, key, turn=turn, parts=(part,))
    return part


def echo(part: Part) -> InboundMessage:
    return said("eco", correlation_key(part.correlation_id), author=Author.AGENT)


async def raised(store: Desk, part: Part) -> int:
    """Return how often ingest has raised the version since."""
    version = await store.value(
        "SELECT c.version FROM conversation AS c JOIN message AS m ON m.conversation_id = c.id"
        " WHERE m.id = $1",
        part.message_id,
    )
    return int(version) - COMMITS


async def status_of(store: Desk, part: Part) -> str:
    return str(await store.value("SELECT status FROM message WHERE id = $1", part.message_id))
