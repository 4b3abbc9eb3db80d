"""A batch of messages as the columns that the ingest statement takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from relevo.messages import InboundMessage

Columns = tuple[Any, ...]

SEPARATOR = "\x1f"
"""U+001F, the unit separator: a control character that no keyboard writes."""


@dataclass(slots=True)
class Placed:
    """A message with everything it takes to find or make its conversation.

    `owner` is the index of its delivery; `addresses` are (kind, scope, value), the most lasting
    first; twins in one batch add their ids to `keys`, and addresses that it lacks.
    """

    owner: int
    business_id: str
    channel_id: str
    canonical_key: str
    keys: list[str]
    addresses: list[tuple[str, str, str]]
    message: InboundMessage
    event_at: datetime
    received_at: datetime
    written: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """How the provider spells addresses of which there is another spelling; it is written to so."""


def columns(placed: list[Placed]) -> Columns:
    """Return the parameters of `deliver` but its last: items, their ids, their addresses."""
    items = [
        (
            ordinal,
            item.event_at,
            item.received_at,
            item.business_id,
            item.channel_id,
            item.keys[0],
            item.addresses[0][0],
            item.written.get(item.addresses[0], item.addresses[0][2]),
            item.message.author.value,
            item.message.author_name,
            item.message.kind,
            item.message.body,
            item.message.media,
        )
        for ordinal, item in enumerate(placed)
    ]
    aliases = [(ordinal, key) for ordinal, item in enumerate(placed) for key in item.keys]
    reach = [
        (ordinal, rank, *address)
        for ordinal, item in enumerate(placed)
        for rank, address in enumerate(item.addresses)
    ]
    return tuple(
        _joined(column) if isinstance(column[0], str) else column
        for rows in (items, aliases, reach)
        for column in zip(*rows, strict=True)
    )


def mending(placed: Sequence[Placed]) -> tuple[list[Columns], list[Columns]]:
    """Return the parameters of `mend` as rows: addresses with their ranks, and ids."""
    numbered = list(enumerate(placed))
    reach = [
        (ordinal, rank, item.business_id, *address)
        for ordinal, item in numbered
        for rank, address in enumerate(item.addresses)
    ]
    names = [
        (ordinal, item.business_id, item.channel_id, key)
        for ordinal, item in numbered
        for key in item.keys
    ]
    return reach, names


def _joined(texts: tuple[str, ...]) -> str:
    """Return the texts as one, each after a separator, which none of them keeps in itself."""
    joined = SEPARATOR.join(("", *texts))
    if joined.count(SEPARATOR) > len(texts):
        return SEPARATOR.join(("", *(text.replace(SEPARATOR, " ") for text in texts)))
    return joined
