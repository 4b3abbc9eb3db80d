"""Customers of the systems replaced become ours: who they are, when they wrote, what the AI has.

An import may be repeated, and may run beside a server: what is known already is not made again,
marks move only forward (rule 0), and every conversation that changes gets a higher version. A batch
is two transactions: meeting the customers, in the order of webhooks, and then giving them what is
theirs, in the order of turn commits.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from relevo import identity
from relevo.identity import PHONE
from relevo.messages import CLOCK_SKEW_MAX, Address
from relevo.store.legacy import LegacyThread
from relevo.store.sql import statements

if TYPE_CHECKING:
    import asyncpg

REFUSALS_MAX = 1000
"""How many are kept one by one; all are counted."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was not taken of a row: `what` is id, time or row (all of it); `reason` is a word."""

    number: int
    wa_id: str
    what: str
    reason: str


@dataclass(slots=True)
class Tally:
    """What became of the rows of a file."""

    rows: int = 0
    imported: int = 0
    """Customers who were not known before."""
    changed: int = 0
    """Of those who were known: what they lacked was taken."""
    overtaken: int = 0
    """Times not taken, because the customer had written to us by then."""
    assistants_threads: int = 0
    """Threads of the Assistants API, which nothing can use any more."""
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (what, reason)."""
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def known(self) -> int:
        """Return how many rows are of customers who were known before, or named by another row."""
        unusable = sum(n for (what, _reason), n in self.refused.items() if what == "row")
        return self.rows - unusable - self.imported

    def refuse(self, row: LegacyThread, what: str, reason: str) -> None:
        """Count what was not taken."""
        self.refused[what, reason] += 1
        if len(self.refusals) < REFUSALS_MAX:
            self.refusals.append(Refusal(row.number, row.wa_id or "", what, reason))


@dataclass(frozen=True, slots=True)
class Importing:
    """One import into one business; a rehearsal tells what would happen, and leaves no trace.

    Two spellings of one phone in different batches are rehearsed as two customers.
    """

    connection: "asyncpg.Connection[asyncpg.Record]"
    business_id: str
    region: str
    now: datetime
    rehearsal: bool = False

    async def take(self, rows: Sequence[LegacyThread], tally: Tally) -> None:
        """Take a batch, and count what became of it.

        Raises:
            asyncpg.PostgresError: if the database will not; all before is kept, none of this lost.
        """
        customers = self._customers(rows, tally)
        if not customers:
            return
        if not self.rehearsal:
            async with self.connection.transaction():
                tally.imported += await self._meet(customers)
            async with self.connection.transaction():
                await self._give(customers, tally)
            return
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            tally.imported += await self._meet(customers)
            await self._give(customers, tally)
        finally:
            await transaction.rollback()

    def _customers(
        self, rows: Sequence[LegacyThread], tally: Tally
    ) -> list[tuple[str, LegacyThread]]:
        """Return whom rows are of, by their phone in E.164; count what cannot be used."""
        customers = []
        for row in rows:
            tally.rows += 1
            tally.assistants_threads += row.has_assistants_thread
            if row.refused_id:
                tally.refuse(row, "id", row.refused_id)
            if row.refused_time:
                tally.refuse(row, "time", row.refused_time)
            phone = identity.phone(row.wa_id, self.region) if row.wa_id else None
            if phone is not None:
                customers.append((phone, row))
            else:
                tally.refuse(row, "row", "not_a_phone" if row.wa_id else "missing")
        return customers

    async def _meet(self, customers: Sequence[tuple[str, LegacyThread]]) -> int:
        """Have a conversation for everyone; return how many are new."""
        sql = statements("ingest")
        phones = sorted({phone for phone, _row in customers})
        keys = [
            identity.canonical_key(self.business_id, (Address(PHONE, phone),), self.region)
            for phone in phones
        ]
        reach = [[self.business_id] * len(phones), keys, [PHONE] * len(phones), [""] * len(phones)]
        await self.connection.execute(statements("setup")["put_business"], self.business_id)
        met = await self.connection.execute(sql["meet"], *reach, phones, self.now)
        await self.connection.execute(sql["lead"], *reach, phones, [0] * len(phones))
        return int(met.rpartition(" ")[2])  # the command's tag is `INSERT 0 3`

    async def _give(self, customers: Sequence[tuple[str, LegacyThread]], tally: Tally) -> None:
        sql = statements("import")
        phones = [phone for phone, _row in customers]
        times = [row.last_customer_at for _phone, row in customers]
        ids = [row.ai_conversation or "" for _phone, row in customers]
        await self.connection.fetch(sql["lock"], self.business_id, phones)
        found = await self.connection.fetchrow(
            sql["take"], self.business_id, phones, times, ids, CLOCK_SKEW_MAX, self.now
        )
        assert found is not None
        tally.changed += found["changed"]
        tally.overtaken += found["overtaken"]
