"""Messages that become context: told with the next answer, never answered (rules 9 and 11)."""

from collections.abc import Iterable
from dataclasses import replace

from relevo.messages import Fate, Message, Untold
from relevo.writes import Writes


def as_context(
    untold: tuple[Message, ...], message_ids: Iterable[int], writes: Writes
) -> tuple[tuple[Message, ...], Writes]:
    """Make context of these messages, in memory and in what is to be written."""
    ids = frozenset(message_ids)
    ordered = [m.id for m in untold if m.id in ids]
    return (
        tuple(replace(m, untold=Untold.CONTEXT) if m.id in ids else m for m in untold),
        replace(
            writes,
            fates=(*writes.fates, *((message_id, Fate.CONTEXT) for message_id in ordered)),
            untold=(*writes.untold, *((message_id, Untold.CONTEXT) for message_id in ordered)),
        ),
    )
