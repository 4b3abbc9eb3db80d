"""Line 6: a page of the list of conversations, searched, of a business that has 100,000 of them.

* PostgreSQL with row-level security, as the API asks it: role, tenant setting, snapshot, and every
  statement of a page. HTTP and JSON are not in it, nor is the looking up of the key.
* Every conversation has a phone, a BSUID and four messages; one in fifty has a tag. A second
  business has the same customers again: what is skipped for row security costs too.
* A kind of search is measured by its median; the line is the slowest kind. The plan is that of the
  statement that looks for addresses and tags, as relevo_app gets it.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench.results import Promise, Result
from relevo.clock import SystemClock
from relevo.store.conversations import Conversations, Custom
from relevo.store.embedded import DatabaseUrls
from relevo.store.pools import Pools, open_pools
from relevo.store.sql import statements
from tests.postgres import Cluster

CONVERSATIONS = 100_000
SLOWEST = Promise(
    f"a searched page of {CONVERSATIONS:,} conversations of one business, under row security",
    *(50, 100),
    "ms",
    more_is_better=False,
)
REPEATED = 21

FILLING = """
INSERT INTO business VALUES ('{b}');
INSERT INTO conversation (business_id, canonical_key, tags, created_at)
SELECT '{b}', 'phone:{b}:+5037' || lpad(n::text, 7, '0'),
    CASE WHEN n % 50 = 0 THEN '{{vip}}'::text[] ELSE '{{}}' END, now() - interval '90 days'
FROM generate_series(1, {conversations}) AS n;
INSERT INTO address
SELECT '{b}', 'phone', '', split_part(canonical_key, ':', 3), id FROM conversation
WHERE business_id = '{b}';
INSERT INTO address
SELECT '{b}', 'bsuid', 'line', 'US.' || md5(id::text), id FROM conversation
WHERE business_id = '{b}';
INSERT INTO message (business_id, id, conversation_id, channel_id, address_kind, address_value,
    author, kind, body, source, event_at, received_at, fate)
SELECT c.business_id, c.id * 4 + n, c.id, 'line', 'phone', '+5037', a.author, 'text',
    'Hola, ¿hay mesa para cuatro el viernes?', 'webhook', at, at, a.fate
FROM conversation AS c, generate_series(0, 3) AS n,
    LATERAL (SELECT CASE n % 2 WHEN 0 THEN 'customer' ELSE 'assistant' END AS author,
        CASE n % 2 WHEN 0 THEN 'answered' END AS fate,
        now() - ((c.id * 7919) % 7776000 + 60 * (3 - n)) * interval '1 second' AS at) AS a
WHERE c.business_id = '{b}';
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A list that is asked for."""

    search: str | None = None
    tag: str | None = None
    closed: bool | None = None
    held: bool | None = None
    limit: int = 50


KINDS: Mapping[str, Asked] = {
    "the newest": Asked(),
    "the newest open ones": Asked(closed=False),
    "a whole phone": Asked(search="7001 2345"),
    "how a phone begins": Asked(search="+503 7001"),
    "how a phone ends": Asked(search="12345"),
    "two digits": Asked(search="77"),
    "a BSUID": Asked(search="US.c4ca4238a0b9"),
    "nobody": Asked(search="nobody"),
    "a tag": Asked(search="vip"),
    "held ones": Asked(held=True),
}
PLANNED = ("hotel", ["+5037001"], ["+5037001\U0010ffff"], "1007", "1007\U0010ffff", "vip", 1001)


async def of_many(cluster: Cluster, _folder: Path, _profile: Path | None) -> list[Result]:
    """Measure line 6."""
    async with cluster.fresh_database() as urls:
        await _fill(urls)
        pools = await open_pools(urls.url)
        try:
            taken = {kind: await _taken_ms(pools, asked) for kind, asked in KINDS.items()}
            plan = await _plan(pools)
        finally:
            await pools.close()
    told = (f"{kind} {statistics.median(ms):.1f} ({min(ms):.1f})" for kind, ms in taken.items())
    how = f"medians of {REPEATED} and the best, in ms: {', '.join(told)}\n{plan}"
    return [Result(6, SLOWEST, max(map(statistics.median, taken.values())), how)]


async def _fill(urls: DatabaseUrls) -> None:
    connection = await asyncpg.connect(urls.owner_url)
    try:
        for business_id in ("hotel", "bakery"):
            await connection.execute(FILLING.format(b=business_id, conversations=CONVERSATIONS))
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()


async def _taken_ms(pools: Pools, asked: Asked) -> list[float]:
    clock = SystemClock()
    conversations = Conversations({"hotel": Custom("SV", 600)}, clock)
    taken = []
    for _ in range(REPEATED):
        started = clock.monotonic()
        async with pools.tenant("hotel", snapshot=True) as connection:
            await conversations.page(connection, "hotel", asked, None)
        taken.append(1000 * (clock.monotonic() - started))
    return taken


async def _plan(pools: Pools) -> str:
    statement = f"EXPLAIN (COSTS OFF) {statements('conversations')['found']}"
    async with pools.tenant("hotel") as connection:
        rows = await connection.fetch(statement, *PLANNED)
    return "\n".join(row[0] for row in rows)
