"""Messages of an older CRM, put aside before, become messages of whoever they are of.

A batch is two transactions: strangers meet, in the order of webhooks, and then everything else, in
the order of turn commits. So a batch is all there or not at all, whenever it is interrupted, and a
run that goes on makes what one run would have made. It may run beside a server: a webhook of the
same stranger at the same moment is the same conversation, and one that is merged away under a batch
makes it begin anew.

What is imported counts as told: it waits for nothing, opens no turn, is in no count of what was
accepted, and is in what a new conversation at the AI begins with.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from relevo.clock import Clock
from relevo.errors import StoreUnavailableError
from relevo.identity import LEAD, PHONE
from relevo.matching import match_history
from relevo.messages import (
    CLOCK_SKEW_MAX,
    Address,
    Author,
    Delivery,
    Fate,
    HistoryItem,
    Message,
    NewContact,
    Source,
)
from relevo.store.failures import is_retryable
from relevo.store.meeting import meet
from relevo.store.placing import Placer
from relevo.store.pools import connected
from relevo.store.resolving import LID, Homes, homes_of, lanes_of
from relevo.store.rows import message_from
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection, Pools

    Row = asyncpg.Record

BATCH_ROWS = 500
"""Of a transaction: its conversations are locked for some tens of milliseconds."""

ATTEMPTS_MAX = 5
"""At a batch whose customers are merged, or linked by somebody else, while it is written."""

WEBHOOK_AGE_MAX = timedelta(hours=1)
"""What is newer may be a message whose webhook is still to come, and dates no silence yet."""

SHAPES = (1, 2, 3)
"""What rows tell of a person, see `waiting`: who has a phone makes the others known."""


class _MovedError(Exception):
    """A conversation, or an address, is not where it was when the batch began."""


DISTURBANCES = (_MovedError, asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError)
"""Somebody else met a customer, merged him, or gave his name to another one meanwhile."""


class Backfill:
    """Gives one business what was put aside for it."""

    def __init__(self, pools: "Pools", business_id: str, region: str, clock: Clock) -> None:
        self._pools = pools
        self._business_id = business_id
        self._placer = Placer({business_id: region}, {})  # an older CRM knows of no BSUIDs
        self._clock = clock
        self._sql = statements("backfill")

    async def waiting(self, *, again: bool) -> int:
        """Return how many rows wait; with `again` those too that were refused before."""
        async with self._pools.tenant(self._business_id) as connection:
            if again:
                await connection.execute(self._sql["try_again"], self._business_id)
            return int(await connection.fetchval(self._sql["waiting_count"], self._business_id))

    async def run(self) -> AsyncIterator[int]:
        """Give out everything that waits, and yield the number of rows of each batch.

        Raises:
            StoreUnavailableError: what was yielded is done; the rest may be done later.
        """
        for shape in SHAPES:
            last = 0
            while ids := await self._next(last, shape):
                await self._give(ids)
                last = ids[-1]
                yield len(ids)

    async def summary(self) -> "list[Row]":
        """Return (state, reason, messages) of everything that was ever put aside."""
        async with self._pools.tenant(self._business_id) as connection:
            return list(await connection.fetch(self._sql["summary"], self._business_id))

    async def _next(self, last: int, shape: int) -> list[int]:
        async with self._pools.tenant(self._business_id) as connection:
            rows = await connection.fetch(
                self._sql["waiting"], self._business_id, last, shape, BATCH_ROWS
            )
        return [row["id"] for row in rows]

    async def _give(self, ids: list[int]) -> None:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                await self._meet(ids)
                async with self._pools.tenant(self._business_id) as connection:
                    await self._write(connection, ids)
            except (_MovedError, asyncpg.PostgresError) as error:
                if not isinstance(error, DISTURBANCES) and not is_retryable(error):
                    raise
                if attempt == ATTEMPTS_MAX:
                    again = "these customers are met, linked or merged again and again"
                    raise StoreUnavailableError(again) from error
            else:
                return

    async def _meet(self, ids: list[int]) -> None:
        """Have a conversation for everyone whose phone nobody has, and his lid lead there."""
        async with self._pools.tenant(self._business_id) as connection:
            rows = await self._resolve(connection, ids)
        told = {
            (row["channel_id"], row["to_number"], row["lid"])
            for row in rows
            if row["to_number"] and (not row["by_phone"] or (row["lid"] and not row["by_lid"]))
        }
        if not told:
            return
        now = self._clock.now()
        deliveries = [
            Delivery(self._business_id, channel_id, (_contact(phone, lid),), b"", now)
            for channel_id, phone, lid in sorted(told)
        ]
        people = self._placer.people(self._placer.contacts(deliveries))
        async with connected(self._pools.ingest) as connection:
            await meet(connection, people, now)

    async def _write(self, connection: "Connection", ids: list[int]) -> None:
        rows = await self._resolve(connection, ids)
        homes = homes_of(rows)
        if any(row["to_number"] and row["id"] not in homes.of for row in rows):
            raise _MovedError  # whom they were met as is gone again
        if lanes := sorted(set(lanes_of(self._business_id, homes))):
            await connection.execute(statements("ingest")["line_up"], lanes)
        touched = sorted(set(homes.of.values()))
        locked = await connection.fetch(self._sql["lock"], self._business_id, touched)
        if len(locked) < len(touched) or homes_of(await self._resolve(connection, ids)) != homes:
            raise _MovedError
        await self._link(connection, homes)
        settled = [_refused(row) for row in rows if row["id"] not in homes.of]
        settled += await self._store(connection, [r for r in rows if r["id"] in homes.of], homes)
        await connection.execute(self._sql["settle"], self._business_id, _json(settled))
        dated_to = self._clock.now() - WEBHOOK_AGE_MAX
        await connection.execute(
            self._sql["date"], self._business_id, touched, CLOCK_SKEW_MAX, dated_to
        )

    async def _resolve(self, connection: "Connection", ids: list[int]) -> "list[Row]":
        return list(await connection.fetch(self._sql["resolve"], self._business_id, ids))

    async def _link(self, connection: "Connection", homes: Homes) -> None:
        """Let what nobody had lead to them, and wish for the rest."""
        if homes.leading:
            rows = [(*address, home) for address, home in sorted(homes.leading.items())]
            led = await connection.fetch(
                self._sql["lead_to"], self._business_id, *map(list, zip(*rows, strict=True))
            )
            if len(led) < len(rows):
                raise _MovedError
            named = sorted({home for (kind, *_), home in homes.leading.items() if kind == LEAD})
            await connection.execute(self._sql["name_by_lead"], self._business_id, named)
        if homes.wishes:
            columns = map(list, zip(*sorted(homes.wishes), strict=True))
            await connection.execute(
                self._sql["wish"], self._business_id, *columns, self._clock.now()
            )

    async def _store(
        self, connection: "Connection", rows: "Sequence[Row]", homes: Homes
    ) -> list[dict[str, Any]]:
        """Insert what we have not; return what became of each row."""
        known = {row["id"]: row["message_id"] for row in rows if row["message_id"] is not None}
        rows = [row for row in rows if row["id"] not in known]
        twins = await self._twins(connection, rows, homes)
        new = sorted(
            (row for row in rows if row["id"] not in twins),
            key=lambda r: (r["created_at"], r["id"]),
        )
        reserved = await connection.fetch(statements("load")["reserve"], len(new))
        message_ids = {row["id"]: r[0] for row, r in zip(new, reserved, strict=True)}
        await self._insert(connection, new, message_ids, homes)
        journal = statements("journal")
        learned = [_key(row, twins[row["id"]]) for row in rows if row["id"] in twins]
        await connection.execute(journal["learn_keys"], self._business_id, _json(learned))
        return [
            *(_inserted(row_id, message_id, "") for row_id, message_id in message_ids.items()),
            *(_inserted(row_id, message_id, "known") for row_id, message_id in known.items()),
            *(_inserted(row_id, message_id, "known") for row_id, message_id in twins.items()),
        ]

    async def _twins(
        self, connection: "Connection", rows: "Sequence[Row]", homes: Homes
    ) -> dict[int, int]:
        """Return which rows are messages that we have from elsewhere (rule 5): row to message."""
        near: dict[int, list[Message]] = defaultdict(list)
        ids = [row["id"] for row in rows]
        for found in await connection.fetch(
            self._sql["near"], self._business_id, ids, [homes.of[row_id] for row_id in ids]
        ):
            near[found["conversation_id"]].append(message_from({**found, "kind": "text"}))
        items: dict[int, list[HistoryItem]] = defaultdict(list)
        for row in sorted(rows, key=lambda r: (r["created_at"], r["id"])):
            if (home := homes.of[row["id"]]) in near:
                items[home].append(_item(row))
        return {
            int(row_id): message_id
            for home, said in items.items()
            for message_id, row_id in match_history(tuple(said), tuple(near[home])).learned
        }

    async def _insert(
        self,
        connection: "Connection",
        rows: "Sequence[Row]",
        message_ids: Mapping[int, int],
        homes: Homes,
    ) -> None:
        journal = statements("journal")
        keys = [_key(row, message_ids[row["id"]]) for row in rows]
        claimed = await connection.fetch(journal["claim_keys"], self._business_id, _json(keys))
        if len(claimed) < len(keys):
            raise _MovedError
        only_lead = sorted({homes.of[r["id"]] for r in rows if not (r["to_number"] or r["lid"])})
        reached = await connection.fetch(self._sql["reached_at"], self._business_id, only_lead)
        reached_at = {row["conversation_id"]: (row["kind"], row["value"]) for row in reached}
        now = self._clock.now()
        messages = []
        for row in rows:
            home = homes.of[row["id"]]
            kind, value = _address(row) or reached_at[home]
            messages.append(
                {
                    "id": message_ids[row["id"]],
                    "conversation_id": home,
                    "channel_id": row["channel_id"],
                    "address_kind": kind,
                    "address_value": value,
                    "author": row["author"],
                    "author_name": "",
                    "kind": "text",
                    "body": row["body"],
                    "source": Source.IMPORT,
                    "event_at": row["created_at"],
                    "timed": True,
                    "received_at": now,
                    "fate": Fate.CONTEXT if row["author"] == Author.CUSTOMER else None,
                }
            )
        await connection.execute(journal["insert_messages"], self._business_id, _json(messages))


def _contact(phone: str, lid: str) -> NewContact:
    return NewContact((Address(PHONE, phone), *([Address(LID, lid)] if lid else [])))


def _address(row: "Row") -> tuple[str, str] | None:
    if row["to_number"]:
        return PHONE, row["to_number"]
    return (LID, row["lid"]) if row["lid"] else None


def _item(row: "Row") -> HistoryItem:
    return HistoryItem(
        id=row["id"],
        author=Author(row["author"]),
        kind="text",
        body=row["body"],
        event_at=row["created_at"],
        keys=(str(row["id"]),),
    )


def _key(row: "Row", message_id: int) -> dict[str, Any]:
    key = f"import:{row['legacy_id']}"
    return {"channel_id": row["channel_id"], "key": key, "message_id": message_id}


def _inserted(row_id: int, message_id: int, reason: str) -> dict[str, Any]:
    return {"id": row_id, "state": "inserted", "reason": reason, "message_id": message_id}


def _refused(row: "Row") -> dict[str, Any]:
    reason = "unknown_lid" if row["lid"] else "unknown_lead"
    return {"id": row["id"], "state": "refused", "reason": reason, "message_id": None}


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
