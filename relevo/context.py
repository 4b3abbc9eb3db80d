"""Messages that become context: told with the next answer, not answered (rules 9, 10 and 11).

Or that are not told at all, because they were taken back.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from relevo.messages import Fate, Message, Untold
from relevo.people import split
from relevo.turns import Rules
from relevo.writes import Writes

Kept = tuple[tuple[Message, ...], Writes]


def as_context(untold: tuple[Message, ...], message_ids: Iterable[int], writes: Writes) -> Kept:
    """Make context of these messages, in memory and in what is to be written."""
    return _kept(untold, frozenset(message_ids), writes, (Untold.CONTEXT, Fate.CONTEXT))


def as_held(untold: tuple[Message, ...], message_ids: Iterable[int], writes: Writes) -> Kept:
    """Hold these messages: context, which a person may still ask us to answer."""
    return _kept(untold, frozenset(message_ids), writes, (Untold.HELD, Fate.HELD))


def holding(
    rules: Rules, untold: tuple[Message, ...], taken: Collection[int], writes: Writes
) -> Kept:
    """Hold what came while a human has the chat, but for what a turn has taken."""
    came = tuple(m for m in untold if m.untold is Untold.UNREAD and m.id not in taken)
    held = split(rules, writes.conversation, came, untold).held
    return as_held(untold, (m.id for m in held), writes)


def without_revoked(untold: tuple[Message, ...], writes: Writes) -> Kept:
    """Drop what was taken back: it is told to nobody, and no colleague's answer either.

    A dead letter about nothing else is closed with it.
    """
    revoked = tuple(m for m in untold if m.revoked)
    return (
        tuple(m for m in untold if not m.revoked),
        replace(
            writes,
            fates=(*writes.fates, *((m.id, Fate.REVOKED) for m in revoked if m.inbound)),
            told=(*writes.told, *(m.id for m in revoked)),
            supersedes=writes.supersedes or any(m.untold is Untold.FAILED for m in revoked),
        ),
    )


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
