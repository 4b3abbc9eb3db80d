"""Forgetting a customer: everything of him here goes in one transaction, or nothing does.

Commit, then act, here too. What the AI keeps of him is noted in that transaction by its ids, which
say nothing of whom; it is erased afterwards, by whoever comes first (`erasing.py`), however long
the AI is away. So a crash at any instant leaves either a customer who can be forgotten again, or
a note of what is still to be erased.

What was accepted by webhooks and is erased is taken off the books, so the conservation law holds.
A process that has him in memory loses its next commit, finds no rows and forgets too.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from relevo import identity
from relevo.clock import Clock, sleep
from relevo.messages import Address, ConversationKey
from relevo.states import PROOF_OVERLAP
from relevo.store.isolating import insisted
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection, Pools

WAIT_SECONDS_MAX = 30.0
"""How long what is on the wire is waited for: a send is over in 20 s, most answers are too."""

LOOK_SECONDS = 0.25
PAGE_BODIES_MAX = 100
"""Bodies that are looked through at once; each may have 4 MB."""

NAME_BYTES_MIN = 6
"""A shorter address stands in many a body by chance: it counts only where it is a whole text."""

EVER = datetime(9999, 12, 31, tzinfo=UTC)

Counts = Counter[str]
"""How much was erased: conversations, messages, turns, deliveries (of the quarantine)."""


@dataclass(frozen=True, slots=True)
class Named:
    """How a customer may be called in what is kept raw."""

    digits: frozenset[str]
    values: frozenset[str]

    @property
    def needles(self) -> list[bytes]:
        """Return what to look for in a body."""
        texts = self.digits | self.values
        return sorted((t if len(t) >= NAME_BYTES_MIN else f'"{t}"').encode() for t in texts)


async def forget(pools: "Pools", key: ConversationKey, region: str, clock: Clock) -> Counts:
    """Erase a customer here, and note what the AI has; what is on the wire is waited for, 30 s.

    Raises:
        StoreUnavailableError: if the database cannot be reached; what was not told as erased may
            be there, and can be forgotten again.
    """
    await _wait(pools, key, clock)
    async with pools.tenant(key.business_id) as connection:
        named = await _named(connection, key, region)
    counts = await forget_named(pools, key.business_id, named)

    async def erase() -> tuple[Counts, Named]:
        async with pools.tenant(key.business_id) as connection:
            await connection.fetch(statements("forgetting")["lock"], *key)
            found = await _named(connection, key, region)
            return await erase_all(connection, key, clock.now()), found

    erased, found = await insisted(erase)
    if not found.values <= named.values:  # one with another since, or reached under one more
        counts += await forget_named(pools, key.business_id, found)
    return counts + erased


async def extent(pools: "Pools", key: ConversationKey) -> Counts:
    """Tell how much there is of a customer."""
    async with pools.tenant(key.business_id) as connection:
        row = await connection.fetchrow(statements("forgetting")["extent"], *key)
    assert row is not None
    return Counts(conversations=1, **row)


async def forget_named(pools: "Pools", business_id: str, named: Named) -> Counts:
    """Erase what is kept raw and names a customer; also of one who is not known (any more)."""
    sql = statements("forgetting")
    counts = Counts()
    last_id: int | None = 0
    while last_id is not None:
        async with pools.tenant(business_id) as connection:
            row = await connection.fetchrow(
                sql["named_in_quarantine"], business_id, last_id, PAGE_BODIES_MAX, named.needles
            )
        assert row is not None
        counts["deliveries"] += row["gone"]
        last_id = row["last_id"]

    async def forget_rows() -> None:
        async with pools.tenant(business_id) as connection:
            await connection.execute(sql["named_in_answers"], business_id, named.needles)
            await connection.execute(
                sql["named_in_staging"], business_id, list(named.digits), list(named.values)
            )

    await insisted(forget_rows)
    return counts


async def erase_all(connection: "Connection", key: ConversationKey, now: datetime) -> Counts:
    """Erase a conversation in the running transaction; nothing, if it is not there any more."""
    sql = statements("forgetting")
    if await connection.fetchrow(sql["lock"], *key) is None:
        return Counts()
    once = [row["id"] for row in await connection.fetch(sql["once"], *key)]
    await connection.execute(sql["answers"], key.business_id, once, key.conversation_id)
    counts = await erase_said(connection, key, None, now)
    await connection.execute(sql["ai_conversations"], *key, now)
    await connection.execute(sql["merges"], key.business_id, once)
    for name in ("reached", "conversation"):
        await connection.execute(sql[name], *key)
    counts["conversations"] += 1
    return counts


async def erase_said(
    connection: "Connection", key: ConversationKey, before: datetime | None, now: datetime
) -> Counts:
    """Erase what was said before an instant (None: everything) of a conversation that is locked."""
    sql = statements("forgetting")
    business_id, whole, instant = key.business_id, before is None, before or EVER
    ids = [row["id"] for row in await connection.fetch(sql["messages"], *key, instant)]
    await connection.execute(sql["parts"], business_id, ids)
    await connection.execute(sql["flags"], *key, ids)
    await connection.execute(sql["keys"], business_id, ids)
    await connection.execute(sql["sends"], *key, ids, whole, instant)
    if whole:  # the staging of what is too old goes by its own age
        await connection.execute(sql["staged"], business_id, ids)
    accepted = await connection.fetchval(sql["spoken"], business_id, ids)
    turns = await connection.fetchval(sql["turns"], *key, whole, instant, now)
    await connection.execute(sql["uncount"], business_id, accepted)
    return Counts(messages=len(ids), turns=turns)


async def trim(pools: "Pools", key: ConversationKey, before: datetime, now: datetime) -> Counts:
    """Erase what was said before an instant; of whom nothing is left is forgotten.

    A customer with a turn under way is left for later. The AI begins anew with what is left, for
    its conversation cannot be told apart by age; and no history is asked for what was erased.
    """

    async def erase() -> Counts:
        async with pools.tenant(key.business_id) as connection:
            return await _trimmed(connection, key, before, now)

    return await insisted(erase)


async def _trimmed(
    connection: "Connection", key: ConversationKey, before: datetime, now: datetime
) -> Counts:
    sql, known_to = statements("forgetting"), before + PROOF_OVERLAP
    row = await connection.fetchrow(sql["lock"], *key)
    if row is None or row["busy"]:
        return Counts()
    counts = await erase_said(connection, key, before, now)
    if await connection.fetchval(sql["is_silent"], *key):
        return counts + await erase_all(connection, key, now)
    await connection.execute(sql["ai_conversations"], *key, now)
    await connection.execute(sql["begin_anew"], *key, known_to)
    once = [row["id"] for row in await connection.fetch(sql["once"], *key)]
    await connection.execute(sql["begin_past_anew"], key.business_id, once, known_to)
    return counts


def named_by(addresses: Iterable[Address], region: str) -> Named:
    """Say how these addresses may be written in what is kept raw."""
    digits: set[str] = set()
    values: set[str] = set()
    for address in addresses:
        values.add(address.value)
        if address.kind == identity.PHONE:
            digits.update(identity.digit_spellings(address.value, region))
        elif "@" in address.value:
            values.add(address.value.partition("@")[0])
    return Named(frozenset(digits), frozenset(values))


async def _named(connection: "Connection", key: ConversationKey, region: str) -> Named:
    rows = await connection.fetch(statements("forgetting")["addresses"], *key)
    return named_by([Address(row["kind"], row["value"]) for row in rows], region)


async def _wait(pools: "Pools", key: ConversationKey, clock: Clock) -> None:
    """Wait until nothing of a customer's is on the wire, or long enough."""
    ends_at = clock.now() + timedelta(seconds=WAIT_SECONDS_MAX)
    while (now := clock.now()) < ends_at:
        async with pools.tenant(key.business_id) as connection:
            if not await connection.fetchval(statements("forgetting")["under_way"], *key, now):
                return
        await sleep(clock, LOOK_SECONDS)
