"""Accepted means kept: what webhooks bring is committed before they are answered.

Concurrent deliveries join one round trip. Within a batch the messages are deduplicated and sorted;
first contacts get their conversation in a separate, earlier statement. A row that the database
refuses costs nobody else anything: the batch is halved until its delivery stands alone, and its
body goes to the quarantine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from relevo.messages import (
    AddressChange,
    ConversationKey,
    Delivery,
    Edit,
    NewContact,
    Receipt,
    Revocation,
    StatusUpdate,
    Unusable,
)
from relevo.store.batches import Columns, Placed, columns, mending
from relevo.store.changes import Changes
from relevo.store.failures import is_data_error
from relevo.store.groups import GroupCommit
from relevo.store.isolating import isolated
from relevo.store.means import Means
from relevo.store.meeting import meet
from relevo.store.placing import Placer
from relevo.store.pools import connected
from relevo.store.sql import statements
from relevo.store.statuses import Statuses

if TYPE_CHECKING:
    import asyncpg

    from relevo.store.pools import Connection

BATCH_MAX = 500
"""Deliveries a transaction: more gain nothing, and a refused row costs its batch more halvings."""

BATCH_BYTES_MAX = 64 * 1024 * 1024
"""Bodies of a transaction; as much again goes over the wire should all of them be unreadable."""

WAITING_MAX = 20_000
"""Deliveries that wait for the database before no more are taken: seconds of its work."""

WAITING_BYTES_MAX = 256 * 1024 * 1024
"""Bodies that wait; with the batches under way no more than 450 MB of them are held."""

BUSINESS_SHARE = 0.75
"""Of what may wait, as one business's where there are several; the rest is left to the others."""

ROUNDS_MAX = 6
"""Looks at a message: a stranger is met, may then lose a race, and is known after that."""

FLIGHTS_MAX = 3
"""Batches being written while the next one is put together; a connection each."""


@dataclass(slots=True)
class _Waiting:
    """What a business has waiting, or being written."""

    deliveries: int = 0
    bytes: int = 0


