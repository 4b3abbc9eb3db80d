"""Turn commits: grouped, versioned, all or nothing for each conversation.

Steps of different customers of one business join one transaction, one statement a table. The
version of each conversation is checked first; one that is not as expected, or whose recalled
messages were stored by someone else meanwhile, has lost its race and writes nothing. The others go
on. Rows are locked in (business_id, id) order.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from relevo.messages import ConversationKey, Message, correlation_key
from relevo.store.groups import GroupCommit
from relevo.store.isolating import isolated
from relevo.store.means import Means
from relevo.store.pools import connected
from relevo.store.reading import read_rows
from relevo.store.rows import (
    conversation_row,
    fallback_row,
    message_from,
    part_row,
    recalled_row,
    reply_row,
    turn_row,
)
from relevo.store.sql import statements
from relevo.writes import Rows, Unread, Writes

if TYPE_CHECKING:
    from relevo.store.pools import Connection

BATCH_MAX = 200
RESERVED_MAX = 200
"""Message ids in stock, so that a reply costs no round trip for its id."""

FLIGHTS_MAX = 2
"""A business's commits: one transaction at work while the next is being filled."""


class PostgresJournal:
    """The journal on PostgreSQL. Every method raises `StoreUnavailableError` when it is away."""

    def __init__(
        self,
        means: Means,
        incarnation: Callable[[], int],
        serves: Callable[[str], bool] = lambda _business_id: True,
    ) -> None:
        """`incarnation` names this life of the process in what it commits.

        What a business has waiting that this process does not serve is left alone.
        """
        self._means = means
        self._pools = means.pools
        self._clock = means.clock
        self._incarnation = incarnation
        self._serves = serves
        self._sql = statements("journal")
        self._load = statements("load")
        self._sweep = statements("sweep")
        self._outbound = statements("outbound")
        self._groups: dict[str, GroupCommit[Writes, bool]] = {}
        self._reserved: deque[int] = deque()

    async def load(self, keys: Sequence[ConversationKey]) -> Mapping[ConversationKey, Rows]:
        """Read whole conversations, each consistent in itself; unknown ones are absent."""
        found: dict[ConversationKey, Rows] = {}
        with self._means.timed("load", len(keys)):
            for business_id in {key.business_id for key in keys}:
                ids = [key.conversation_id for key in keys if key.business_id == business_id]
                async with self._pools.tenant(business_id, snapshot=True) as connection:
                    fence = (self._incarnation(), self._clock.now())
                    found |= await read_rows(connection, business_id, ids, fence)
        return found

    async def commit(self, writes: Writes) -> bool:
        """Commit one step. False: it lost its race, nothing of it was written."""
        business_id = writes.conversation.key.business_id
        group = self._groups.get(business_id)
        if group is None:
            group = self._groups[business_id] = GroupCommit[Writes, bool](
                self._flush, self._means.tasks, batch_max=BATCH_MAX, flights_max=FLIGHTS_MAX
            )
        return await group.submit(writes)

    async def window(
        self,
        key: ConversationKey,
        since: datetime,
        channel_id: str = "",
        named: Collection[str] = (),
    ) -> tuple[Message, ...]:
        """Read a conversation's messages since an instant, and those `named` by an id anywhere."""
        with self._means.timed("window"):
            async with self._pools.tenant(key.business_id) as connection:
                rows = await connection.fetch(
                    self._load["window"], *key, since, channel_id, list(named)
                )
        return tuple(message_from(row, row["keys"]) for row in rows)

    async def told(self, key: ConversationKey, limit: int) -> tuple[Message, ...]:
        """Read the newest messages that the AI was told, or said, oldest first."""
        async with self._pools.tenant(key.business_id) as connection:
            rows = await connection.fetch(self._load["told"], *key, limit)
        return tuple(message_from(row) for row in reversed(rows))

    async def keep(self, key: ConversationKey, ai_conversation: str) -> bool:
        """Write down that the AI has a conversation for a customer; False: he is not there."""
        kept = self._sql["keep_ai_conversation"]
        try:
            async with self._pools.tenant(key.business_id) as connection:
                row = await connection.fetchrow(kept, *key, ai_conversation, self._clock.now())
        except asyncpg.ForeignKeyViolationError:
            return False  # he was there a moment ago
        return row is not None

    async def reserve(self, count: int) -> Sequence[int]:
        """Take message ids from the sequence, ascending; a stock of them is kept."""
        if len(self._reserved) < count:
            async with connected(self._pools.app) as connection:
                rows = await connection.fetch(self._load["reserve"], count + RESERVED_MAX)
            self._reserved.extend(row[0] for row in rows)
        # Of two fetches at once the later one's ids may have come first.
        return sorted(self._reserved.popleft() for _ in range(count))

    async def unread(self, received_after: datetime | None) -> Mapping[ConversationKey, Unread]:
        """Count unread rows per conversation; with open turns when asked for all (None)."""
        name = "unread_all" if received_after is None else "unread_since"
        since = () if received_after is None else (received_after,)
        with self._means.timed("sweep"):
            async with connected(self._pools.sweep) as connection:
                rows = await connection.fetch(self._sweep[name], *since)
        return {
            ConversationKey(row["business_id"], row["conversation_id"]): Unread(
                row["unread"], pressing=row["pressing"]
            )
            for row in rows
            if self._serves(row["business_id"])
        }

    async def _flush(self, batch: Sequence[Writes]) -> Sequence[bool | BaseException]:
        return await isolated(self._write, batch)

    async def _write(self, batch: Sequence[Writes]) -> Sequence[bool]:
        business_id = batch[0].conversation.key.business_id
        # Of two steps of one conversation the second has lost already: both expect one version.
        first = {_id(w): n for n, w in reversed(list(enumerate(batch)))}
        racing = [batch[n] for n in sorted(first.values())]
        with self._means.timed("commit", len(batch)):
            async with self._pools.tenant(business_id) as connection:
                won = await self._race(connection, business_id, racing)
                await self._put(connection, business_id, [w for w in racing if _id(w) in won])
        return [_id(w) in won and first[_id(w)] == n for n, w in enumerate(batch)]

    async def _race(
        self, connection: "Connection", business_id: str, batch: Sequence[Writes]
    ) -> set[int]:
        """Return the conversations whose step may be written."""
        late = await self._claim(connection, business_id, batch)
        rows = [
            conversation_row(w.conversation)
            for w in batch
            if w.conversation.key.conversation_id not in late
        ]
        now = self._clock.now()
        advanced = await connection.fetch(self._sql["advance"], business_id, _json(rows), now)
        won = {row["id"] for row in advanced}
        lost = [m.id for w in batch if _id(w) not in won for m in w.recalled]
        if lost:
            await connection.execute(self._sql["release_keys"], business_id, lost)
        return won

    async def _claim(
        self, connection: "Connection", business_id: str, batch: Sequence[Writes]
    ) -> set[int]:
        """Claim the ids of recalled messages; return who found one taken."""
        claims = [_keys(m.id, m.channel_id, m.keys) for w in batch for m in w.recalled]
        rows = [row for claim in claims for row in claim]
        if not rows:
            return set()
        fetched = await connection.fetch(self._sql["claim_keys"], business_id, _json(rows))
        claimed: dict[int, int] = {}
        for row in fetched:
            claimed[row["message_id"]] = claimed.get(row["message_id"], 0) + 1
        return {
            _id(w) for w in batch for m in w.recalled if claimed.get(m.id, 0) < len(set(m.keys))
        }

    async def _put(
        self, connection: "Connection", business_id: str, winners: Sequence[Writes]
    ) -> None:
        """Write everything of the steps that won, in the order in which rows need one another."""
        for name, rows in _by_table(winners).items():
            if rows:
                await connection.execute(self._sql[name], business_id, _json(rows))
        gone = [pair.duplicate for w in winners for pair in w.absorbed]
        seen = [
            {"duplicate": pair.duplicate, "kept": pair.kept}
            for w in winners
            for pair in w.absorbed
            if pair.by_webhook
        ]
        if gone:
            await connection.execute(self._sql["mark_seen"], business_id, _json(seen))
            await connection.execute(self._sql["delete_messages"], business_id, gone)
        turns = [turn_row(w, self._incarnation()) for w in winners if w.turn is not None]
        if turns:
            await connection.execute(self._sql["put_turns"], _json(turns))
        parts = [part_row(business_id, part) for w in winners for part in w.parts]
        if parts:
            await connection.execute(self._sql["put_parts"], _json(parts))
        await self._put_ends(connection, business_id, winners)

    async def _put_ends(
        self, connection: "Connection", business_id: str, winners: Sequence[Writes]
    ) -> None:
        """Write what comes of turns that failed, and of those that made up for it."""
        if letters := _letters(winners, self._clock.now()):
            await connection.execute(self._sql["bury"], business_id, _json(letters))
        if sends := [fallback_row(w, self._clock.now()) for w in winners if w.fallback_text]:
            await connection.fetch(self._outbound["put_waiting"], business_id, _json(sends))
        if closed := [_id(w) for w in winners if w.supersedes]:
            await connection.execute(self._sql["supersede"], business_id, closed, self._clock.now())


