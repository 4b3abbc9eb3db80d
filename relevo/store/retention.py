"""Nothing is kept for longer than a business says: once an hour, what is too old is erased.

The cutoff is a midnight (UTC): a customer is touched once a day at most, and so is what the AI
holds of him. Whoever has a turn under way is left for the next hour.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from relevo.clock import sleep
from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey
from relevo.store.erasing import Eraser, businesses_noted, erase_noted
from relevo.store.forgetting import Counts, trim
from relevo.store.means import Means
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Pools

LOG = logging.getLogger(__name__)

EVERY_SECONDS = 3600.0
BATCH_MAX = 200
"""Customers, or deliveries of the quarantine, that are looked up at once."""

BATCHES_MAX = 500
"""In one round; what is left is left to the next."""


class Retention:
    """Erases what is too old in the businesses that say so, and what is noted at the AI."""

    def __init__(
        self, means: Means, days: Mapping[str, int], erasers: Mapping[str, Eraser]
    ) -> None:
        """`days` is how long each business keeps what was said; 0: for ever."""
        self._means = means
        self._days = {business_id: kept for business_id, kept in days.items() if kept}
        self._erasers = erasers
        self._done: dict[str, datetime] = {}
        """The last cutoff before which nothing is left, by business."""

    async def keep_for_ever(self) -> None:
        """See to it every hour, as long as the process lives."""
        while True:
            await sleep(self._means.clock, EVERY_SECONDS)
            try:
                await self.round()
            except StoreUnavailableError:
                continue
            except Exception:
                # A bug, and reported as one; what is too old must not wait for a restart.
                self._means.tasks.spawn(self.keep_for_ever(), "retention")
                raise

    async def round(self) -> None:
        """See to it once.

        Raises:
            StoreUnavailableError: if the database cannot be reached.
        """
        pools, clock = self._means.pools, self._means.clock
        for business_id, days in self._days.items():
            before = cutoff(clock.now(), days)
            if self._done.get(business_id) == before:
                continue
            counts, whole = await outlive(pools, business_id, before, clock.now())
            if whole:
                self._done[business_id] = before
            if counts.total():
                erased = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
                LOG.info("retention: erased %s (business %s)", erased, business_id)
        for business_id in await businesses_noted(pools):
            if (eraser := self._erasers.get(business_id)) is not None:
                left = await erase_noted(pools, business_id, eraser, clock)
                if left.left:
                    LOG.warning(
                        "erasure_left: %d at the AI, %s (business %s)",
                        *(left.left, left.reason or "more_left", business_id),
                    )


def cutoff(now: datetime, days: int) -> datetime:
    """Return before which instant nothing is kept: a midnight."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=days)


async def outlive(
    pools: "Pools", business_id: str, before: datetime, now: datetime
) -> tuple[Counts, bool]:
    """Erase what was said before an instant; how much, and whether nothing of it is left."""
    sql = statements("forgetting")
    counts, whole = Counts(), False
    for _ in range(BATCHES_MAX):
        found = await _chosen(pools, business_id, before)
        erased = Counts()
        for conversation_id in found:
            erased += await trim(pools, ConversationKey(business_id, conversation_id), before, now)
        counts += erased
        if not found or not erased.total():
            whole = not found
            break
    async with pools.tenant(business_id) as connection:
        await connection.execute(sql["outlived_merges"], business_id, before)
        await connection.execute(sql["outlived_staging"], business_id, before)
    for _ in range(BATCHES_MAX):
        async with pools.tenant(business_id) as connection:
            done = await connection.execute(sql["outlived_bodies"], business_id, before, BATCH_MAX)
        counts["deliveries"] += (gone := int(done.rpartition(" ")[2]))  # the tag is `DELETE 3`
        if gone < BATCH_MAX:
            break
    return +counts, whole


async def _chosen(pools: "Pools", business_id: str, before: datetime) -> list[int]:
    sql = statements("forgetting")
    async with pools.tenant(business_id) as connection:
        talked = await connection.fetch(sql["outlived"], business_id, before, BATCH_MAX)
        silent = await connection.fetch(sql["silent"], business_id, before, BATCH_MAX)
    return [row[0] for row in (*talked, *silent)]
