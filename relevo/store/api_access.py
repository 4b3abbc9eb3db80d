"""What the API needs of the store for every request: who calls, a transaction, and only once.

* Who calls is looked up as relevo_sweep, in batches, one under way at a time: however many keys a
  stranger tries, the database sees one small statement after the other. Nothing is remembered, so
  a key that was revoked is refused by the very next look.
* An Idempotency-Key is claimed in the transaction that does what the request asks, and its answer
  is kept by the same one. Whoever comes with the same key meanwhile waits for that transaction.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg

from relevo.clock import sleep
from relevo.errors import StoreUnavailableError
from relevo.keys import Caller, Scope, id_of, is_key
from relevo.messages import ConversationKey
from relevo.store.failures import is_retryable
from relevo.store.following import find, lock
from relevo.store.groups import GroupCommit
from relevo.store.means import Means
from relevo.store.pools import connected
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection

REMEMBERED = timedelta(hours=24)
"""How long the answer to an Idempotency-Key is kept."""

FORGET_EVERY_SECONDS = 600.0
FORGOTTEN_AT_ONCE = 5_000
LOOKED_UP_AT_ONCE = 200
USE_NOTED_SECONDS = 60.0
USES_REMEMBERED_MAX = 10_000
"""Keys of which this process remembers that their use was noted; of more, it is asked again."""

_NOBODY = bytes(32)


class ApiAccess:
    """Lets callers in, each to its own business."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._lookups: GroupCommit[str, Caller | None] = GroupCommit(
            self._look_up, means.tasks, batch_max=LOOKED_UP_AT_ONCE, flights_max=1
        )
        self._noted: OrderedDict[str, float] = OrderedDict()

    async def caller(self, text: str) -> Caller | None:
        """Return whose key this is; None if it is none, or works no more.

        Raises:
            StoreUnavailableError: if it cannot be looked up.
        """
        if id_of(text) is None:
            return None
        found = await self._lookups.submit(text)
        if found is not None:
            await self._note_use(found)
        return found

    @asynccontextmanager
    async def reading(self, business_id: str) -> "AsyncIterator[Connection]":
        """Open a transaction that sees one business, at one instant, and changes nothing.

        Raises:
            StoreUnavailableError: if the database cannot be reached.
        """
        async with self._means.pools.tenant(business_id, snapshot=True) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self, business_id: str) -> "AsyncIterator[Connection]":
        """Open a transaction of one business; whoever raises in it has changed nothing.

        Raises:
            StoreUnavailableError: if the database cannot be reached, or somebody else was at work
                on the same rows: nothing is done, the same may be asked again.
        """
        try:
            async with self._means.pools.tenant(business_id) as connection:
                yield connection
        except asyncpg.PostgresError as error:
            if is_retryable(error):
                raise StoreUnavailableError("the rows are locked by another") from error
            raise

    async def claim(
        self, transaction: "Connection", business_id: str, key: str, request: bytes
    ) -> tuple[bytes, int, bytes] | None:
        """Claim an Idempotency-Key for a request, given by its hash; None: it is ours.

        Else return what request had it, and what that was answered: its status and body.
        """
        sql, now = statements("idempotency"), self._means.clock.now()
        await transaction.execute(sql["forget_old"], business_id, key, now - REMEMBERED)
        row = None
        while row is None:  # again, if its customer is forgotten at this moment
            if await transaction.fetchval(sql["claim"], business_id, key, request, now) is not None:
                return None
            row = await transaction.fetchrow(sql["answered"], business_id, key)
        return row["request"], row["status"], row["body"]

    async def home(
        self, transaction: "Connection", key: ConversationKey, *, for_writing: bool
    ) -> ConversationKey | None:
        """Return a conversation's key, or that of the one it was merged into; None: neither.

        Locked for writing, so that it is merged no more before the transaction ends.
        """
        return await (lock if for_writing else find)(transaction, key)

    async def keep(
        self, transaction: "Connection", business_id: str, key: str, answer: tuple[int, bytes]
    ) -> None:
        """Keep what the request that claimed a key is answered: its status and body."""
        await transaction.execute(statements("idempotency")["keep"], business_id, key, *answer)

    async def forget(self) -> None:
        """Forget the answers whose time is over.

        Raises:
            StoreUnavailableError: if the database cannot be reached.
        """
        sql, pools = statements("idempotency"), self._means.pools
        too_old = self._means.clock.now() - REMEMBERED
        async with connected(pools.sweep) as connection:
            rows = await connection.fetch(sql["businesses"])
        for row in rows:
            which = (row["business_id"], too_old, FORGOTTEN_AT_ONCE)
            forgotten = FORGOTTEN_AT_ONCE
            while forgotten == FORGOTTEN_AT_ONCE:
                async with pools.tenant(row["business_id"]) as connection:
                    forgotten = await connection.fetchval(sql["forget"], *which)

    async def forget_for_ever(self) -> None:
        """Forget now and then, as long as the process lives."""
        while True:
            await sleep(self._means.clock, FORGET_EVERY_SECONDS)
            try:
                await self.forget()
            except StoreUnavailableError:
                continue
            except Exception:
                # A bug, and reported as one; what is old must not wait for a restart.
                self._means.tasks.spawn(self.forget_for_ever(), "forget-idempotency")
                raise

    async def _look_up(self, texts: Sequence[str]) -> list[Caller | None]:
        ids = list({id_of(text) for text in texts})
        async with connected(self._means.pools.sweep) as connection:
            rows = await connection.fetch(statements("api_keys")["holders"], ids)
        kept, now = {row["id"]: row for row in rows}, self._means.clock.now()
        found: list[Caller | None] = []
        for text in texts:
            row = kept.get(id_of(text))
            fits = is_key(text, _NOBODY if row is None else row["hash"])
            if row is None or not fits or not _works(row["expires_at"], row["revoked_at"], now):
                found.append(None)
                continue
            # A scope that this version does not know allows nothing.
            scopes = frozenset(scope for scope in Scope if scope in row["scopes"])
            found.append(Caller(row["business_id"], row["id"], scopes))
        return found

    async def _note_use(self, caller: Caller) -> None:
        """Write down that a key was used, at most once a minute."""
        now = self._means.clock.monotonic()
        noted = self._noted.get(caller.key_id)
        if noted is not None and now - noted < USE_NOTED_SECONDS:
            return
        # Marked before it is written: of a hundred requests at once one goes to the database.
        self._noted[caller.key_id] = now
        self._noted.move_to_end(caller.key_id)
        if len(self._noted) > USES_REMEMBERED_MAX:
            self._noted.popitem(last=False)
        try:
            async with self._means.pools.tenant(caller.business_id) as connection:
                used = (caller.business_id, caller.key_id, self._means.clock.now())
                await connection.execute(statements("api_keys")["use"], *used)
        except BaseException:
            self._noted.pop(caller.key_id, None)
            raise


def _works(expires_at: datetime | None, revoked_at: datetime | None, now: datetime) -> bool:
    return revoked_at is None and (expires_at is None or now < expires_at)
