"""Lines 1 and 2: webhook, committed, 200; against a bare handler, and at a steady rate.

* Customers are met before anything is measured, then write again and again: message bodies as WATI
  posts them, distinct ids, so that every 200 must have a row of its own.
* Bursts stay open (quiet for an hour): the first message of each wakes its customer, who is read
  from the database before anything is measured; what is measured are the messages that follow. No
  turn is answered. Turns, and customers who are read, are line 5.
* Both servers are processes on uvloop, asked by the same callers over the same kind of connections,
  in rounds that alternate. The ratio is the median of those of neighbouring rounds, for the
  machine's own speed changes within seconds.
"""

from pathlib import Path
from statistics import median
from typing import Any

from bench import children
from bench.results import Promise, Result
from bench.rig import Outsides, Rig, rig
from tests.postgres import Cluster

RATIO = Promise("webhook → committed → 200, against a bare aiohttp handler", 0.50, 0.35, "")
P99 = Promise("the same at 1,000/s open loop: p99", 25, 100, "ms", more_is_better=False)
LOST = Promise("the same: answered 200 and not stored", 0, 0, "", more_is_better=False)

CUSTOMERS = 12_000
CONNECTIONS = 256
ROUNDS = 9
ROUND_REQUESTS = 8_000
PER_SECOND = 1_000
OPEN_LOOP_SECONDS = 15
SECONDS_MAX = 90


async def against_bare(cluster: Cluster, folder: Path, profile: Path | None) -> list[Result]:
    """Measure line 1."""
    outcomes: dict[str, list[float]] = {"bare": [], "relevo": []}
    async with rig(cluster, folder, Outsides(), profile) as ours, children.child("bare") as bare:
        bare_port = (await children.heard(bare, SECONDS_MAX))["port"]
        first = await _meet(ours)
        await _load(bare_port, 0, ROUND_REQUESTS)
        for _ in range(ROUNDS):
            outcomes["bare"].append(_rate(await _load(bare_port, first, ROUND_REQUESTS)))
            outcomes["relevo"].append(_rate(await _load(ours.port, first, ROUND_REQUESTS)))
            first += ROUND_REQUESTS
        stored = await _stored(ours)
    assert stored == first, f"{first} messages were answered 200, {stored} are stored"
    per_second = {name: median(rates) for name, rates in outcomes.items()}
    ratios = sorted(r / b for r, b in zip(outcomes["relevo"], outcomes["bare"], strict=True))
    how = (
        f"{per_second['relevo']:,.0f} against {per_second['bare']:,.0f} requests/s, medians of "
        f"{ROUNDS} pairs of rounds of {ROUND_REQUESTS:,} over {CONNECTIONS} connections; "
        f"the pairs' ratios were {ratios[0]:.2f} to {ratios[-1]:.2f}"
    )
    return [Result(1, RATIO, median(ratios), how)]


async def at_a_rate(cluster: Cluster, folder: Path, profile: Path | None) -> list[Result]:
    """Measure line 2."""
    async with rig(cluster, folder, Outsides(), profile) as ours:
        met = await _meet(ours)
        said = await _load(ours.port, met, PER_SECOND * OPEN_LOOP_SECONDS, PER_SECOND)
        lost = met + said["statuses"].get("200", 0) - await _stored(ours)
    how = (
        f"p50 {said['p50_ms']:.1f} ms, p99 {said['p99_ms']:.1f} ms, slowest "
        f"{said['max_ms']:.0f} ms, from when each of {PER_SECOND * OPEN_LOOP_SECONDS:,} was due"
    )
    answers = ", ".join(f"{count:,} times {status}" for status, count in said["statuses"].items())
    return [Result(2, P99, said["p99_ms"], how), Result(2, LOST, lost, answers)]


async def _meet(ours: Rig) -> int:
    """Have every customer write once; return how many messages that makes."""
    said = await _load(ours.port, 0, CUSTOMERS)
    assert said["statuses"] == {"200": CUSTOMERS}, said
    await ours.rows("ANALYZE")  # as the database does by itself, within seconds
    return CUSTOMERS


async def _load(port: int, first: int, count: int, per_second: int = 0) -> Any:
    order = {
        "port": port,
        "first": first,
        "count": count,
        "customers": CUSTOMERS,
        "connections": CONNECTIONS,
        "per_second": per_second,
    }
    return await children.done("load", order, SECONDS_MAX)


def _rate(said: Any) -> float:
    assert set(said["statuses"]) == {"200"}, f"not everything was accepted: {said['statuses']}"
    return float(sum(said["statuses"].values()) / said["seconds"])


async def _stored(ours: Rig) -> int:
    [row] = await ours.rows("SELECT count(*) AS messages FROM message")
    return int(row["messages"])