def _by_table(winners: Sequence[Writes]) -> dict[str, list[Any]]:
    """Return the rows of the plain statements, in the order in which they are to be run."""
    return {
        "insert_messages": _messages(winners),
        "learn_keys": [
            {"channel_id": channel_id, "key": key, "message_id": message_id}
            for w in winners
            for channel_id, message_id, key in _learned(w)
        ],
        "move_keys": [
            {"duplicate": pair.duplicate, "kept": pair.kept} for w in winners for pair in w.absorbed
        ],
        "put_untold": [
            {"conversation_id": _id(w), "message_id": message_id, "state": state}
            for w in winners
            for message_id, state in _waiting(w).items()
        ],
        "forget_untold": [
            {"conversation_id": _id(w), "message_id": message_id}
            for w in winners
            for message_id in (*w.told, *(pair.duplicate for pair in w.absorbed))
        ],
        "date_replies": [
            {"message_id": part.message_id, "at": part.started_at}
            for w in winners
            for part in w.parts
            if part.started_at is not None
        ],
        "set_fates": [
            {"message_id": message_id, "fate": fate}
            for w in winners
            for message_id, fate in w.fates
        ],
    }


def _messages(winners: Sequence[Writes]) -> list[Any]:
    rows = [recalled_row(w.conversation.key, m) for w in winners for m in w.recalled]
    for w in winners:
        if w.answers:
            assert w.turn is not None
            rows += [reply_row(w.conversation.key, part, w.turn) for part in w.parts]
    return rows


