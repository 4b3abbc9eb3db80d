"""A reading of a customer's history at WATI: what it has found, and when it is at its end.

Nothing in an answer of getMessages says for certain that it is the last page: a page may be shorter
than what was asked because nothing is older, or because the server gives no longer ones. The vendor
documents neither its longest page nor what surrounds the items (`grandTotal`, `pageSize` and
`link.nextPage` have been seen), so a page is the last one only if nothing it claims speaks against
that; where it claims nothing, the next page is asked for too. That costs a call of a scarce ten,
but only where the page does not reach back to what is asked for, and has `OWN_PAGE_MIN` things: a
server that pages by fewer has not been seen, and most new customers' histories are shorter.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

from relevo.http.wati_history import Page
from relevo.messages import HistoryItem
from relevo.outcomes import History
from relevo.turns import RecallStatus

OWN_PAGE_MIN = 10
"""A shorter page is not a server's own longest one."""

_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(eq=False, slots=True)
class Recall:
    """One reading of a customer's history, shared by all who ask for no more than it gives."""

    since: datetime
    urgent: bool
    ends_at: float
    shared: "asyncio.Future[History | None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    waits_for: str = "timeout"
    """The reason to give should the time end now."""
    begun: bool = False
    """The first page has been asked for."""
    _found: list[tuple[HistoryItem, datetime | None]] = field(default_factory=list)
    _seen: set[object] = field(default_factory=set)
    _latest: Page | None = None
    _length: int = 0
    _first_length: int = 0

    def __post_init__(self) -> None:
        # WATI's clock has whole seconds: a message of this second may have been after `since`.
        self.since = self.since.replace(microsecond=0)

    def serves(self, other: "Recall") -> bool:
        """Tell whether this reading gives what the other wants, and as soon.

        One that has begun does not: whoever asks later believes that what it does not bring was not
        said before they asked, and sends again what an answer under way is too old to have.
        """
        return not self.begun and self.since <= other.since and (self.urgent or not other.urgent)

    def take(self, page: Page, asked: int) -> RecallStatus | None:
        """Take a page of at most `asked` things; return how the reading ended if it did.

        An empty page is the end, whatever was claimed. A page that comes twice tells that the
        server does not turn pages: what else there is stays out of reach.
        """
        again = page == self._latest
        self._latest = page
        self._length += page.length
        self._first_length = self._first_length or page.length
        self._add(page)
        if self._reached_by(page) or not page.length:
            return RecallStatus.COMPLETE
        if again:
            return RecallStatus.TRUNCATED
        return RecallStatus.COMPLETE if self._is_last(page, asked) else None

    def _reached_by(self, page: Page) -> bool:
        """Tell whether a page reaches back past the asked instant, so the next ones are older."""
        return page.oldest_at is not None and page.oldest_at < self.since

    def _is_last(self, page: Page, asked: int) -> bool:
        if page.names_next or page.length >= asked or self._length < page.total:
            return False
        if page.size_max:
            return page.length < page.size_max
        own_max = max(self._first_length, OWN_PAGE_MIN)
        return page.total > 0 or page.length < own_max

    def _add(self, page: Page) -> None:
        """Take what the page brings: pages overlap when something arrives between two readings.

        What was sent before `since` but stored after it (a phone without network) is taken too:
        no earlier recall can have seen it.
        """
        for item, latest_at in page.entries:
            names: set[object] = {*item.keys} or {(item.author, item.body, item.event_at)}
            asked_for = latest_at is None or latest_at >= self.since
            if asked_for and self._seen.isdisjoint(names):
                self._found.append((item, latest_at))
            self._seen |= names

    def ended(self, status: RecallStatus, reason: str = "") -> History:
        """Return what was found, oldest first; WATI's storage time orders what shares a second."""

        def order(found: tuple[HistoryItem, datetime | None]) -> tuple[datetime, datetime]:
            item, latest_at = found
            return (item.event_at or _LATEST, latest_at or _LATEST)

        found = self._found[::-1]
        found.sort(key=order)
        return History(status, tuple(item for item, _ in found), reason)