class Inbox:
    """Keeps what is delivered, and wakes whoever it concerns."""

    def __init__(
        self,
        means: Means,
        *,
        placer: Placer,
        writer: Callable[[], int],
        wake: Callable[[ConversationKey], None],
        torn: Callable[[], None] = lambda: None,
        sets_aside: bool = True,
    ) -> None:
        """Take how messages are read; only for its businesses anything is delivered.

        `torn` hears that a link was stored: two conversations may be one person's. `writer` names
        this process in the count of accepted messages. Without `sets_aside` the database's refusal
        is only told: what is replayed is in the quarantine already.
        """
        self._means = means
        self._placer = placer
        self._waiting = {business_id: _Waiting() for business_id in placer.businesses}
        self._writer = writer
        self._wake = wake
        self._torn = torn
        self._sets_aside = sets_aside
        self._statuses = Statuses(means, wake)
        self.changes = Changes(means, wake, writer)
        self._sql = statements("ingest")
        self._group = GroupCommit[Delivery, Receipt](
            self._flush,
            means.tasks,
            batch_max=BATCH_MAX,
            flights_max=FLIGHTS_MAX,
            weigh=lambda delivery: len(delivery.body),
            weight_max=BATCH_BYTES_MAX,
        )

    def full_for(self, business_id: str) -> bool:
        """Tell whether so much waits to be written that nothing more of a business is taken."""
        if self._group.depth >= WAITING_MAX or self._group.weight >= WAITING_BYTES_MAX:
            return True
        own = self._waiting[business_id]
        return len(self._waiting) > 1 and (
            own.deliveries >= BUSINESS_SHARE * WAITING_MAX
            or own.bytes >= BUSINESS_SHARE * WAITING_BYTES_MAX
        )

    @property
    def waiting(self) -> int:
        """Return how many deliveries wait to be written."""
        return self._group.depth

    @property
    def waiting_bytes(self) -> int:
        """Return how large their bodies are together."""
        return self._group.weight

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Commit everything in one body.

        Raises:
            StoreUnavailableError: nothing is certain to be stored; the provider must try again.
        """
        own, size = self._waiting[delivery.business_id], len(delivery.body)
        own.deliveries += 1
        own.bytes += size
        try:
            return await self._group.submit(delivery)
        finally:
            own.deliveries -= 1
            own.bytes -= size

    async def _flush(self, deliveries: Sequence[Delivery]) -> Sequence[Receipt | BaseException]:
        results = await isolated(self._write, [(delivery, Receipt()) for delivery in deliveries])
        return [
            await self._refuse(delivery)
            if isinstance(result, BaseException) and is_data_error(result)
            else result
            for delivery, result in zip(deliveries, results, strict=True)
        ]

    async def _write(self, batch: Sequence[tuple[Delivery, Receipt]]) -> Sequence[Receipt]:
        """Write everything, a statement a transaction; what an earlier try wrote stays its own."""
        deliveries, receipts = zip(*batch, strict=True)
        for receipt in receipts:
            receipt.duplicates = 0
        kinds = {type(arrival) for delivery in deliveries for arrival in delivery.arrivals}
        with self._means.timed("ingest", len(batch)):
            placed = self._placer.batch(deliveries, receipts)
            async with connected(self._means.pools.ingest) as connection:
                if NewContact in kinds:
                    await self._greet(connection, deliveries)
                if placed:
                    await self._store(connection, placed, receipts)
                if kinds & {AddressChange, NewContact}:
                    await self._wish(connection, deliveries)
                if StatusUpdate in kinds:
                    await self._statuses.note(connection, deliveries)
                if kinds & {Edit, Revocation}:
                    await self.changes.note(connection, deliveries)
                if Unusable in kinds:
                    await self._set_aside(connection, deliveries, receipts)
        return receipts

    async def _store(
        self, connection: "Connection", placed: list[Placed], receipts: Sequence[Receipt]
    ) -> None:
        for _ in range(ROUNDS_MAX):
            rows = await self._deliver(connection, placed)
            self._account(rows, placed, receipts)
            if torn := [placed[row["ordinal"]] for row in rows if row["torn"]]:
                await self._mend(connection, torn)
            # Who came first with what is `raced` may be a recall, which makes it context: the next
            # round sees its row, and what wants an answer is revived.
            again = [row for row in rows if row["outcome"] in {"unplaced", "raced"}]
            if not again:
                return
            if strangers := [placed[r["ordinal"]] for r in again if r["outcome"] == "unplaced"]:
                await self._meet(connection, strangers)
            placed = [placed[ordinal] for ordinal in sorted(row["ordinal"] for row in again)]
        raise AssertionError("met, and still a stranger")

    async def _deliver(
        self, connection: "Connection", placed: list[Placed]
    ) -> "list[asyncpg.Record]":
        batch: Columns = columns(placed)
        return await connection.fetch(self._sql["deliver"], *batch, self._writer())

    def _account(
        self,
        rows: "list[asyncpg.Record]",
        placed: list[Placed],
        receipts: Sequence[Receipt],
    ) -> None:
        """Say what became of each, and wake at once: a later statement's failure undoes nothing."""
        stored = sum(row["outcome"] == "stored" for row in rows)
        self._means.probe.identity_resolved("hit", stored)
        for row in rows:
            item = placed[row["ordinal"]]
            if row["conversation_id"] is not None:  # it has something new; perhaps only an echo
                self._wake(ConversationKey(item.business_id, row["conversation_id"]))
            if row["outcome"] in {"stored", "revived"}:
                receipts[item.owner].stored.append(item.message)
            elif row["outcome"] == "duplicate" and not _stored_before(item, receipts):
                receipts[item.owner].duplicates += 1

    async def _meet(self, connection: "Connection", placed: Sequence[Placed]) -> None:
        """Have a conversation for whoever these are from."""
        met = await meet(connection, self._placer.people(placed), self._means.clock.now())
        self._means.probe.identity_resolved("created", met)

    async def _greet(self, connection: "Connection", deliveries: Sequence[Delivery]) -> None:
        """A contact that the provider calls new gets its conversation, marked as such."""
        met = self._placer.contacts(deliveries)
        await self._meet(connection, met)
        reach = sorted({(item.business_id, *address) for item in met for address in item.addresses})
        greeted = await connection.fetch(
            self._sql["greet"], *(list(column) for column in zip(*reach, strict=True))
        )
        self._wake_all(greeted)

    async def _mend(self, connection: "Connection", torn: Sequence[Placed]) -> None:
        """Link the addresses of messages whose addresses lead to different people."""
        reach, names = mending(torn)
        columns = [list(column) for rows in (reach, names) for column in zip(*rows, strict=True)]
        if await connection.fetch(self._sql["mend"], *columns, self._means.clock.now()):
            self._torn()

    async def _wish(self, connection: "Connection", deliveries: Sequence[Delivery]) -> None:
        """Store what links addresses without a message, where one of them is somebody's."""
        if links := self._placer.links(deliveries):
            columns = [list(column) for column in zip(*links, strict=True)]
            now = self._means.clock.now()
            if await connection.fetch(self._sql["wish"], *columns, now):
                self._torn()

    def _wake_all(self, rows: "list[asyncpg.Record]") -> None:
        for row in rows:
            self._wake(ConversationKey(row["business_id"], row["id"]))

    async def _set_aside(
        self,
        connection: "Connection",
        deliveries: Sequence[Delivery],
        receipts: Sequence[Receipt],
    ) -> None:
        reasons = [
            [a.reason for a in delivery.arrivals if isinstance(a, Unusable)]
            for delivery in deliveries
        ]
        rows = [_aside(d, why[0]) for d, why in zip(deliveries, reasons, strict=True) if why]
        await connection.execute(
            self._sql["set_aside"], *(list(column) for column in zip(*rows, strict=True))
        )
        for receipt, why in zip(receipts, reasons, strict=True):
            receipt.quarantined.extend(why)

    async def _refuse(self, delivery: Delivery) -> Receipt | BaseException:
        """Keep raw what the database would not take."""
        receipt = Receipt(quarantined=["refused_by_store"])
        if not self._sets_aside:
            return receipt
        row = _aside(delivery, receipt.quarantined[0])
        try:
            async with connected(self._means.pools.ingest) as connection:
                await connection.execute(self._sql["set_aside"], *([value] for value in row))
        except Exception as error:  # noqa: BLE001  (handed to the one delivery it belongs to)
            return error
        return receipt


def _stored_before(item: Placed, receipts: Sequence[Receipt]) -> bool:
    """Tell whether it was stored by an earlier try of the same delivery."""
    return any(message is item.message for message in receipts[item.owner].stored)


def _aside(delivery: Delivery, reason: str) -> tuple[str, str, str, bytes, datetime]:
    return (
        delivery.business_id,
        delivery.channel_id,
        reason,
        delivery.body,
        delivery.received_at,
    )
