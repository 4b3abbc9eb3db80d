"""How many customers may be at the AI at once, of each business and of all together.

Bursts that end wait here. A business with a free place and somebody who waits gets its turn, one
customer a turn, however many wait at the others; within a business the most overdue goes first.

The place is taken when a burst is closed and given back when its answer is stored, so nothing that
is committed as under way has to wait for one.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from relevo.messages import ConversationKey

PlacesOf = Callable[[str], int]


@dataclass(slots=True)
class _Business:
    """Who of a business waits, the most overdue on top, and how many of it are inside."""

    places_max: int
    waiting: list[tuple[datetime, ConversationKey]] = field(default_factory=list)
    inside: int = 0
    in_line: bool = False

    @property
    def may_line_up(self) -> bool:
        return bool(self.waiting) and self.inside < self.places_max and not self.in_line


class Gate:
    """Lets at most `places_max` customers through; tells the others when their turn has come."""

    def __init__(
        self,
        places_max: int,
        let_in: Callable[[ConversationKey], bool],
        places_of: PlacesOf | None = None,
    ) -> None:
        """`let_in` is told who has a place now, and tells whether the place is taken.

        `places_of` tells how many places a business may have; without it, all.
        """
        self._places_max = places_max
        self._let_in = let_in
        self._places_of = places_of or (lambda _business_id: places_max)
        self._inside: set[ConversationKey] = set()
        self._names: set[ConversationKey] = set()
        """Who waits; asking twice is waiting once."""
        self._businesses: dict[str, _Business] = {}
        self._line: deque[str] = deque()
        """Whose turn it is: the businesses where somebody waits and a place is free, each once."""

    @property
    def inside(self) -> int:
        """Return how many places are taken."""
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """Return how many customers wait."""
        return len(self._names)

    def ask(self, key: ConversationKey, due_at: datetime) -> None:
        """Let a customer in, now or when a place is free."""
        if key not in self._names:
            self._names.add(key)
            heapq.heappush(self._business(key.business_id).waiting, (due_at, key))
            self._line_up(key.business_id)
        self._admit()

    def hold(self, key: ConversationKey, *, inside: bool) -> None:
        """Say whether a customer is at the AI now."""
        if inside == (key in self._inside):
            return
        business = self._business(key.business_id)
        if inside:
            self._inside.add(key)
            business.inside += 1
        else:
            self._inside.discard(key)
            business.inside -= 1
            self._line_up(key.business_id)
            self._admit()

    def close(self) -> None:
        """Let nobody in any more."""
        self._places_max = 0

    def _business(self, business_id: str) -> _Business:
        business = self._businesses.get(business_id)
        if business is None:
            business = self._businesses[business_id] = _Business(self._places_of(business_id))
        return business

    def _line_up(self, business_id: str) -> None:
        business = self._businesses[business_id]
        if business.may_line_up:
            business.in_line = True
            self._line.append(business_id)

    def _admit(self) -> None:
        while self._line and len(self._inside) < self._places_max:
            business_id = self._line.popleft()
            business = self._businesses[business_id]
            business.in_line = False
            if business.may_line_up:
                _, key = heapq.heappop(business.waiting)
                self._names.discard(key)
                if self._let_in(key) and key not in self._inside:
                    self._inside.add(key)
                    business.inside += 1
                self._line_up(business_id)
