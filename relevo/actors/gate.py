"""How many customers may be at the AI at once. Bursts that end wait here, the most overdue first.

The place is taken when a burst is closed and given back when its answer is stored, so nothing that
is committed as under way has to wait for one.
"""

import heapq
from collections.abc import Callable
from datetime import datetime

from relevo.messages import ConversationKey


class Gate:
    """Lets at most `places_max` customers through; tells the others when their turn has come."""

    def __init__(self, places_max: int, let_in: Callable[[ConversationKey], bool]) -> None:
        """`let_in` is told who has a place now, and tells whether the place is taken."""
        self._places_max = places_max
        self._let_in = let_in
        self._inside: set[ConversationKey] = set()
        self._waiting: list[tuple[datetime, ConversationKey]] = []
        self._names: set[ConversationKey] = set()
        """Who waits; asking twice is waiting once."""

    @property
    def inside(self) -> int:
        """Return how many places are taken."""
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """Return how many customers wait."""
        return len(self._waiting)

    def ask(self, key: ConversationKey, due_at: datetime) -> None:
        """Let a customer in, now or when a place is free."""
        if key not in self._names:
            self._names.add(key)
            heapq.heappush(self._waiting, (due_at, key))
        self._admit()

    def hold(self, key: ConversationKey, *, inside: bool) -> None:
        """Say whether a customer is at the AI now."""
        if inside:
            self._inside.add(key)
        elif key in self._inside:
            self._inside.discard(key)
            self._admit()

    def close(self) -> None:
        """Let nobody in any more."""
        self._places_max = 0

    def _admit(self) -> None:
        while self._waiting and len(self._inside) < self._places_max:
            _, key = heapq.heappop(self._waiting)
            self._names.discard(key)
            if self._let_in(key):
                self._inside.add(key)
