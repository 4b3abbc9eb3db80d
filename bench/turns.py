"""Line 5: answered turns a second of one process.

* The whole way, in `relevo serve` on PostgreSQL: webhook, commit, wake, read, a burst that ends,
  the AI asked over HTTP, the answer stored, the reply sent over HTTP, the turn ended.
* Every turn is another known customer's, so each is read from the database first. The history is
  known and recent: no recall, verdict none. The AI has a conversation for each of them. That makes
  one AI call, one send and three commits a turn.
* The AI and the provider are fakes that answer at once, in processes of their own; the provider's
  also plays the customers. So many of them wait for a reply at any time.
* Counted from the database: turns that ended as answered after the first seconds.
"""

from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench import bodies, children
from bench.ai import ai_conversation
from bench.results import Promise, Result
from bench.rig import KEY, TOKEN, Outsides, Rig, rig
from tests.postgres import Cluster

RATE = Promise("answered turns/s of one process, mock AI and provider", 400, 200, "/s")

CUSTOMERS = 24_000
WAITING = 300
CONNECTIONS = 32
QUIET_SECONDS = 0.1
WARM_UP_SECONDS = 4
SECONDS = 20
START_SECONDS_MAX = 30

KNOWN = """
WITH known AS (
    INSERT INTO conversation (business_id, canonical_key, version, last_customer_at,
        last_assistant_at, known_to, told_to, openai_conversation_id, created_at)
    SELECT 'hotel', 'phone:hotel:+' || t.phone, 9, now() - interval '2 minutes',
        now() - interval '1 minute', now() - interval '1 minute', now() - interval '2 minutes',
        t.ai_conversation, now() - interval '1 day'
    FROM unnest($1::text[], $2::text[]) AS t (phone, ai_conversation)
    RETURNING id, canonical_key
)
INSERT INTO address (business_id, kind, scope, value, conversation_id)
SELECT 'hotel', 'phone', '', split_part(canonical_key, ':', 3), id FROM known
"""

ENDED = """
SELECT count(*) FILTER (WHERE outcome = 'answered' AND ended_at > began.at + $1::interval) AS turns,
    extract(epoch FROM max(ended_at) - min(began.at) - $1::interval) AS seconds,
    count(*) FILTER (WHERE outcome = 'answered') AS answered,
    count(*) FILTER (WHERE verdict <> 'none' OR recall <> 'not_needed') AS unexpected,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - newest_at)) AS median
FROM turn, (SELECT min(ended_at) AS at FROM turn) AS began
WHERE ended_at IS NOT NULL
"""


async def per_second(cluster: Cluster, folder: Path, profile: Path | None) -> list[Result]:
    """Measure line 5."""
    async with AsyncExitStack() as stack:
        ai = await stack.enter_async_context(
            children.child("ai", {"key": KEY, "customers": CUSTOMERS})
        )
        wati = await stack.enter_async_context(children.child("provider", {"token": TOKEN}))
        outsides = Outsides(
            wati_url=(await children.heard(wati, START_SECONDS_MAX))["base_url"],
            openai_url=(await children.heard(ai, START_SECONDS_MAX))["base_url"],
            quiet_seconds=QUIET_SECONDS,
        )
        ours = await stack.enter_async_context(rig(cluster, folder, outsides, profile))
        await _know_everyone(ours)
        await children.tell(wati, _writing(ours.port))
        said = await children.heard(wati, SECONDS + START_SECONDS_MAX)
        [ended] = await ours.rows(ENDED, timedelta(seconds=WARM_UP_SECONDS))
    assert set(said["statuses"]) == {"200"}, said
    how = (
        f"{ended['turns']:,} turns in {float(ended['seconds']):.1f} s after {WARM_UP_SECONDS} s of "
        f"warming up, each of another known customer, {WAITING} at once; no recall but in "
        f"{ended['unexpected']}; median {float(ended['median']):.2f} s from message to ended turn, "
        f"{QUIET_SECONDS} s of them quiet time"
    )
    return [Result(5, RATE, ended["turns"] / float(ended["seconds"]), how)]


async def _know_everyone(ours: Rig) -> None:
    """Have customers who were answered a minute ago."""
    phones = [bodies.phone(customer) for customer in range(CUSTOMERS)]
    await ours.rows(KNOWN, phones, [ai_conversation(customer) for customer in range(CUSTOMERS)])
    await ours.rows("ANALYZE")


def _writing(port: int) -> dict[str, Any]:
    return {
        "port": port,
        "waiting": WAITING,
        "customers": CUSTOMERS,
        "connections": CONNECTIONS,
        "seconds": SECONDS,
    }
