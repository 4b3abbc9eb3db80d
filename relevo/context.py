"""Messages that become context: told with the next answer, not answered (rules 9, 10 and 11)."""

from collections.abc import Iterable
from dataclasses import replace

from relevo.messages import Fate, Message, Untold
from relevo.writes import Writes

Kept = tuple[tuple[Message, ...], Writes]


def as_context(untold: tuple[Message, ...], message_ids: Iterable[int], writes: Writes) -> Kept:
    """Make context of these messages, in memory and in what is to be written."""
    return _kept(untold, frozenset(message_ids), writes, (Untold.CONTEXT, Fate.CONTEXT))


def as_held(untold: tuple[Message, ...], message_ids: Iterable[int], writes: Writes) -> Kept:
    """Hold these messages: context, which a person may still ask us to answer."""
    return _kept(untold, frozenset(message_ids), writes, (Untold.HELD, Fate.HELD))


def _kept(
    untold: tuple[Message, ...],
    ids: frozenset[int],
    writes: Writes,
    becomes: tuple[Untold, Fate],
) -> Kept:
    waits, fate = becomes
    ordered = [m.id for m in untold if m.id in ids]
    return (
        tuple(replace(m, untold=waits) if m.id in ids else m for m in untold),
        replace(
            writes,
            fates=(*writes.fates, *((message_id, fate) for message_id in ordered)),
            untold=(*writes.untold, *((message_id, waits) for message_id in ordered)),
        ),
    )
