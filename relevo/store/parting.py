"""Undoing a merge: both conversations as they were, and what came since with whoever it is from.

What came since goes by its address; the messages of one turn stay together where that turn is. The
two are not merged again because a message has both their addresses, only by a person or a lead.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from relevo import identity, merging
from relevo.merging import Parted, Past, Postponed, Since
from relevo.messages import Address
from relevo.store.merging import (
    BUSY,
    Busy,
    Writer,
    addresses_of,
    as_json,
    columns,
    end_turns,
    put,
    rename,
    sides,
    undisturbed,
)
from relevo.store.placing import Reached
from relevo.store.rows import conversation_from
from relevo.store.sql import statements
from relevo.turns import Outcome, Stage, Turn

if TYPE_CHECKING:
    import asyncpg

    from relevo.store.pools import Connection


class Undoing(StrEnum):
    """What became of the wish to undo a merge."""

    UNDONE = "undone"
    UNKNOWN = "unknown"
    UNDONE_BEFORE = "undone_before"
    MERGED_SINCE = "merged_since"
    """One of them was merged again since, and that has to be undone first."""
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True)
class Undone:
    """What was done; `first` is the merge that has to be undone before."""

    undoing: Undoing
    survivor_id: int | None = None
    loser_id: int | None = None
    first: int | None = None
    ended: tuple[Turn, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Places:
    """Where everything goes that came since: turns of the loser's, messages by their turns."""

    since: Since
    turn_ids: list[int]
    staying: list[int]
    leaving: list[int]


async def undo(writer: Writer, business_id: str, merge_id: int, now: datetime) -> Undone:
    """Undo one merge, in one transaction.

    Raises:
        StoreUnavailableError: nothing is certain to be done; the same may be tried again.
    """
    try:
        return await undisturbed(
            writer, business_id, lambda c: _undone(c, writer, business_id, merge_id, now)
        )
    except Busy:
        return Undone(Undoing.POSTPONED, reason=BUSY)


async def _undone(
    connection: "Connection", writer: Writer, business_id: str, merge_id: int, now: datetime
) -> Undone:
    sql = statements("merging")
    merge = await connection.fetchrow(sql["merge"], business_id, merge_id)
    if merge is None:
        return Undone(Undoing.UNKNOWN)
    if merge["undone_at"] is not None:
        return Undone(Undoing.UNDONE_BEFORE)
    ids = (merge["survivor_id"], merge["loser_id"])
    locked = await connection.fetch(sql["lock"], business_id, [ids[0]])
    first = await connection.fetchval(sql["merged_since"], business_id, merge_id, ids[0])
    if first is not None:
        return Undone(Undoing.MERGED_SINCE, first=first)
    if not locked:
        return Undone(Undoing.UNKNOWN)  # erased
    [current] = await sides(connection, business_id, locked, (writer.incarnation, now))
    his = [tuple(address) for address in orjson.loads(merge["addresses"])]
    places = await _places(connection, writer, business_id, merge, his)
    pasts = [await _past(connection, business_id, merge[name]) for name in ("survivor", "loser")]
    decided = merging.parted(current, (pasts[0], pasts[1]), places.since, now)
    if isinstance(decided, Postponed):
        return Undone(Undoing.POSTPONED, *ids, reason=decided.reason)
    await end_turns(connection, business_id, decided.ended)
    await _restore(connection, writer, merge, decided, his)
    await _part(connection, writer, merge, places, his)
    await connection.execute(sql["renew"], business_id, ids[0])
    await connection.execute(sql["undone"], business_id, merge_id, now)
    return Undone(Undoing.UNDONE, *ids, ended=decided.ended)


async def _past(connection: "Connection", business_id: str, row: str) -> Past:
    """Read a conversation as it was kept."""
    was = await connection.fetchrow(statements("merging")["past"], row)
    assert was is not None
    return Past(conversation_from(business_id, was), tuple(was["tags"]), was["closed_at"])


async def _places(
    connection: "Connection",
    writer: Writer,
    business_id: str,
    merge: "asyncpg.Record",
    his: Sequence[Reached],
) -> _Places:
    rows = await connection.fetch(
        statements("merging")["turns_since"],
        business_id,
        merge["survivor_id"],
        merge["merged_at"],
    )
    known = {(kind, value) for kind, _, value in his}
    turn_ids, whose = list(merge["turn_ids"]), dict[int, bool]()
    had = {True: False, False: False}
    open_is_losers = False
    for row in rows:
        address = Address(row["address_kind"], row["address_value"])
        is_his = row["id"] in merge["turn_ids"] or (
            row["closed_at"] >= merge["merged_at"]
            and tuple(identity.normalised(address, writer.region)) in known
        )
        if is_his and row["id"] not in turn_ids:
            turn_ids.append(row["id"])
        if row["outcome"] == Outcome.MERGED or row["stage"] not in {Stage.ENDED, Stage.SENDING}:
            continue  # has told nobody anything
        had[is_his] = True
        whose.update(dict.fromkeys(row["message_ids"], is_his))
        open_is_losers |= is_his and row["stage"] == Stage.SENDING
    return _Places(
        Since(survivors=had[False], losers=had[True], open_is_losers=open_is_losers),
        turn_ids,
        [message_id for message_id, is_his in whose.items() if not is_his],
        [message_id for message_id, is_his in whose.items() if is_his],
    )


async def _restore(
    connection: "Connection",
    writer: Writer,
    merge: "asyncpg.Record",
    decided: Parted,
    his: Collection[Reached],
) -> None:
    """Write both rows, each under its best key; the survivor may have taken the loser's."""
    sql, business_id, survivor_id = (
        statements("merging"),
        merge["business_id"],
        merge["survivor_id"],
    )
    found = await addresses_of(connection, business_id, [survivor_id])
    kept, lost = (orjson.loads(merge[name]) for name in ("survivor", "loser"))
    theirs = [address for address in found if address not in his]
    key = _key(writer, business_id, kept["canonical_key"], theirs)
    await put(connection, decided.survivor)
    await rename(connection, business_id, survivor_id, key)
    row: dict[str, Any] = lost | columns(decided.loser)
    row["canonical_key"] = _key(writer, business_id, lost["canonical_key"], list(his))
    await connection.execute(sql["restore"], as_json(row))


def _key(writer: Writer, business_id: str, key: str, addresses: Sequence[Reached]) -> str:
    named = [Address(kind, value) for kind, _, value in addresses]
    return identity.better_key(business_id, key, named, writer.region)


async def _part(
    connection: "Connection",
    writer: Writer,
    merge: "asyncpg.Record",
    places: _Places,
    his: Sequence[Reached],
) -> None:
    sql, business_id, survivor_id = (
        statements("merging"),
        merge["business_id"],
        merge["survivor_id"],
    )
    lost = orjson.loads(merge["loser"])
    known = {(kind, value) for kind, _, value in his}
    reached = [
        (row["address_kind"], row["address_value"])
        for row in await connection.fetch(
            sql["reached_since"], business_id, survivor_id, merge["merged_at"]
        )
    ]
    of_his = [
        pair
        for pair in reached
        if tuple(identity.normalised(Address(*pair), writer.region)) in known
    ]
    await connection.execute(
        sql["part"],
        business_id,
        survivor_id,
        merge["loser_id"],
        merge["message_ids"],
        places.staying,
        places.leaving,
        [kind for kind, _ in of_his],
        [value for _, value in of_his],
        merge["merged_at"],
        places.turn_ids,
        lost["ai_conversations"],
        lost["outgoing"],
        as_json([list(address) for address in his]),
    )
