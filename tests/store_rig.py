"""The store without the rest of the product: what one process has of it, on a real database."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import asyncpg

from relevo.actors.ports import Journal
from relevo.messages import (
    Address,
    Arrival,
    Author,
    Change,
    ConversationKey,
    Delivery,
    Fate,
    InboundMessage,
    Receipt,
)
from relevo.store.embedded import DatabaseUrls
from relevo.store.inbox import Inbox
from relevo.store.incarnation import Incarnation
from relevo.store.journal import PostgresJournal
from relevo.store.means import Means
from relevo.store.merger import Merger
from relevo.store.placing import Placer
from relevo.store.pools import Pools, enter, open_pools
from relevo.store.statuses import Statuses
from relevo.tasks import Tasks
from relevo.turns import Turn
from tests.fakes.clock import ManualClock

T = TypeVar("T")

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PHONE = "+50370000001"
BUSINESS = "hotel"
LINE = "line"
REGIONS = {BUSINESS: "SV", "bakery": "SV"}


class Desk:
    """One process's end of the store: its connections, its inbox, its journal."""

    def __init__(
        self,
        urls: DatabaseUrls,
        pools: Pools,
        clock: ManualClock,
        portfolios: Mapping[str, str],
    ) -> None:
        self.urls = urls
        self.pools = pools
        self.clock = clock
        self.failures: list[BaseException] = []
        self.tasks = Tasks(self.failures.append)
        self.incarnation = Incarnation(urls.url, self.tasks, clock)
        self.woken: list[ConversationKey] = []
        self.on_wake: Callable[[ConversationKey], None] = self.woken.append
        self.operations: list[tuple[str, int]] = []
        self.early: dict[str, int] = {}
        self.changes: dict[tuple[str, str], int] = {}
        self.resolved: Counter[str] = Counter()
        self.merges_at_once = False
        self.ended: list[Turn] = []
        means = self.means = Means(pools, self.tasks, clock, self)
        self.inbox = Inbox(
            means,
            placer=Placer(REGIONS, portfolios),
            writer=self.incarnation.number,
            wake=self._wake,
            torn=self._torn,
        )
        self.merger = Merger(means, REGIONS, self.incarnation.number, self._wake, self)
        self.statuses = Statuses(means, self._wake, self._gone)
        self.journal = PostgresJournal(means, self.incarnation.number)

    def changed(self, kind: str, outcome: str, changes: int) -> None:
        """Be the store's probe."""
        self.changes[kind, outcome] = self.changes.get((kind, outcome), 0) + changes

    def store_operation(self, operation: str, seconds: float, rows: int) -> None:
        """Be the store's probe."""
        assert seconds >= 0
        self.operations.append((operation, rows))

    def identity_resolved(self, outcome: str, count: int) -> None:
        """Be the store's probe."""
        self.resolved[outcome] += count

    def link_fulfilled(self, outcome: str) -> None:
        """Be the merger's probe."""
        self.resolved[outcome] += 1

    def turn_ended(self, business_id: str, conversation_id: int, turn: Turn) -> None:
        """Be the merger's probe."""
        assert (business_id, conversation_id > 0) == (BUSINESS, True)
        self.ended.append(turn)

    def _wake(self, key: ConversationKey) -> None:
        self.on_wake(key)

    def _torn(self) -> None:
        self.resolved["torn"] += 1
        if self.merges_at_once:
            self.merger.soon()

    def _gone(self, outcome: str, rows: int) -> None:
        self.early[outcome] = self.early.get(outcome, 0) + rows

    async def deliver(
        self,
        *arrivals: Arrival,
        body: bytes = b"{}",
        after_seconds: float = 0,
        line: str = LINE,
    ) -> Receipt:
        """Deliver one webhook of the hotel, received so long after noon."""
        received_at = NOON + timedelta(seconds=after_seconds)
        return await self.inbox.deliver(Delivery(BUSINESS, line, arrivals, body, received_at))

    async def rows(self, statement: str, *arguments: Any) -> list[Any]:
        """Ask the database as its owner."""
        return await owner_rows(self.urls, statement, *arguments)

    async def value(self, statement: str, *arguments: Any) -> Any:
        """Return the one value of the one row."""
        [row] = await self.rows(statement, *arguments)
        return row[0]

    async def waiting(self) -> int:
        """Return how many wait for somebody else's locks, in this database."""
        return int(
            await self.value(
                "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid IN"
                " (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"
            )
        )

    async def version(self) -> int:
        """Return the version of the only conversation."""
        return int(await self.value("SELECT version FROM conversation"))

    async def people(self) -> list[set[str]]:
        """Return what was said in each conversation."""
        rows = await self.rows(
            "SELECT array_agg(m.body) AS said FROM conversation AS c LEFT JOIN message AS m"
            " ON m.conversation_id = c.id GROUP BY c.id"
        )
        return [set(row["said"]) for row in rows]

    async def know_from_history(self, message_id: int, key: str, *, told: bool) -> None:
        """Have a customer's message in the first conversation that only the history brought."""
        await self.rows(
            "INSERT INTO message (business_id, id, conversation_id, channel_id, address_kind,"
            " address_value, author, kind, body, source, event_at, received_at, fate)"
            " SELECT $1, $2, min(id), $3, 'phone', $4, 'customer', 'text', 'Hola', 'history', $5,"
            " $5, 'context' FROM conversation",
            *(BUSINESS, message_id, LINE, PHONE, NOON),
        )
        await self.rows(
            "INSERT INTO message_key VALUES ($1, $2, $3, $4)", BUSINESS, LINE, key, message_id
        )
        if not told:
            await self.rows(
                "INSERT INTO untold SELECT $1, min(id), $2, 'context', $3 FROM conversation",
                *(BUSINESS, message_id, NOON),
            )


