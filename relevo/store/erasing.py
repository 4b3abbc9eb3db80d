"""Erasing at the AI what was noted when a customer was forgotten, or what was too old of him.

A note goes when the AI has said that nothing is left of what it names. Each is safe to repeat, so
several processes may be about the same ones. An AI that is away is asked again by the next round.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from relevo.clock import Clock, sleep
from relevo.events import AnswerFailure
from relevo.outcomes import NoAnswer
from relevo.store.pools import connected
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Pools

NOTES_MAX = 1000
"""Dealt with in one round."""

WAITS_SECONDS = (1.0, 2.0, 4.0)
"""Before it is tried again; a conversation in which a call still runs is free in seconds."""

WAIT_SECONDS_MAX = 30.0

FAILED_IN_A_ROW_MAX = 3
"""Then the AI is away, or will not: the rest is left to the next round."""

FINAL = frozenset({AnswerFailure.PERMANENT, AnswerFailure.POLICY})


class Eraser(Protocol):
    """The AI of a business, as far as it can forget."""

    async def erase(self, kept: str) -> NoAnswer | None:
        """Erase a conversation with all its items, or a response. None: nothing of it is left."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of the notes of a business."""

    done: int
    left: int
    reason: str = ""
    """A word for why something is left."""


async def erase_noted(
    pools: "Pools",
    business_id: str,
    eraser: Eraser,
    clock: Clock,
    *,
    waits_seconds: tuple[float, ...] = (),
) -> Erased:
    """Erase at the AI what is noted for a business, a thousand things at most.

    `waits_seconds`: the pauses before something is tried again; a person waits for them.

    Raises:
        StoreUnavailableError: if the database cannot be reached.
    """
    sql = statements("forgetting")
    async with pools.tenant(business_id) as connection:
        rows = await connection.fetch(sql["to_erase"], business_id, NOTES_MAX)
    done, failed, reason = 0, 0, ""
    for kept in (row["id"] for row in rows):
        failure = await _erase(eraser, kept, clock, waits_seconds)
        if failure is None:
            async with pools.tenant(business_id) as connection:
                await connection.execute(sql["erased"], business_id, kept)
            done, failed = done + 1, 0
            continue
        failed, reason = failed + 1, failure.reason
        if failed >= FAILED_IN_A_ROW_MAX:
            break
    async with pools.tenant(business_id) as connection:
        left = await connection.fetchval(sql["count_to_erase"], business_id)
    return Erased(done, left, reason if left else "")


async def businesses_noted(pools: "Pools") -> list[str]:
    """Return the businesses of which something is left to be erased at the AI."""
    async with connected(pools.sweep) as connection:
        rows = await connection.fetch(statements("sweep")["erasing"])
    return sorted(row["business_id"] for row in rows)


async def _erase(
    eraser: Eraser, kept: str, clock: Clock, waits_seconds: tuple[float, ...]
) -> NoAnswer | None:
    for wait_seconds in waits_seconds:
        failure = await eraser.erase(kept)
        if failure is None or failure.failure in FINAL:
            return failure
        seconds = max(wait_seconds, failure.retry_after_seconds or 0.0)
        await sleep(clock, min(seconds, WAIT_SECONDS_MAX))
    return await eraser.erase(kept)
