"""Customers with so much unread that no more of theirs is taken until it is less.

A sweep counts unread rows anyway; only when somebody has too many is the whole table asked, and
their addresses are kept, so that a webhook of theirs is known without a question to the database.
What ingest takes between two looks is the overrun: with 2 s between sweeps, 2 s of one customer's
flood.
"""

import logging
from collections.abc import Mapping

from relevo.messages import Author, ConversationKey, Delivery, InboundMessage
from relevo.store.means import Means
from relevo.store.placing import Placer, Reached
from relevo.store.pools import connected
from relevo.store.sql import statements

LOG = logging.getLogger(__name__)

CUSTOMERS_MAX = 1000
"""Customers that are turned away at once, the fullest first."""


class Crowds:
    """Knows who is turned away, by every address. What has to be seen to is a sweep's chore."""

    def __init__(self, means: Means, placer: Placer, unread_max: int) -> None:
        self._means = means
        self._placer = placer
        self._unread_max = unread_max
        self._sql = statements("sweep")
        self._crowded: frozenset[ConversationKey] = frozenset()
        self._addresses: frozenset[tuple[str, Reached]] = frozenset()

    @property
    def customers(self) -> int:
        """Return how many customers are turned away."""
        return len(self._crowded)

    def turns_away(self, delivery: Delivery) -> bool:
        """Tell whether a customer's message in it is of somebody who has too much unread.

        What a colleague wrote is always taken: it can forbid a reply.
        """
        if not self._addresses:
            return False
        return any(
            (delivery.business_id, address) in self._addresses
            for arrival in delivery.arrivals
            if isinstance(arrival, InboundMessage) and arrival.author is Author.CUSTOMER
            for address in self._placer.reached(arrival.addresses, delivery)
        )

    async def swept(self, unread: Mapping[ConversationKey, int]) -> None:
        """Look closer if anybody has too much, or had.

        Raises:
            StoreUnavailableError: if the store cannot be read; whoever was turned away still is.
        """
        if self._crowded or max(unread.values(), default=0) > self._unread_max:
            await self.keep_up()

    async def keep_up(self) -> None:
        """Count everything that is unread, however old: once a minute, and while it matters.

        Raises:
            StoreUnavailableError: if the store cannot be read; whoever was turned away still is.
        """
        with self._means.timed("sweep"):
            async with connected(self._means.pools.sweep) as connection:
                rows = await connection.fetch(self._sql["crowded"], self._unread_max, CUSTOMERS_MAX)
        crowded = frozenset(ConversationKey(*row) for row in rows)
        self._addresses = await self._addresses_of(crowded) if crowded else frozenset()
        for key in crowded - self._crowded:
            LOG.warning(
                "crowded: conversation %d of %s has more than %d unread messages; "
                "its customer's webhooks are answered 503 until it has less",
                key.conversation_id,
                key.business_id,
                self._unread_max,
            )
        self._crowded = crowded

    async def _addresses_of(
        self, crowded: frozenset[ConversationKey]
    ) -> frozenset[tuple[str, Reached]]:
        columns = [list(column) for column in zip(*crowded, strict=True)]
        async with connected(self._means.pools.ingest) as connection:
            rows = await connection.fetch(self._sql["addresses_of"], *columns)
        return frozenset(
            (row["business_id"], (row["kind"], row["scope"], row["value"])) for row in rows
        )
