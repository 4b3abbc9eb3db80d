"""A channel that joins a portfolio: whom it knows by a BSUID is known in the whole portfolio.

Until a channel names its portfolio it is one of its own. What is known within it stays as it is, so
that the release before, or a configuration without the name, finds everybody too.
"""

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from relevo.errors import StoreUnavailableError
from relevo.store.merging import DISTURBANCES, TRIES_MAX
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Pools

PAGE_ROWS = 1000
"""BSUIDs of a transaction, about 0.1 s if all are new: ingest may wait for one of them."""


async def join(
    pools: "Pools", business_id: str, channel_id: str, portfolio: str, now: datetime
) -> None:
    """Have the BSUIDs that a channel knew as its own lead to the same people in its portfolio.

    Who is somebody else there, by another channel, is linked: the merger makes them one. Done again
    it changes nothing.

    Raises:
        StoreUnavailableError: if the database cannot be reached, or is too busy; some may be done.
    """
    last: str | None = ""
    while last is not None:
        what = (business_id, channel_id, portfolio, last, PAGE_ROWS, now)
        last = await _page(pools, business_id, what)


async def _page(pools: "Pools", business_id: str, what: tuple[object, ...]) -> str | None:
    for _ in range(TRIES_MAX):
        with suppress(*DISTURBANCES):
            async with pools.tenant(business_id) as connection:
                found = await connection.fetchval(statements("merging")["join_portfolio"], *what)
            return None if found is None else str(found)
    raise StoreUnavailableError("the people of a portfolio are merged again and again")
