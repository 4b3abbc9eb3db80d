"""What became of our messages, as the provider tells it; also when it tells that too early.

A status may come before we know the id it names: the provider is faster than its own answer to our
send, or that answer is lost and an echo or the history brings the id later. So a status of unknown
ids waits in `early_status`, and `settle`, run every few seconds, applies it once its id is known.
Most of them are of messages that are not ours and never will be known: they are forgotten.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey, Delivery, StatusUpdate
from relevo.store.means import Means
from relevo.store.pools import connected
from relevo.store.settling import settle_for_ever
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection

EARLY_MAX = timedelta(minutes=10)
"""How long a status waits for its message; a send in doubt is resolved in two minutes."""

EARLY_ROWS_MAX = 5_000
"""How many statuses of one business wait; beyond that the oldest are dropped, and counted."""

ROUNDS_MAX = 4
"""Looks at a status whose conversation is merged or parted at this moment."""

Status = tuple[int, str, str, str, str]
"""Ordinal of what was told, business, channel, one of the ids it names, status."""


class Statuses:
    """Keeps statuses of sends, and wakes whoever doubts one of them."""

    def __init__(
        self,
        means: Means,
        wake: Callable[[ConversationKey], None],
        gone: Callable[[str, int], None] = lambda _outcome, _rows: None,
    ) -> None:
        """`gone` hears how many of those that waited were settled, forgotten, or dropped."""
        self._means = means
        self._wake = wake
        self._gone = gone
        self._sql = statements("ingest")

    async def note(self, connection: "Connection", deliveries: Sequence[Delivery]) -> None:
        """Apply every status in these deliveries, or have it wait for its message."""
        told = {
            (delivery.business_id, delivery.channel_id, arrival.keys, arrival.status)
            for delivery in deliveries
            for arrival in delivery.arrivals
            if isinstance(arrival, StatusUpdate)
        }
        await self._apply(
            connection,
            [
                (ordinal, business_id, channel_id, key, status)
                for ordinal, (business_id, channel_id, keys, status) in enumerate(sorted(told))
                for key in keys
            ],
        )

    async def settle(self) -> None:
        """Apply what has waited long enough for its id to be known, and forget what is too old.

        Raises:
            StoreUnavailableError: if the database cannot be reached.
        """
        async with connected(self._means.pools.ingest) as connection:
            if not await connection.fetchval(self._sql["early_waiting"]):
                return
            known = [tuple(row) for row in await connection.fetch(self._sql["early_known"])]
            await self._apply(connection, [(n, *row) for n, row in enumerate(known)])
            keys = [list(column) for column in zip(*known, strict=True)] or [[]] * 4
            too_old = self._means.clock.now() - EARLY_MAX
            gone = await connection.fetch(self._sql["forget_early"], *keys, too_old, EARLY_ROWS_MAX)
        for row in gone:
            self._gone(row["outcome"], row["rows"])

    async def settle_for_ever(self, every_seconds: float) -> None:
        """Settle now and then, as long as the process lives."""
        await settle_for_ever(self._means, self.settle, every_seconds, "settle-statuses")

    async def _apply(self, connection: "Connection", news: Sequence[Status]) -> None:
        if not news:
            return
        columns = [list(column) for column in zip(*news, strict=True)]
        now = self._means.clock.now()
        for _ in range(ROUNDS_MAX):
            rows = await connection.fetch(self._sql["note_statuses"], *columns, now)
            for row in rows:
                self._wake(ConversationKey(row["business_id"], row["id"]))
            if not any(row["moved"] for row in rows):
                return
        raise StoreUnavailableError("conversations are merged again and again")
