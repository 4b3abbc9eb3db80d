"""Accepted means kept: what webhooks bring is committed before they are answered.

Concurrent deliveries join one round trip. Within a batch the messages are deduplicated and sorted;
first contacts get their conversation in a separate, earlier statement. A row that the database
refuses costs nobody else anything: the batch is halved until its delivery stands alone, and its
body goes to the quarantine.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from relevo import identity
from relevo.messages import (
    Address,
    ConversationKey,
    Delivery,
    InboundMessage,
    NewContact,
    Receipt,
    StatusUpdate,
    Unusable,
)
from relevo.store.batches import Columns, Placed, as_message, columns
from relevo.store.failures import is_data_error
from relevo.store.groups import GroupCommit
from relevo.store.isolating import isolated
from relevo.store.means import Means
from relevo.store.pools import connected
from relevo.store.sql import statements

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

FLIGHTS_MAX = 3
"""Batches being written while the next one is put together; a connection each."""

CLOCK_SKEW_MAX = timedelta(seconds=60)
"""A provider's clock may run ahead of ours by this much; anything later is our own time."""

PHONE = "phone"


class Inbox:
    """Keeps what is delivered, and wakes whoever it concerns."""

    def __init__(
        self,
        means: Means,
        *,
        regions: Mapping[str, str],
        writer: Callable[[], int],
        wake: Callable[[ConversationKey], None],
    ) -> None:
        """Take the regions of phones written without a country code, by business.

        `writer` names this process in the count of accepted messages.
        """
        self._means = means
        self._regions = regions
        self._writer = writer
        self._wake = wake
        self._sql = statements("ingest")
        self._group = GroupCommit[Delivery, Receipt](
            self._flush,
            means.tasks,
            batch_max=BATCH_MAX,
            flights_max=FLIGHTS_MAX,
            weigh=lambda delivery: len(delivery.body),
            weight_max=BATCH_BYTES_MAX,
        )

    @property
    def full(self) -> bool:
        """Tell whether so much waits to be written that nothing more should be taken."""
        return self._group.depth >= WAITING_MAX or self._group.weight >= WAITING_BYTES_MAX

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Commit everything in one body.

        Raises:
            StoreUnavailableError: nothing is certain to be stored; the provider must try again.
        """
        return await self._group.submit(delivery)

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
            placed = self._placed(deliveries, receipts)
            async with connected(self._means.pools.ingest) as connection:
                if NewContact in kinds:
                    await self._greet(connection, deliveries)
                if placed:
                    await self._store(connection, placed, receipts)
                if StatusUpdate in kinds:
                    await self._note_statuses(connection, deliveries)
                if Unusable in kinds:
                    await self._set_aside(connection, deliveries, receipts)
        return receipts

    def _placed(self, deliveries: Sequence[Delivery], receipts: Sequence[Receipt]) -> list[Placed]:
        """Prepare the messages of a batch; twins within it are one, under all their ids."""
        placed: dict[tuple[str, str], Placed] = {}
        unique: list[Placed] = []
        for owner, delivery in enumerate(deliveries):
            for message in delivery.arrivals:
                if not isinstance(message, InboundMessage):
                    continue
                item = self._place(owner, delivery, message)
                names = [(item.channel_id, key) for key in item.keys]
                twin = next((placed[name] for name in names if name in placed), None)
                if twin is None:
                    unique.append(item)
                else:
                    self._join(twin, item)
                    receipts[owner].duplicates += 1
                placed.update((name, twin or item) for name in names)
        return sorted(unique, key=lambda item: (item.business_id, item.channel_id, item.keys[0]))

    def _place(self, owner: int, delivery: Delivery, message: InboundMessage) -> Placed:
        region = self._regions[delivery.business_id]
        addresses = [identity.normalised(address, region) for address in message.addresses]
        latest = delivery.received_at + CLOCK_SKEW_MAX
        return Placed(
            owner=owner,
            business_id=delivery.business_id,
            channel_id=delivery.channel_id,
            canonical_key=identity.canonical_key(delivery.business_id, message.addresses, region),
            keys=list(message.keys),
            addresses=[(a.kind, _scope(a, delivery.channel_id), a.value) for a in addresses],
            message=message,
            event_at=min(message.event_at or delivery.received_at, latest),
            received_at=delivery.received_at,
        )

    def _join(self, first: Placed, twin: Placed) -> None:
        """Let a message have what its twin knows more: ids, and addresses, phones before others."""
        first.keys.extend(key for key in twin.keys if key not in first.keys)
        if more := [address for address in twin.addresses if address not in first.addresses]:
            first.addresses = sorted([*first.addresses, *more], key=lambda a: a[0] != PHONE)
            named = tuple(Address(kind, value) for kind, _scope, value in first.addresses)
            region = self._regions[first.business_id]
            first.canonical_key = identity.canonical_key(first.business_id, named, region)

    async def _store(
        self, connection: "Connection", placed: list[Placed], receipts: Sequence[Receipt]
    ) -> None:
        rows = await self._deliver(connection, placed)
        self._account(rows, placed, receipts)
        if unplaced := [placed[row["ordinal"]] for row in rows if row["outcome"] == "unplaced"]:
            await self._meet(connection, unplaced)
            met = await self._deliver(connection, unplaced)
            assert all(row["outcome"] != "unplaced" for row in met), "met, and still a stranger"
            self._account(met, unplaced, receipts)

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
        for row in rows:
            item = placed[row["ordinal"]]
            if row["outcome"] in {"stored", "revived"}:
                receipts[item.owner].stored.append(item.message)
                self._wake(ConversationKey(item.business_id, row["conversation_id"]))
            elif row["outcome"] == "duplicate" and not _stored_before(item, receipts):
                receipts[item.owner].duplicates += 1

    async def _meet(self, connection: "Connection", placed: Sequence[Placed]) -> None:
        reach = sorted(
            (item.business_id, item.canonical_key, kind, scope, value, rank)
            for item in placed
            for rank, (kind, scope, value) in enumerate(item.addresses)
        )
        addresses = [list(column) for column in zip(*reach, strict=True)]
        await connection.execute(self._sql["meet"], *addresses[:5], self._means.clock.now())
        await connection.execute(self._sql["lead"], *addresses)

    async def _greet(self, connection: "Connection", deliveries: Sequence[Delivery]) -> None:
        """A contact that the provider calls new gets its conversation, marked as such."""
        met = [
            self._place(owner, delivery, as_message(arrival))
            for owner, delivery in enumerate(deliveries)
            for arrival in delivery.arrivals
            if isinstance(arrival, NewContact)
        ]
        await self._meet(connection, met)
        reach = sorted({(item.business_id, *address) for item in met for address in item.addresses})
        await connection.execute(
            self._sql["greet"], *(list(column) for column in zip(*reach, strict=True))
        )

    async def _note_statuses(
        self, connection: "Connection", deliveries: Sequence[Delivery]
    ) -> None:
        news = sorted(
            {
                (delivery.business_id, delivery.channel_id, key, arrival.status)
                for delivery in deliveries
                for arrival in delivery.arrivals
                if isinstance(arrival, StatusUpdate)
                for key in arrival.keys
            }
        )
        if news:
            await connection.execute(
                self._sql["note_statuses"], *(list(column) for column in zip(*news, strict=True))
            )

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
        row = _aside(delivery, "refused_by_store")
        try:
            async with connected(self._means.pools.ingest) as connection:
                await connection.execute(self._sql["set_aside"], *([value] for value in row))
        except Exception as error:  # noqa: BLE001  (handed to the one delivery it belongs to)
            return error
        return Receipt(quarantined=["refused_by_store"])


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


def _scope(address: Address, channel_id: str) -> str:
    """Return within what an address means something: a phone everywhere, the rest on its line."""
    return "" if address.kind == PHONE else channel_id
