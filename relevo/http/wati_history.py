"""Reads WATI's pages of history. Pure.

Sources: the vendor's REST documentation, versions 2.2 to 2.6. Only `messages.items` is sure there;
what an answer says of its paging differs from tenant to tenant, in place, spelling and type.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from relevo.errors import ProviderError
from relevo.http.fields import count_of, id_of, read_object, text_of, truth_of
from relevo.http.wati_fields import (
    Thing,
    body_of,
    event_at_of,
    family_of,
    has_text,
    keys_of,
    kind_of,
    latest_at_of,
    outbound_author,
)
from relevo.messages import Author, HistoryItem

_SIZES = ("pageSize", "page_size")
_TOTALS = ("grandTotal", "total", "totalCount")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of history: its messages, how many things were on it, how far back it reaches.

    An entry's instant is the latest that WATI gives for it, sent or stored. `length` counts
    everything, also tickets and what could not be read. `oldest_at` is the oldest of the latest
    instants. The rest is what the answer claims, and 0 or False where it does not: the most that a
    page holds, how many things all pages hold, and that there is a next one.
    """

    entries: tuple[tuple[HistoryItem, datetime | None], ...]
    length: int
    oldest_at: datetime | None
    size_max: int = 0
    total: int = 0
    names_next: bool = False


def history_page(body: bytes, assistant_operator: str) -> Page:
    """Read an answer of getMessages. Raises `ProviderError` if it is none; a bad item is left out.

    `messages` may be null; the pages of a customer without any are.
    """
    answer = read_object(body)
    if answer is None or "messages" not in answer:
        raise ProviderError("unreadable")
    if truth_of(answer.get("result")) is False:
        raise ProviderError("result_false")
    messages, claims = answer["messages"], [answer]
    if isinstance(messages, dict) and "items" in messages:
        claims.append(messages)
        messages = messages["items"]
    if not isinstance(messages, list | None):
        raise ProviderError("unreadable")
    claims += [link for claim in claims if isinstance(link := claim.get("link"), dict)]
    things = [(thing, latest_at_of(thing)) for thing in messages or () if isinstance(thing, dict)]
    return Page(
        entries=tuple(
            (item, latest_at)
            for thing, latest_at in things
            if (item := _history_item(thing, assistant_operator)) is not None
        ),
        length=len(messages or ()),
        oldest_at=min((time for _, time in things if time is not None), default=None),
        size_max=_claimed(claims, _SIZES),
        total=_claimed(claims, _TOTALS),
        names_next=any(id_of(claim.get("nextPage")) for claim in claims),
    )


def _claimed(claims: Sequence[Thing], names: Sequence[str]) -> int:
    """Return the greatest count that goes by one of these names: in doubt there is more to read."""
    return max(count_of(claim.get(name)) for claim in claims for name in names)


def _history_item(thing: Thing, assistant_operator: str) -> HistoryItem | None:
    """Read one message; None for tickets and for what belongs to no readable side."""
    family, owner = family_of(thing), truth_of(thing.get("owner"))
    keys, event_at = keys_of(thing), event_at_of(thing)
    if family == "broadcastMessage":
        body = text_of(thing.get("finalText")) or text_of(thing.get("text"))
        return HistoryItem(0, Author.AUTOMATION, "template", body, event_at, keys)
    if family not in ("message", "") or owner is None or not has_text(thing):
        return None
    author, name = outbound_author(thing, assistant_operator) if owner else (Author.CUSTOMER, "")
    kind = kind_of(thing)
    return HistoryItem(0, author, kind, body_of(thing, kind), event_at, keys, name)