class PostgresStores:
    """A desk as the stories of a journal take it."""

    def __init__(self, store: Desk) -> None:
        self._store = store
        self.journal: Journal = store.journal
        self.line = LINE
        self.now: datetime = NOON

    async def deliver(self, phone: str, message: InboundMessage) -> ConversationKey:
        told = replace(message, addresses=(Address("phone", phone),))
        await self._store.inbox.deliver(Delivery(BUSINESS, LINE, (told,), b"{}", self.now))
        found = await self._store.value(
            "SELECT conversation_id FROM address WHERE kind = 'phone' AND value = $1", phone
        )
        return ConversationKey(BUSINESS, found)

    async def change(self, change: Change) -> None:
        await self._store.inbox.deliver(Delivery(BUSINESS, LINE, (change,), b"{}", self.now))

    async def fates(self) -> dict[int, Fate]:
        rows = await self._store.rows(
            "SELECT id, fate FROM message WHERE author = 'customer' AND source = 'webhook'"
        )
        return {row["id"]: Fate(row["fate"]) for row in rows}

    async def open_dead_letters(self) -> set[int]:
        rows = await self._store.rows("SELECT turn_id FROM dead_letter WHERE closed_at IS NULL")
        return {row["turn_id"] for row in rows}


async def within(
    pools: Pools, deed: Callable[..., Awaitable[T]], business_id: str, *arguments: Any
) -> T:
    """Do something of the store's in a transaction of a business."""
    async with pools.tenant(business_id) as connection:
        return await deed(connection, business_id, *arguments)


@asynccontextmanager
async def desk(
    urls: DatabaseUrls,
    clock: ManualClock | None = None,
    portfolios: Mapping[str, str] | None = None,
) -> AsyncIterator[Desk]:
    """Open the store as a process does that serves the hotel."""
    pools = await open_pools(urls.url)
    await enter(pools, BUSINESS, {LINE: "wati"})
    opened = Desk(urls, pools, clock or ManualClock(NOON), portfolios or {})
    await opened.incarnation.take()
    try:
        yield opened
    finally:
        await opened.tasks.cancel()
        await opened.incarnation.release()
        await pools.close()
        assert not opened.failures


async def owner_rows(urls: DatabaseUrls, statement: str, *arguments: Any) -> list[Any]:
    """Ask a database as its owner."""
    connection = await asyncpg.connect(urls.owner_url)
    try:
        return await connection.fetch(statement, *arguments)
    finally:
        await connection.close()


async def deadlocks(database: DatabaseUrls) -> int:
    """Return how many there were, once every process has left: they report at the end."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    while (await owner_rows(database, f"{others} AND pid <> pg_backend_pid()"))[0][0]:
        continue
    counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int((await owner_rows(database, counted))[0][0])


def said(
    body: str,
    *keys: str,
    author: Author = Author.CUSTOMER,
    kind: str = "text",
    addresses: tuple[Address, ...] = (Address("phone", PHONE),),
    after_seconds: float | None = 0,
) -> InboundMessage:
    """Make a message as a webhook tells it, said so long after noon."""
    return InboundMessage(
        keys=keys or (body,),
        addresses=addresses,
        author=author,
        kind=kind,
        body=body,
        event_at=None if after_seconds is None else NOON + timedelta(seconds=after_seconds),
    )


def phone(number: int) -> tuple[Address, ...]:
    """Return the address of the n-th made-up customer."""
    return (Address("phone", f"+503700{number:05}"),)


def bsuid(name: str) -> Address:
    return Address("bsuid", name)
