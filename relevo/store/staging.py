"""Messages of an older CRM are put aside, each once, before it is known whose they are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING

from relevo.store.legacy_messages import LegacyMessage, Reading, RefusedRowError, message
from relevo.store.legacy_sources import NumberedRow
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Pools

REFUSALS_MAX = 1000
"""How many are kept one by one; all are counted."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not taken, with a word for why."""

    number: int
    reason: str


@dataclass(slots=True)
class Taken:
    """What became of the rows of a source."""

    rows: int = 0
    staged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    refusals: list[RefusedRow] = field(default_factory=list)

    @property
    def known(self) -> int:
        """Return how many were put aside before, or stand there twice."""
        return self.rows - self.staged - self.refused.total()

    def refuse(self, number: int, reason: str) -> None:
        """Count what was not taken."""
        self.refused[reason] += 1
        if len(self.refusals) < REFUSALS_MAX:
            self.refusals.append(RefusedRow(number, reason))


@dataclass(frozen=True, slots=True)
class Staging:
    """Puts aside what came by one channel; what is there already stays as it is.

    A rehearsal tells what would happen, and leaves no trace; what is in two pages is new in both.
    """

    pools: "Pools"
    business_id: str
    channel_id: str
    reading: Reading
    rehearsal: bool = False

    async def take(self, rows: Sequence[NumberedRow], taken: Taken) -> None:
        """Put a page aside in one transaction, and count what became of it.

        Raises:
            StoreUnavailableError: nothing of this page is kept; it may be taken again.
        """
        messages: list[LegacyMessage] = []
        for number, row in rows:
            try:
                messages.append(message(row, self.reading))
            except RefusedRowError as error:
                taken.refuse(number, str(error))
        taken.rows += len(rows)
        if not messages:
            return
        columns = [list(column) for column in zip(*map(astuple, messages), strict=True)]
        async with self.pools.tenant(self.business_id) as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(statements("setup")["put_business"], self.business_id)
            await connection.execute(statements("backfill")["stage_alone"], self.business_id)
            staged = await connection.execute(
                statements("backfill")["stage"], self.business_id, self.channel_id, *columns
            )
            await (transaction.rollback() if self.rehearsal else transaction.commit())
        taken.staged += int(staged.rpartition(" ")[2])  # the command's tag is `INSERT 0 3`