def _waiting(writes: Writes) -> dict[int, str]:
    """Return why messages are untold from now on; the last word about each counts."""
    waiting = {m.id: m.untold for m in writes.recalled if m.untold is not None}
    return {**waiting, **dict(writes.untold)}


def _learned(writes: Writes) -> Iterable[tuple[str, int, str]]:
    """Return (channel, message, key) for every id that a message is now known under."""
    channel_id = writes.turn.channel_id if writes.turn is not None else ""
    for message_id, key in writes.keys:
        yield channel_id, message_id, key
    if writes.answers:
        for part in writes.parts:
            yield channel_id, part.message_id, correlation_key(part.correlation_id)


def _letters(winners: Sequence[Writes], now: datetime) -> list[Any]:
    return [
        {
            "turn_id": w.dead_letter.turn_id,
            "conversation_id": _id(w),
            "stage": w.dead_letter.stage,
            "reason": w.dead_letter.reason,
            "created_at": now,
        }
        for w in winners
        if w.dead_letter is not None
    ]


def _keys(message_id: int, channel_id: str, keys: Iterable[str]) -> list[Any]:
    return [{"channel_id": channel_id, "key": key, "message_id": message_id} for key in set(keys)]


def _id(writes: Writes) -> int:
    return writes.conversation.key.conversation_id


def _json(rows: list[Any]) -> str:
    return orjson.dumps(rows).decode()
