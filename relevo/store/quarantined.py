"""The quarantine: bodies that could not be read or stored, and their way back to the inbox."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from relevo.messages import CLOCK_SKEW_MAX, Arrival, Delivery, Ignored, InboundMessage, Unusable
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.inbox import Inbox
    from relevo.store.pools import Connection, Pools

ID_MAX = 2**63 - 1
IDS_MAX = 100_000
"""Bodies replayed by one call that names none."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A delivered body that was set aside, without the body itself."""

    business_id: str
    id: int
    channel_id: str
    reason: str
    received_at: datetime
    size_bytes: int
    replayed_at: datetime | None


async def bodies(pools: "Pools", business_id: str, limit: int, *, replayed: bool) -> list[Kept]:
    """Return what a business has set aside, newest first; replayed ones only if asked for."""
    async with pools.tenant(business_id) as connection:
        return await page(connection, business_id, ID_MAX, limit, replayed=replayed)


async def page(
    connection: "Connection", business_id: str, before_id: int, limit: int, *, replayed: bool
) -> list[Kept]:
    """Return those of lower ids, newest first; replayed ones only if asked for."""
    which = (business_id, replayed, limit, before_id)
    rows = await connection.fetch(statements("quarantine")["bodies"], *which)
    return [Kept(**row) for row in rows]


async def told(connection: "Connection", business_id: str, kept_id: int) -> dict[str, Any] | None:
    """Return one as its fields, and its `body`."""
    row = await connection.fetchrow(statements("quarantine")["body"], business_id, kept_id)
    return None if row is None else dict(row)


async def body(pools: "Pools", business_id: str, kept_id: int) -> tuple[Kept, bytes] | None:
    """Return one with its body."""
    async with pools.tenant(business_id) as connection:
        return await kept(connection, business_id, kept_id)


async def kept(
    connection: "Connection", business_id: str, kept_id: int
) -> tuple[Kept, bytes] | None:
    """Return one with its body, within a transaction."""
    row = await told(connection, business_id, kept_id)
    if row is None:
        return None
    return Kept(**{name: row[name] for name in Kept.__slots__}), row["body"]


async def waiting_ids(pools: "Pools", business_id: str, limit: int = IDS_MAX) -> list[int]:
    """Return which were not replayed yet, oldest first."""
    async with pools.tenant(business_id) as connection:
        rows = await connection.fetch(statements("quarantine")["waiting_ids"], business_id, limit)
    return [row["id"] for row in rows]


async def replay(
    connection: "Connection",
    inbox: "Inbox",
    found: tuple[Kept, bytes],
    arrivals: Sequence[Arrival],
    now: datetime,
) -> list[str]:
    """Deliver again what can be read by now; return why something still cannot, if so.

    `inbox` sets nothing aside itself. What was stored before is a duplicate, so this can be
    repeated. Only a body with nothing unusable left counts as replayed.
    """
    aside, raw = found
    reasons = [arrival.reason for arrival in arrivals if isinstance(arrival, Unusable)]
    usable = tuple(
        _dated(arrival, aside.received_at)
        for arrival in arrivals
        if not isinstance(arrival, Unusable | Ignored)
    )
    if usable:
        delivery = Delivery(aside.business_id, aside.channel_id, usable, raw, now)
        reasons += (await inbox.deliver(delivery)).quarantined
    if not reasons:
        marked = (aside.business_id, aside.id, now)
        await connection.execute(statements("quarantine")["mark_replayed"], *marked)
    return reasons


def _dated(arrival: Arrival, received_at: datetime) -> Arrival:
    """Have a message said no later than when its body came, not when it is replayed."""
    if not isinstance(arrival, InboundMessage):
        return arrival
    latest = received_at + CLOCK_SKEW_MAX
    return replace(arrival, event_at=min(arrival.event_at or received_at, latest))
