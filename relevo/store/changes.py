"""Messages that are edited or taken back; also when that is told before they are.

Webhooks overtake one another, so a change may come before its message. One of an id that nobody
knows waits in `early_change`, and `settle`, run every few seconds, applies it once the message is
there. Most of them are of messages from before our time and never will be: they are forgotten.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from relevo.messages import CLOCK_SKEW_MAX, Change, ConversationKey, Delivery, Edit, Revocation
from relevo.store.means import Means
from relevo.store.pools import connected
from relevo.store.settling import settle_for_ever
from relevo.store.sql import statements

if TYPE_CHECKING:
    import asyncpg

    from relevo.store.pools import Connection

EARLY_MAX = timedelta(days=1)
"""How long a change waits for its message. Texts are among them, so no longer than is of use."""

EARLY_ROWS_MAX = 5_000
"""How many changes of one business wait; beyond that the oldest are dropped, and counted."""

SETTLED_MAX = 500
"""How many are applied at once."""

Told = tuple[str, str, str, str, str, str, datetime, datetime]
"""Business, channel, target, kind, author, text (empty for a revocation), when, received when."""


class Changes:
    """Changes messages as their authors do, and wakes whoever it concerns."""

    def __init__(
        self,
        means: Means,
        wake: Callable[[ConversationKey], None],
        writer: Callable[[], int],
    ) -> None:
        """`writer` names this process in the count of accepted messages."""
        self._means = means
        self._wake = wake
        self._writer = writer
        self._sql = statements("changes")

    async def note(self, connection: "Connection", deliveries: Sequence[Delivery]) -> None:
        """Apply every change in these deliveries, or have it wait for its message."""
        told = {
            _told(delivery, arrival)
            for delivery in deliveries
            for arrival in delivery.arrivals
            if isinstance(arrival, Edit | Revocation)
        }
        await self._apply(connection, sorted(told))

    async def settle(self) -> None:
        """Apply what has waited long enough for its message to be known, forget what is too old.

        Raises:
            StoreUnavailableError: if the database cannot be reached.
        """
        async with connected(self._means.pools.ingest) as connection:
            if not await connection.fetchval(self._sql["early_waiting"]):
                return
            found = await connection.fetch(self._sql["early_known"], SETTLED_MAX)
            known: list[Told] = [tuple(row) for row in found]
            rows = await self._apply(connection, known)
            settled = [known[r["ordinal"]] for r in rows if r["outcome"] != "early"]
            named = [(*told[:5], told[6]) for told in settled]
            columns = [list(column) for column in zip(*named, strict=True)] or [[]] * 6
            too_old = self._means.clock.now() - EARLY_MAX
            gone = await connection.fetch(
                self._sql["forget_early"], *columns, too_old, EARLY_ROWS_MAX
            )
        for row in gone:
            self._means.probe.changed(row["kind"], row["outcome"], row["rows"])

    async def settle_for_ever(self, every_seconds: float) -> None:
        """Settle now and then, as long as the process lives."""
        await settle_for_ever(self._means, self.settle, every_seconds, "settle-changes")

    async def _apply(
        self, connection: "Connection", told: Sequence[Told]
    ) -> "list[asyncpg.Record]":
        """Apply changes and return what became of each; one a statement sees what is locked."""
        if not told:
            return []
        columns = [list(column) for column in zip(*told, strict=True)]
        async with connection.transaction():
            held = await connection.fetch(self._sql["lock"], *columns[:3])
            rows = await connection.fetch(
                self._sql["apply"],
                list(range(len(told))),
                *columns,
                [row["business_id"] for row in held],
                [row["id"] for row in held],
                self._writer(),
            )
        for row in rows:
            business_id, kind, outcome = told[row["ordinal"]][0], told[row["ordinal"]][3], row[2]
            self._means.probe.changed(kind, outcome, 1)
            if outcome in {"applied", "context"}:
                self._wake(ConversationKey(business_id, row["conversation_id"]))
        return rows


def _told(delivery: Delivery, change: Change) -> Told:
    latest = delivery.received_at + CLOCK_SKEW_MAX
    return (
        delivery.business_id,
        delivery.channel_id,
        change.target,
        "edit" if isinstance(change, Edit) else "revocation",
        change.author.value,
        change.body if isinstance(change, Edit) else "",
        min(change.event_at or delivery.received_at, latest),
        delivery.received_at,
    )
