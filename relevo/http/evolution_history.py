"""Reads a customer's history at Evolution: its pages, and which of them to ask for. Pure.

Sources: Evolution API 2.3.6 and 2.3.7 (`whatsapp.baileys.service.ts`, `fetchMessages`).

* Pages come newest first; `offset` is a page's size. A filter for time is obeyed only if it has
  both ends, and an edited message has the time of its edit: none is used, pages are read until one
  reaches back past the asked instant. So the first page also shows under which JIDs a chat goes.
* Rows of one customer lie under the phone, the lid, or one with the other beside it; what is
  filtered by is ignored or combined differently from version to version. So each JID is asked for
  in either place by itself, and every row is looked at again: a filter may be ignored altogether.
* Nothing has a unique id but the message's own key: a row may come twice.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from relevo.errors import ProviderError
from relevo.http.evolution_fields import (
    Content,
    Thing,
    address_of,
    addresses_of,
    chat_of_many,
    content_of,
    event_at_of,
    jid_of,
    key_id_of,
    part_of,
)
from relevo.http.fields import count_of, read_json, truth_of
from relevo.messages import Address, Author, HistoryItem
from relevo.outcomes import History
from relevo.turns import RecallStatus

JIDS_MAX = 4
"""Under which one customer is asked for; a person has one phone and one lid."""

_LATEST = datetime.max.replace(tzinfo=UTC)


class Question(NamedTuple):
    """One page of the rows that have this address in this field of their key."""

    field: str
    address: Address
    page: int = 1

    def body(self, size: int) -> dict[str, Any]:
        """Return it as findMessages wants it."""
        where = {"key": {self.field: jid_of(self.address)}}
        return {"where": where, "page": self.page, "offset": size}


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its rows, and how many pages the answer says there are; 0 if it does not."""

    rows: tuple[Thing, ...]
    length: int
    pages: int


def bare(address: Address) -> Address:
    """Return an address as it stands in a JID: a phone without its plus."""
    return Address(address.kind, address.value.lstrip("+"))


def history_page(body: bytes) -> Page:
    """Read an answer of findMessages. Raises `ProviderError` if it is none."""
    try:
        answer = read_json(body)
    except ValueError:
        raise ProviderError("unreadable") from None
    messages = answer.get("messages") if isinstance(answer, dict) else answer
    claims = messages if isinstance(messages, dict) else {}
    records = claims.get("records") if claims else messages
    if not isinstance(records, list):
        raise ProviderError("unreadable")
    rows = tuple(row for row in records if isinstance(row, dict))
    return Page(rows, len(records), count_of(claims.get("pages")))


@dataclass(slots=True)
class Reading:
    """One reading of a customer's history, page by page."""

    address: Address
    since: datetime
    others: tuple[Address, ...] = ()
    """Under which webhooks have named the same person: rows may tell only one of them."""
    _names: set[Address] = field(default_factory=set)
    _questions: deque[Question] = field(default_factory=deque)
    _found: list[HistoryItem] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _latest: Page | None = None
    _stuck: bool = False

    def __post_init__(self) -> None:
        # WhatsApp's clock has whole seconds: a message of this second may have been after `since`.
        self.since = self.since.replace(microsecond=0)
        for address in (bare(self.address), *self.others):
            self._ask_for(address)

    @property
    def question(self) -> Question | None:
        """What to ask next; None: all is read."""
        return self._questions[0] if self._questions else None

    def take(self, page: Page, asked: int) -> Question | None:
        """Take the answer to the question, a page of at most `asked` rows; return the next one."""
        question = self._questions.popleft()
        again = question.page > 1 and page.length > 0 and page == self._latest
        self._latest = page
        for row in page.rows:
            self._take(row)
        self._stuck |= again
        if not again and not self._is_last(page, question.page, asked):
            self._questions.appendleft(question._replace(page=question.page + 1))
        return self.question

    def ended(self, status: RecallStatus, reason: str = "") -> History:
        """Return what was found, oldest first."""
        found = self._found[::-1]
        found.sort(key=lambda item: item.event_at or _LATEST)
        if status is RecallStatus.COMPLETE and self._stuck:
            status, reason = RecallStatus.TRUNCATED, "pages"
        return History(status, tuple(found), reason)

    def _ask_for(self, address: Address) -> None:
        if address in self._names or len(self._names) >= JIDS_MAX or not jid_of(address):
            return
        self._names.add(address)
        self._questions += (Question(name, address) for name in ("remoteJid", "remoteJidAlt"))

    def _is_last(self, page: Page, number: int, asked: int) -> bool:
        times = [at for row in page.rows if (at := event_at_of(row)) is not None]
        if not page.length or (times and min(times) < self.since):
            return True
        return number >= page.pages if page.pages else page.length < asked

    def _take(self, row: Thing) -> None:
        key = part_of(row, "key")
        key_id, ours, at = key_id_of(key), truth_of(key.get("fromMe")), event_at_of(row)
        named = {address_of(key.get(name)) for name in ("remoteJid", "remoteJidAlt", "senderPn")}
        if chat_of_many(key) or ours is None or self._names.isdisjoint(named - {None}):
            return
        for address in addresses_of(key, None):  # of a message of ours only the first
            self._ask_for(address)
        content = content_of(row)
        if not key_id or key_id in self._seen or not isinstance(content, Content):
            return
        self._seen.add(key_id)
        if at is None or at >= self.since:
            author = Author.AGENT if ours else Author.CUSTOMER
            self._found.append(HistoryItem(0, author, content.kind, content.body, at, (key_id,)))
