"""Reads Twilio's list of messages. Pure.

Sources: the vendor's documentation of the Message resource. Lists are filtered by the day on which
a message was sent, in GMT; their order is not documented, so everything of those days is read.

* A list shows one direction, so a history is two of them, and a third: what still waits in Twilio's
  queue has no day of sending, and whether the filter lets it through is not documented. The newest
  outbound ones are therefore asked for without it.
* Who of the business wrote is not said. Ours are known by their ids, to whoever matches them with
  our rows; answers in TwiML are a program's; anything else a person or another system has sent by
  the API, and it is shown as a colleague's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from relevo.errors import ProviderError
from relevo.http.fields import count_of, id_of, instant_of, read_object, text_of, word_of
from relevo.messages import Author, HistoryItem
from relevo.outcomes import History
from relevo.turns import RecallStatus

PAGE_SIZE = 500
QUEUE_SIZE = 20
"""How many of the newest are looked at for what waits in the queue."""

_NEVER_SAID = frozenset({"failed", "undelivered", "canceled", "scheduled"})
_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list, and the path of the next one; empty: there is none."""

    items: tuple[HistoryItem, ...]
    next_path: str


def queries(customer: str, line: str, since: datetime) -> tuple[Mapping[str, str], ...]:
    """Return the filters of the lists that make up a history, both directions and the queue."""
    # The name ends in ">", so that "DateSent>=2026-03-02" is what stands in the URL.
    sent = {"DateSent>": since.astimezone(UTC).date().isoformat(), "PageSize": str(PAGE_SIZE)}
    return (
        {"From": customer, "To": line, **sent},
        {"From": line, "To": customer, **sent},
        {"From": line, "To": customer, "PageSize": str(QUEUE_SIZE)},
    )


def history_page(body: bytes) -> Page:
    """Read a page. Raises `ProviderError` if it is none; a bad item is left out."""
    answer = read_object(body)
    messages = answer.get("messages") if answer is not None else None
    if answer is None or not isinstance(messages, list):
        raise ProviderError("unreadable")
    items = (_item(thing) for thing in messages if isinstance(thing, dict))
    next_path = text_of(answer.get("next_page_uri"))
    return Page(tuple(item for item in items if item is not None), next_path)


@dataclass(slots=True)
class Reading:
    """What a recall has found so far."""

    since: datetime
    _found: list[HistoryItem] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        # Twilio's clock has whole seconds: a message of this second may have been after `since`.
        self.since = self.since.replace(microsecond=0)

    def take(self, page: Page) -> None:
        """Take what was said after `since`; lists overlap."""
        for item in page.items:
            asked_for = item.event_at is None or item.event_at >= self.since
            if asked_for and self._seen.isdisjoint(item.keys):
                self._found.append(item)
            self._seen.update(item.keys)

    def ended(self, status: RecallStatus, reason: str = "") -> History:
        """Return what was found, oldest first; of one second, as the newest-first lists have it."""
        found = self._found[::-1]
        found.sort(key=lambda item: item.event_at or _LATEST)
        return History(status, tuple(found), reason)


def _item(thing: Mapping[str, Any]) -> HistoryItem | None:
    """Read one message; None for what no customer ever saw, and for what has no direction."""
    direction = word_of(thing.get("direction")).casefold()
    inbound = direction == "inbound"
    if not inbound and not direction.startswith("outbound"):
        return None
    if not inbound and word_of(thing.get("status")).casefold() in _NEVER_SAID:
        return None
    author = Author.AGENT if direction == "outbound-api" else Author.AUTOMATION
    sid, body = id_of(thing.get("sid")), text_of(thing.get("body"))
    event_at = _instant(thing.get("date_sent")) or _instant(thing.get("date_created"))
    return HistoryItem(
        0,
        Author.CUSTOMER if inbound else author,
        "other" if count_of(thing.get("num_media")) or not body else "text",
        body,
        event_at,
        (sid,) if sid else (),
    )


def _instant(value: object) -> datetime | None:
    """Read a time as RFC 2822 has it; ISO 8601 is Twilio's way elsewhere."""
    try:
        read = parsedate_to_datetime(text_of(value))
    except (ValueError, TypeError, OverflowError):
        return instant_of(value)
    try:
        return instant_of(read.isoformat())
    except (ValueError, OverflowError):
        return None
