"""What should not be in a database: found, explained, and mended where that is safe.

* A finding is mended one conversation at a time, each in a transaction of its own, under that row's
  lock, looked at again there, and with a higher version: a server that runs beside it loses a race
  at most, and reads the rows again.
* The order of the checks is that of mending: flags before the letters that they keep open.
* Nothing is sent, and nothing deleted that a customer could miss; what is doubtful is told to a
  person.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from relevo.errors import StoreSetupError
from relevo.store import catalog, migrate
from relevo.store.catalog import Difference
from relevo.store.sql import statements

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

SWEEP_BACK = timedelta(minutes=10)
"""Older rows are seen by no sweep, only at a start (`Bounds.sweep_back`)."""
EARLY_STATUS_AGE_MAX = timedelta(hours=1)
MENDED_MAX = 10_000
"""Conversations that one run mends of one kind; the next run goes on."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look for: `doctor.sql` finds it by this name, and mends it by `mend_` and this.

    `remedy` is what mending does, or, where nothing mends, what a person should do.
    """

    name: str
    thing: str
    explanation: str
    remedy: str
    mends: bool = True
    older_than: timedelta | None = None
    file: str = "doctor"

    @property
    def waits_for_start(self) -> bool:
        """Tell whether the start of a process would see to it too."""
        return self.older_than == SWEEP_BACK


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found at one business. `conversations` are those that can be mended now."""

    check: Check
    business_id: str
    number: int
    oldest_at: datetime | None
    mended: int = 0
    conversations: list[int | None] = field(default_factory=list, repr=False)


CHECKS = (
    Check(
        "bad_ids",
        "conversation",
        "the id of the AI's conversation is none, so every turn would fail",
        "empties it; the next turn makes a new one, seeded from the rows",
    ),
    Check(
        "lost_flags",
        "mark",
        "says that a message was not told to the AI, and there is no such message",
        "deletes the mark",
    ),
    Check(
        "told_flags",
        "message",
        "a turn has ended with them, and they are still marked as not told to the AI",
        "deletes the mark",
    ),
    Check(
        "unfinished_parts",
        "reply part",
        "they are not sent to the end, and their turn is over, so nobody looks at them",
        "takes what the provider proved as sent, cancels what has not left, and gives up the rest; "
        "nothing is sent",
    ),
    Check(
        "stranded",
        "message",
        "in flight, but neither unread nor in an open turn, so nothing will answer them",
        "gives them the fate of the turn that ended with them; the others are unread again",
    ),
    Check(
        "left_turns",
        "message",
        "of open turns whose deadlines are long over and whose process is gone",
        "has the next sweep wake the customer, so that whoever serves takes over; a start does too",
        older_than=SWEEP_BACK,
    ),
    Check(
        "unseen",
        "message",
        "unread for so long that no sweep looks at them any more",
        "has the next sweep look at them again; a start does too",
        older_than=SWEEP_BACK,
    ),
    Check(
        "told_letters",
        "dead letter",
        "open, although all their messages were told later and answered",
        "closes them as superseded",
    ),
    Check(
        "unfounded_letters",
        "dead letter",
        "open, and their turn has not failed",
        "closes them as superseded",
    ),
    Check(
        "early_letters",
        "dead letter",
        "their turn has not ended; should it fail, there would be no letter of that",
        "deletes them",
    ),
    Check(
        "without_address",
        "conversation",
        "no address leads to them, and their key is a phone that leads nowhere",
        "has that phone lead to them",
    ),
    Check(
        "early_statuses",
        "status report",
        "came before the message they are about, an hour ago, and nobody has asked for them",
        "deletes them",
        older_than=EARLY_STATUS_AGE_MAX,
    ),
    Check(
        "late_turns",
        "message",
        "of open turns whose deadlines are long over, where no sweep can wake the customer",
        "restart that Relevo, or start one: it takes over every open turn; nothing is sent twice",
        mends=False,
        older_than=SWEEP_BACK,
    ),
    Check(
        "out_of_reach",
        "conversation",
        "no address leads to them, and which one should is not known",
        "look at them with their canonical_key; if they are somebody's, give them his address",
        mends=False,
    ),
    Check(
        "unexplained",
        "message",
        "with a fate that no turn gave them",
        "find out who else writes to this database, and compare with a backup",
        mends=False,
        file="audit",
    ),
    Check(
        "orphans",
        "row",
        "what they hang on is gone, which a foreign key forbids",
        "find out who switched it off, and restore from a backup what is missing",
        mends=False,
    ),
)


async def schema(connection: "Connection") -> list[Difference]:
    """Return how the schema differs from what this version wants.

    Raises:
        StoreSetupError: if it is another version's.
    """
    present = await connection.fetchval(statements("catalog")["revision"])
    if present != migrate.head():
        raise StoreSetupError(
            f"the schema is at revision {present}, this Relevo wants {migrate.head()}; "
            "run `relevo migrate` first"
        )
    return catalog.differences(await catalog.facts(connection), catalog.reference())


async def processes(connection: "Connection") -> int:
    """Return how many processes of Relevo are alive on this database."""
    return int(await connection.fetchval(statements("doctor")["processes"]))


async def rows(
    connection: "Connection", now: datetime, *, mend: bool = False
) -> AsyncIterator[list[Finding]]:
    """Look for all that should not be, and mend what can be; what was found, check by check."""
    for check in CHECKS:
        found = await _find(connection, check, now)
        if mend and check.mends:
            found = [await _mended(connection, finding, now) for finding in found]
        yield found


async def _find(connection: "Connection", check: Check, now: datetime) -> list[Finding]:
    found: dict[str, Finding] = {}
    before = [] if check.older_than is None else [now - check.older_than]
    async with connection.transaction(readonly=True):
        async for row in connection.cursor(statements(check.file)[check.name], *before):
            business_id, since = row["business_id"], row["since"]
            finding = found.get(business_id) or Finding(check, business_id, 0, None)
            oldest = [at for at in (finding.oldest_at, since) if at is not None]
            if check.mends and len(finding.conversations) < MENDED_MAX:
                finding.conversations.append(row["conversation_id"])
            found[business_id] = replace(
                finding,
                number=finding.number + row["messages"],
                oldest_at=min(oldest, default=None),
            )
    return sorted(found.values(), key=lambda finding: finding.business_id)


async def _mended(connection: "Connection", finding: Finding, now: datetime) -> Finding:
    sql = statements("doctor")
    statement = await connection.prepare(sql[f"mend_{finding.check.name}"])
    known = len(statement.get_parameters())
    mended = 0
    for conversation_id in sorted(finding.conversations, key=lambda known: known or 0):
        key = (finding.business_id, conversation_id)
        async with connection.transaction():
            locked = await connection.fetchval(sql["lock"], *key)
            number = await statement.fetchval(*(*key, now)[:known]) or 0
            if number and locked is not None:
                await connection.execute(sql["raise_version"], *key)
        mended += number
    return replace(finding, mended=mended)
