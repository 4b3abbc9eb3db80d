"""One message, one row (rule 5): what the history tells is matched with what we have, one to one.

By any id first; else by side, content and event time within 2 s, the nearest first. Our own sends
are matched more loosely in time: they are dated by our clock, before or after the provider has
accepted them by its own. One item proves at most one row.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from relevo.messages import (
    TEXT_KINDS,
    Author,
    HistoryItem,
    Message,
    Source,
    Untold,
    correlation_key,
)
from relevo.turns import Part
from relevo.writes import Absorbed

SAME_MOMENT = timedelta(seconds=2)
"""Two clocks of one provider agree to this; the best of them has a resolution of one second."""

OUR_SENDS_WITHIN = timedelta(seconds=120)
"""So far the provider's time of a send of ours and ours may lie apart, either way: clocks differ,
and an answer to a send may be slow."""


@dataclass(frozen=True, slots=True)
class Matched:
    """What a recall found: `new` to us, ids `learned` for known rows, pairs `by_content`."""

    new: tuple[HistoryItem, ...]
    learned: tuple[tuple[int, str], ...]
    known: int
    by_content: int


OUR_SOURCES = frozenset({Source.TURN, Source.SCHEDULE, Source.API})
"""What has such a source has left, if at all, through us."""


def match_history(items: tuple[HistoryItem, ...], rows: tuple[Message, ...]) -> Matched:
    """Match history items with our rows of the same window."""
    rows = tuple(row for row in rows if row.untold is not Untold.DUE)  # nobody has said those yet
    by_key = {key: row for row in rows for key in row.keys}
    pairs: list[tuple[HistoryItem, Message]] = []
    unmatched: list[HistoryItem] = []
    for item in items:
        row = next((by_key[key] for key in item.keys if key in by_key), None)
        if row is None:
            unmatched.append(item)
        else:
            pairs.append((item, row))
    taken = {row.id for _, row in pairs}
    free = [row for row in rows if row.id not in taken]
    new: list[HistoryItem] = []
    new_keys: set[str] = set()
    by_content = 0
    for item in unmatched:
        if not new_keys.isdisjoint(item.keys):
            continue  # the same message, listed twice
        row = _nearest(item, free)
        if row is None:
            new.append(item)
            new_keys.update(item.keys)
            continue
        free.remove(row)
        pairs.append((item, row))
        by_content += 1
    learned = tuple(
        (row.id, key) for item, row in pairs for key in item.keys if key not in row.keys
    )
    return Matched(tuple(new), learned, known=len(pairs), by_content=by_content)


def find_send(
    part: Part, items: tuple[HistoryItem, ...], rows: tuple[Message, ...]
) -> HistoryItem | None:
    """Return the history item that proves that a part in doubt was sent, if there is one.

    By correlation id, else by content among the outbound items that prove no other row.
    """
    correlated = correlation_key(part.correlation_id)
    assert part.first_started_at is not None
    earliest = part.first_started_at - OUR_SENDS_WITHIN
    for item in items:
        if correlated in item.keys:
            return item
    others = tuple(row for row in rows if row.id != part.message_id)
    for item in match_history(items, others).new:
        if (
            item.author is not Author.CUSTOMER
            and item.event_at is not None
            and item.event_at >= earliest
            and same_text(item.body, part.text)
        ):
            return item
    return None


def absorb(
    untold: Iterable[Message], witnesses: tuple[Message, ...], taken: frozenset[int]
) -> tuple[Absorbed, ...]:
    """Find webhook rows among `untold` that are the same message as a stored row.

    A row from history that is neither told nor in a turn (`taken`) gives way to the webhook's,
    which so becomes unread again. So does one that was imported: it counts as told and nobody has
    told it, and what comes by webhook is never silenced by an older system's copy. Every other one
    stays and takes in the webhook's.
    """
    free = [w for w in witnesses if w.source is not Source.WEBHOOK and w.untold is not Untold.DUE]
    absorbed = []
    for message in untold:
        if message.source is not Source.WEBHOOK or message.id in taken:
            continue
        row = _nearest(message, [w for w in free if w.id != message.id])
        if row is None:
            continue
        free.remove(row)
        recalled = message.inbound and row.untold is Untold.CONTEXT and row.id not in taken
        if recalled or row.source is Source.IMPORT:
            absorbed.append(Absorbed(duplicate=row.id, kept=message.id, by_webhook=False))
        else:
            absorbed.append(Absorbed(duplicate=message.id, kept=row.id, by_webhook=True))
    return tuple(absorbed)


def without_duplicates(
    messages: tuple[Message, ...], absorbed: tuple[Absorbed, ...]
) -> tuple[Message, ...]:
    """Return the rows as they are once each of these pairs has become one."""
    gone = {pair.duplicate for pair in absorbed}
    confirmed = {pair.kept for pair in absorbed if pair.by_webhook}
    return tuple(
        replace(m, source=Source.WEBHOOK) if m.id in confirmed and m.source is Source.HISTORY else m
        for m in messages
        if m.id not in gone
    )


def same_text(one: str, other: str) -> bool:
    """Compare bodies as providers keep them: outer white space is theirs to change."""
    return one.strip() == other.strip()


def _nearest(item: HistoryItem | Message, rows: list[Message]) -> Message | None:
    candidates = [row for row in rows if _may_be_same(item, row)]
    if not candidates or item.event_at is None:
        return None
    moment = item.event_at
    return min(candidates, key=lambda row: (abs(row.event_at - moment), row.id))


def _may_be_same(item: HistoryItem | Message, row: Message) -> bool:
    if item.event_at is None or not row.timed or not _same_content(item, row):
        return False
    if (item.author is Author.CUSTOMER) != row.inbound:
        return False
    ours = row.author is Author.ASSISTANT or row.source in OUR_SOURCES
    apart_max = OUR_SENDS_WITHIN if ours else SAME_MOMENT
    return abs(item.event_at - row.event_at) <= apart_max


def _same_content(item: HistoryItem | Message, row: Message) -> bool:
    """Compare what was said. Of a medium one side may give the caption and the other nothing.

    A history may also call `audio` what the webhook called `voice`.
    """
    if same_text(item.body, row.body):
        return item.kind == row.kind or {item.kind, row.kind} == {"audio", "voice"}
    one_is_bare = not item.body.strip() or not row.body.strip()
    return item.kind == row.kind and item.kind not in TEXT_KINDS and one_is_bare
