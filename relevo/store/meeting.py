"""First contacts: a conversation for each person, one also when many meet him at once."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from relevo.store.placing import Person
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection


async def meet(connection: "Connection", people: Sequence[Person], now: datetime) -> int:
    """Have a conversation for each, whoever shares an address with him; return how many are new."""
    sql = statements("ingest")
    reach = sorted(
        (person.business_id, person.canonical_key, kind, scope, value, rank)
        for person in people
        for rank, (kind, scope, value) in enumerate(person.addresses)
    )
    addresses = [list(column) for column in zip(*reach, strict=True)]
    lanes = sorted({lane for person in people for lane in person.lanes()})
    async with connection.transaction():
        if lanes:
            await connection.execute(sql["line_up"], lanes)
        met = await connection.execute(sql["meet"], *addresses[:5], now)
        await connection.execute(sql["lead"], *addresses)
    return int(met.rpartition(" ")[2])  # "INSERT 0 3"
