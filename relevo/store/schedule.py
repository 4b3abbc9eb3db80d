"""What was scheduled is queued when its time has come, by whichever process sees it first.

Rounds over the businesses that have something due, a batch of each, so that no campaign keeps a
colleague of another business waiting. Conversations that somebody is at work in are passed over
until the next look, so processes share the work and none waits for another. Of one business only
so much is queued at once: the rest follows as that leaves, or is refused when it is too late.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from relevo.errors import StoreUnavailableError
from relevo.messages import ConversationKey
from relevo.store.means import Means
from relevo.store.outgoing import queue
from relevo.store.pools import connected
from relevo.store.sql import statements

BATCH_MAX = 100
"""Sends of one business that one transaction queues."""

QUEUED_MAX = 2_000
"""Messages of one business that are due and have not begun to leave, before no more are queued."""


class Schedule:
    """Queues what is due, and wakes its customers."""

    def __init__(
        self,
        means: Means,
        late_after: Mapping[str, timedelta],
        wake: Callable[[ConversationKey], None],
        gone: Callable[[str, int], None] = lambda _outcome, _sends: None,
    ) -> None:
        """`late_after` says of each business that is served how late something is still said.

        `gone` hears how many scheduled sends were `queued`, or refused: by the reason.
        """
        self._means = means
        self._late_after = late_after
        self._wake = wake
        self._gone = gone
        self._sql = statements("outgoing")
        self._expected_at: datetime | None = None
        self._nudged = asyncio.Event()
        self._resting = False

    @property
    def at_rest(self) -> bool:
        """Tell whether everything is done that could be done by now."""
        return self._resting and not self._nudged.is_set()

    def expect(self, due_at: datetime) -> None:
        """Be there then: something was scheduled."""
        if self._expected_at is None or due_at < self._expected_at:
            self._expected_at = due_at
            self._nudged.set()

    async def look(self) -> datetime | None:
        """Queue everything that is due; return when more will be, as far as is known.

        Raises:
            StoreUnavailableError: if the database cannot be reached; whatever was queued is.
        """
        now = self._means.clock.now()
        first = await self._first_due()
        if due := [business_id for business_id, at in first.items() if at <= now]:
            while due:
                due = [business_id for business_id in due if await self._batch(business_id, now)]
            first = await self._first_due()
        return min((at for at in first.values() if at > now), default=None)

    async def keep_for_ever(self, every_seconds: float) -> None:
        """Look whenever something is due, and now and then: other processes schedule too."""
        clock = self._means.clock
        while True:
            self._nudged.clear()
            try:
                next_at = await self.look()
            except StoreUnavailableError:
                next_at = None
            except Exception:
                # A bug, and reported as one; what is scheduled must not wait for a restart.
                self._means.tasks.spawn(self._rest_and_keep(every_seconds), "schedule")
                raise
            await self._rest(next_at, clock.now() + timedelta(seconds=every_seconds))

    async def _rest_and_keep(self, every_seconds: float) -> None:
        await self._rest(None, self._means.clock.now() + timedelta(seconds=every_seconds))
        await self.keep_for_ever(every_seconds)

    async def _rest(self, next_at: datetime | None, latest: datetime) -> None:
        clock = self._means.clock
        if self._expected_at is not None and self._expected_at <= clock.now():
            self._expected_at = None
        until = min(at for at in (next_at, self._expected_at, latest) if at is not None)
        alarm = clock.call_at(until, self._nudged.set)
        self._resting = True
        try:
            await self._nudged.wait()
        finally:
            self._resting = False
            alarm.cancel()

    async def _first_due(self) -> dict[str, datetime]:
        """Return when each business has something to say next, if it has."""
        async with connected(self._means.pools.sweep) as connection:
            rows = await connection.fetch(self._sql["first_due"], list(self._late_after))
        return {row["business_id"]: row["due_at"] for row in rows if row["due_at"] is not None}

    async def _batch(self, business_id: str, now: datetime) -> bool:
        """Queue what is due longest; tell whether there may be more."""
        with self._means.timed("schedule"):
            async with self._means.pools.tenant(business_id) as connection:
                room = QUEUED_MAX - await connection.fetchval(self._sql["queued_of"], business_id)
                limit = max(0, min(BATCH_MAX, room))
                rows = await connection.fetch(self._sql["due"], business_id, now, limit)
                which = (business_id, [row["id"] for row in rows], now)
                queued = await queue(connection, *which, self._late_after[business_id])
        for outcome, sends in Counter(queued.outcomes).items():
            self._gone(outcome, sends)
        for conversation_id in queued.conversation_ids:
            self._wake(ConversationKey(business_id, conversation_id))
        return len(rows) == BATCH_MAX
