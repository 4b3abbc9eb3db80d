"""Linking by people, the CRM and programs: two addresses, or an address and a lead, are one person.

What is linked stands as a wish first, so it is carried out by a server that runs should it have to
wait, or should this process die. It overrules what a person has undone before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from relevo import identity
from relevo.errors import StoreUnavailableError
from relevo.messages import Address, ConversationKey
from relevo.store.meeting import meet
from relevo.store.merging import Busy, Done, Reason, Wish, Writer, carry_out, undisturbed
from relevo.store.placing import Person, Reached
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection, Pools

MERGES_MAX = 50
"""Merges of a conversation that are shown, the newest."""


@dataclass(frozen=True, slots=True)
class Named:
    """An address as it is stored, and whose it is, if anybody's."""

    address: Reached
    conversation_id: int | None


async def link(writer: Writer, wish: Wish, now: datetime) -> Done:
    """Have both addresses lead to one conversation, which is made if they are nobody's.

    What has to wait is `POSTPONED`, and done by the first server that finds it possible.

    Raises:
        StoreUnavailableError: nothing is certain to be done; the same may be tried again.
    """
    try:
        await undisturbed(writer, wish.business_id, lambda c: _wish(c, writer, wish, now))
    except Busy as error:
        raise StoreUnavailableError("these addresses are met again and again") from error
    return await carry_out(writer, wish, now)


async def link_lead(
    writer: Writer, business_id: str, address: Reached, lead: str, now: datetime
) -> Done:
    """Link an address to a lead of the CRM; raises what `link` raises."""
    wish = Wish(business_id, lead_address(lead), address, Reason.LEAD)
    return await link(writer, wish, now)


def lead_address(lead: str) -> Reached:
    """Return a lead as the address that it is."""
    return (identity.LEAD, "", lead)


async def named(pools: "Pools", business_id: str, text: str, region: str) -> list[Named]:
    """Return the addresses that a text names, in any spelling, one for each conversation.

    Who is not known is named by a phone only: of other addresses the kind is not known either.
    """
    async with pools.tenant(business_id) as connection:
        return await _named(connection, business_id, text, region)


class Links:
    """Links that are asked for within a transaction, and carried out by whoever merges."""

    def __init__(self, regions: Mapping[str, str]) -> None:
        """Take the regions of phones written without a country code, by business."""
        self._regions = regions

    async def to_lead(
        self, connection: "Connection", key: ConversationKey, lead: str, now: datetime
    ) -> bool:
        """Have a lead of the CRM be this customer; False: there is no such conversation."""
        own = await self._own(connection, key)
        if own is None:
            return False
        wish = Wish(key.business_id, lead_address(lead), own, Reason.LEAD)
        await _want(connection, wish, now)
        return True

    async def to_address(
        self, connection: "Connection", key: ConversationKey, text: str, now: datetime
    ) -> bool | int:
        """Have an address, in any spelling, be this customer's; False: no such conversation.

        Else how many customers it names: what is not one (or a phone that is nobody's) is left.
        """
        own = await self._own(connection, key)
        if own is None:
            return False
        region = self._regions.get(key.business_id, "")
        found = await _named(connection, key.business_id, text, region)
        if len(found) == 1:
            wish = Wish(key.business_id, own, found[0].address, Reason.PERSON)
            await _want(connection, wish, now)
        return len(found)

    async def _own(self, connection: "Connection", key: ConversationKey) -> Reached | None:
        """Return an address of a conversation, which is locked: nobody forgets it meanwhile."""
        sql, ids = statements("merging"), [key.conversation_id]
        await connection.fetch(statements("outbound")["lock"], *key)
        rows = await connection.fetch(sql["addresses"], key.business_id, ids)
        addresses = _lasting_first([(row["kind"], row["scope"], row["value"]) for row in rows])
        return next(iter(addresses), None)


async def _named(connection: "Connection", business_id: str, text: str, region: str) -> list[Named]:
    spelled = identity.normalised(Address(identity.PHONE, text), region).value
    rows = await connection.fetch(
        statements("merging")["named"], business_id, list({text, spelled})
    )
    found = {
        row["conversation_id"]: Named(
            (row["kind"], row["scope"], row["value"]), row["conversation_id"]
        )
        for row in rows
    }
    if not found and identity.phone(text, region) is not None:
        return [Named((identity.PHONE, "", spelled), None)]
    return list(found.values())


async def knows_merge(pools: "Pools", business_id: str, merge_id: int) -> bool:
    """Tell whether a merge is this business's."""
    async with pools.tenant(business_id) as connection:
        found = await connection.fetchrow(statements("merging")["merge"], business_id, merge_id)
    return found is not None


async def show(pools: "Pools", business_id: str, text: str, region: str) -> list[dict[str, Any]]:
    """Tell who an address is: how else he is reached, and what he was merged of.

    Each is {business, conversation, canonical_key, addresses: {kind, scope, value}, merges: {id,
    survivor, loser, loser_key, reason, messages, merged_at, undone_at}}, the newest merge first.
    """
    who = await named(pools, business_id, text, region)
    ids = [each.conversation_id for each in who if each.conversation_id is not None]
    async with pools.tenant(business_id, snapshot=True) as connection:
        return [await _shown(connection, business_id, i) for i in sorted(ids)]


async def _shown(
    connection: "Connection", business_id: str, conversation_id: int
) -> dict[str, Any]:
    sql = statements("merging")
    merges = await connection.fetch(sql["merges_of"], business_id, conversation_id, MERGES_MAX)
    addresses = await connection.fetch(sql["addresses"], business_id, [conversation_id])
    return {
        "business": business_id,
        "conversation": conversation_id,
        "canonical_key": await connection.fetchval(sql["key"], business_id, conversation_id),
        "addresses": [dict(row) for row in addresses],
        "merges": [dict(row) for row in merges],
    }


async def _wish(connection: "Connection", writer: Writer, wish: Wish, now: datetime) -> None:
    await _meet(connection, writer, wish, now)
    await _want(connection, wish, now)


async def _want(connection: "Connection", wish: Wish, now: datetime) -> None:
    reached = (*wish.address, *wish.other)
    what = (wish.business_id, *reached, wish.reason.value, now)
    await connection.execute(statements("merging")["wish"], *what)


async def _meet(connection: "Connection", writer: Writer, wish: Wish, now: datetime) -> None:
    """Have a conversation for two addresses that are nobody's yet: a CRM knows people before us."""
    sql, reached = statements("merging"), _lasting_first([wish.address, wish.other])
    homes = [await connection.fetchval(sql["home"], wish.business_id, *a) for a in reached]
    if any(home is not None for home in homes):
        return
    named, scope = [Address(kind, value) for kind, _, value in reached], reached[0][1]
    key = identity.canonical_key(wish.business_id, named, writer.region, scope)
    await meet(connection, [Person(wish.business_id, key, reached)], now)


def _lasting_first(addresses: Sequence[Reached]) -> list[Reached]:
    return sorted(addresses, key=lambda address: identity.rank(f"{address[0]}:"))
