"""Keys of the API, as their business makes, lists and revokes them. Only a hash of each is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from relevo import keys
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Pools

LIVING_OF_NAME_MAX = 2
"""One in use, and the one that replaces it."""

LIVING_MAX = 100
"""Keys of one business that work."""


class Refusal(StrEnum):
    """Why no key was made."""

    TWO_OF_NAME = "two_of_name"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is to be."""

    name: str
    scopes: Sequence[keys.Scope]
    expires_at: datetime | None
    """None: never."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a key; nothing of it can be turned back into the key."""

    business_id: str
    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """As of the minute."""


async def create(
    pools: "Pools", business_id: str, new: NewKey, chance: bytes, now: datetime
) -> tuple[str, Refusal | None]:
    """Make a key of `keys.CHANCE_BYTES` random bytes; return its text, which is kept nowhere.

    A business has at most two of one name that work: one in use, and the one that replaces it.
    """
    sql = statements("api_keys")
    key_id, text = keys.made_of(chance)
    async with pools.tenant(business_id) as connection:
        await connection.execute(statements("setup")["put_business"], business_id)
        await connection.execute(sql["lock"], business_id)
        living = await connection.fetch(sql["living"], business_id, now)
        if sum(row["name"] == new.name for row in living) >= LIVING_OF_NAME_MAX:
            return "", Refusal.TWO_OF_NAME
        if len(living) >= LIVING_MAX:
            return "", Refusal.TOO_MANY
        scopes = sorted(set(new.scopes), key=list(keys.Scope).index)
        kept = (key_id, new.name, scopes, keys.hash_of(text), now, new.expires_at)
        await connection.execute(sql["put"], business_id, *kept)
    return text, None


async def listed(
    pools: "Pools", business_id: str, limit: int, *, working_at: datetime | None
) -> list[Kept]:
    """Return keys, newest first: those that work then, or (None) all that a business ever had."""
    async with pools.tenant(business_id) as connection:
        rows = await connection.fetch(
            statements("api_keys")["keys"], business_id, working_at, limit
        )
    return [Kept(**row) for row in rows]


async def revoke(pools: "Pools", business_id: str, key_id: str, now: datetime) -> bool:
    """Have a key work no longer, from the next request on; tell whether there is such a key."""
    async with pools.tenant(business_id) as connection:
        row = (business_id, key_id, now)
        return await connection.fetchval(statements("api_keys")["revoke"], *row) is not None
