"""Deadlines: one heap for all customers, one timer of the clock for the earliest of them.

A deadline is an instant in the data, so it survives a restart; overdue ones ring oldest first.
"""

import heapq
from collections.abc import Callable
from datetime import datetime

from relevo.clock import Alarm, Clock
from relevo.messages import ConversationKey

Ring = Callable[[ConversationKey, datetime, bool], None]

STALE_SHARE_MAX = 2
"""The heap is rebuilt when it holds this many times more entries than alarms that count."""


class Alarms:
    """At most one alarm a customer; setting another replaces it."""

    def __init__(self, clock: Clock, ring: Ring) -> None:
        """`ring` is called with the customer, the instant that was set, and whether it is gated."""
        self._clock = clock
        self._ring = ring
        self._set: dict[ConversationKey, tuple[datetime, bool]] = {}
        self._heap: list[tuple[datetime, ConversationKey]] = []
        self._timer: Alarm | None = None
        self._timer_at: datetime | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._set)

    def set(self, key: ConversationKey, at: datetime, *, gated: bool) -> None:
        """Have `ring` called at `at`, instead of whatever was set for this customer."""
        if self._stopped or self._set.get(key) == (at, gated):
            return
        self._set[key] = (at, gated)
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > STALE_SHARE_MAX * len(self._set) + 64:
            self._heap = [(when, whose) for whose, (when, _) in self._set.items()]
            heapq.heapify(self._heap)
        self._arm()

    def drop(self, key: ConversationKey) -> None:
        """Forget this customer's alarm."""
        self._set.pop(key, None)

    def stop(self) -> None:
        """Never ring again, whatever is set from now on."""
        self._stopped = True
        self._set.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if not self._heap or self._timer_at == self._heap[0][0]:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._heap[0][0]
        self._timer = self._clock.call_at(self._timer_at, self._fire)

    def _fire(self) -> None:
        self._timer = self._timer_at = None
        try:
            self._ring_due()
        finally:
            self._arm()  # also after a bug in one of them: the others still wait for theirs

    def _ring_due(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            found = self._set.get(key)
            if found is not None and found[0] == at:
                del self._set[key]
                self._ring(key, at, found[1])
