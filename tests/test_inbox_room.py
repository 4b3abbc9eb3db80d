"""How much may wait for the database, and that one business cannot take all of it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from relevo.errors import StoreUnavailableError
from relevo.messages import Delivery, Receipt, Unusable
from relevo.store.embedded import DatabaseUrls
from relevo.store.inbox import BATCH_BYTES_MAX, WAITING_BYTES_MAX, WAITING_MAX
from relevo.tasks import Tasks
from tests.fakes.clock import settle
from tests.store_rig import BUSINESS, LINE, NOON, Desk, desk

pytestmark = pytest.mark.postgres

BAKERY = "bakery"
BODY = bytes(4 * 1024 * 1024)


class Queue:
    """Webhooks whose answers nobody waits for, before a database that stands still."""

    def __init__(self, store: Desk) -> None:
        self._inbox = store.inbox
        self._tasks = Tasks(lambda _error: None)
        self.answers: list[Receipt | StoreUnavailableError] = []

    @property
    def full_for(self) -> tuple[bool, bool]:
        """Whether there is no more room for the hotel, and for the bakery."""
        return self._inbox.full_for(BUSINESS), self._inbox.full_for(BAKERY)

    async def grows(self, business_id: str, count: int, body: bytes = b"{}") -> None:
        for _ in range(count):
            delivery = Delivery(business_id, LINE, (Unusable("no_id"),), body, NOON)
            self._tasks.spawn(self._deliver(delivery), "webhook")
        await settle()

    async def ends(self) -> None:
        """Everybody goes away."""
        await self._tasks.cancel()

    async def _deliver(self, delivery: Delivery) -> None:
        self.answers.append(await self._inbox.deliver(delivery))


@pytest_asyncio.fixture
async def queue(database: DatabaseUrls) -> AsyncIterator[Queue]:
    async with desk(database) as store:
        held = [
            await store.pools.ingest.acquire() for _ in range(store.pools.ingest.get_max_size())
        ]
        queue = Queue(store)
        try:
            yield queue
        finally:
            await queue.ends()
            await store.tasks.cancel()
            await asyncio.gather(*(store.pools.ingest.release(one) for one in held))


async def test_a_business_that_floods_leaves_a_quarter_of_the_room_to_the_others(
    queue: Queue,
) -> None:
    await queue.grows(BUSINESS, WAITING_MAX * 3 // 4 - 1)
    assert queue.full_for == (False, False)
    await queue.grows(BUSINESS, 1)
    assert queue.full_for == (True, False)
    await queue.grows(BAKERY, WAITING_MAX // 2)
    assert queue.full_for == (True, True)


async def test_large_bodies_take_room_as_well(queue: Queue) -> None:
    fits = WAITING_BYTES_MAX * 3 // 4 // len(BODY)
    await queue.grows(BUSINESS, fits - 1, BODY)
    assert queue.full_for == (False, False)
    await queue.grows(BUSINESS, 1, BODY)
    assert queue.full_for == (True, False)
    await queue.grows(BAKERY, (WAITING_BYTES_MAX + 3 * BATCH_BYTES_MAX) // len(BODY) - fits, BODY)
    assert queue.full_for == (True, True)
