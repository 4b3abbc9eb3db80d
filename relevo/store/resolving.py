"""Whose a row of an older CRM is, by what its addresses lead to, and what is linked for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relevo.identity import LEAD, PHONE
from relevo.store.placing import Person

if TYPE_CHECKING:
    import asyncpg

LID = "lid"


@dataclass(slots=True)
class Homes:
    """Where the rows of a batch go, and what has to be linked for it."""

    of: dict[int, int] = field(default_factory=dict)
    """Row to conversation; who is not in it is nobody we know."""
    leading: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """Addresses that nobody has, to a conversation."""
    wishes: set[tuple[str, ...]] = field(default_factory=set)
    """Pairs of addresses that lead to two."""


def homes_of(rows: "Sequence[asyncpg.Record]") -> Homes:
    """Say whose each row is: its lead's, else its phone's, else its lid's."""
    homes = Homes()
    for row in rows:
        addresses = [
            ((LEAD, "", row["lead_id"]), row["by_lead"]),
            ((PHONE, "", row["to_number"]), row["by_phone"]),
            ((LID, row["channel_id"], row["lid"]), row["by_lid"]),
        ]
        told = [
            (address, homes.leading.get(address) if known is None else known)
            for address, known in addresses
            if address[2]
        ]
        known_as = [(address, home) for address, home in told if home is not None]
        if not known_as:
            continue
        first, home = known_as[0]
        homes.of[row["id"]] = home
        homes.leading.update((address, home) for address, known in told if known is None)
        homes.wishes.update((*first, *other) for other, theirs in known_as if theirs != home)
    return homes


def lanes_of(business_id: str, homes: Homes) -> Iterable[int]:
    """Say where a stranger with a lid of these would line up, to meet him after the batch."""
    for address in homes.leading:
        if address[0] == LID:
            yield from Person(
                business_id, f"{LID}:{business_id}:{address[1]}:{address[2]}", [address]
            ).lanes()
