"""What a line can do, and what its provider never tells: declared by each adapter.

`docs/channels.md` shows these declarations, and a test holds them against what adapters read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ADDRESSES = {
    "phone": "phone",
    "bsuid": "BSUID",
    "lid": "lid",
    "subscriber": "subscriber",
    "wati": "else WATI's conversation",
}
"""How a kind of address is called where people read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a line can do, in a few words each; empty words: it cannot."""

    proof: str
    """How it is known that a webhook is the provider's."""
    message_id: str
    """What makes a message one, however often it comes."""
    clock: str
    """How exactly the provider says when something was said; empty: our clock counts."""
    addresses: tuple[str, ...]
    """The kinds of addresses that a message may carry, the first one first."""
    changes: str
    """Whose edits and revocations are told."""
    moves: str
    """Whether it is told that a customer has another number now."""
    history: str
    """Whether the provider can be asked what was said, and how much of it."""
    statuses: str
    """What is heard of a reply that was taken."""
    colleagues: str
    """Whether what colleagues write is seen."""
    echoes: str
    """Whether our own replies come back as webhooks."""
    found_by: str
    """What shows that a reply whose sending was left open has arrived after all."""
    window: str
    """What tells that the customer's 24 hours are over."""


_COMING_IN = (
    *("kind", "proof of a webhook", "id of a message", "clock", "addresses"),
    *("edits and revocations", "a changed number"),
)
_GOING_OUT = (
    *("kind", "history", "what became of a reply", "what colleagues write"),
    *("our own replies echoed", "a send left open is found by", "a closed window is told by"),
)


def tables(lines: Mapping[str, Abilities]) -> tuple[str, str]:
    """Return the two tables of the documentation, by the kinds of lines: coming in, going out."""
    coming_in = [
        (
            *(kind, can.proof, can.message_id, can.clock or "none: ours", _addresses(can)),
            *(can.changes or "no", can.moves or "no"),
        )
        for kind, can in lines.items()
    ]
    going_out = [
        (
            *(kind, can.history or "no", can.statuses or "nothing", can.colleagues or "no"),
            *(can.echoes or "no", can.found_by or "nothing", can.window or "nothing"),
        )
        for kind, can in lines.items()
    ]
    return _table(_COMING_IN, coming_in), _table(_GOING_OUT, going_out)


def _addresses(can: Abilities) -> str:
    return ", ".join(ADDRESSES[kind] for kind in can.addresses)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    shown = [(f"`{kind}`", *cells) for kind, *cells in rows]
    lines = [head, ("---",) * len(head), *shown]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
