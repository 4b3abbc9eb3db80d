"""Connections, each working as one of three roles and never as the login role itself.

`app` works under the tenant setting of its transaction, `ingest` may insert for every business,
`sweep` sees ids of every business. A role that could look past row-level security is refused at the
start.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from relevo.errors import ConfigError, StoreSetupError
from relevo.store.failures import NOT_LET_IN, as_unavailable, is_unavailable
from relevo.store.sql import statements

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

COMMAND_TIMEOUT_SECONDS = 30.0
ACQUIRE_TIMEOUT_SECONDS = 5.0
CLOSE_SECONDS_MAX = 3.0
"""A database that is gone does not say good-bye."""
POOL_SIZES = {"relevo_app": 6, "relevo_ingest": 3, "relevo_sweep": 1}


@dataclass(frozen=True, slots=True)
class Pools:
    """The three pools of a process."""

    app: "asyncpg.Pool[asyncpg.Record]"
    ingest: "asyncpg.Pool[asyncpg.Record]"
    sweep: "asyncpg.Pool[asyncpg.Record]"

    @asynccontextmanager
    async def tenant(
        self, business_id: str, *, snapshot: bool = False
    ) -> "AsyncIterator[Connection]":
        """Open a transaction that sees one business; `snapshot` reads everything at one instant.

        Raises:
            StoreUnavailableError: if the database cannot be reached or does not work.
        """
        async with connected(self.app) as connection:
            transaction = (
                connection.transaction(isolation="repeatable_read", readonly=True)
                if snapshot
                else connection.transaction()
            )
            async with transaction:
                await connection.execute(statements("setup")["become_tenant"], business_id)
                yield connection

    async def close(self) -> None:
        """Close every connection, waiting a little for those in use; then they are cut."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS_MAX):  # a pool whose wait is cancelled cuts
                await asyncio.gather(*(p.close() for p in (self.app, self.ingest, self.sweep)))


async def open_pools(url: str) -> Pools:
    """Connect, check that the role is fit to serve, and return the pools.

    Raises:
        StoreSetupError: if the role may not log in, could bypass row-level security, or lacks its
            memberships.
        StoreUnavailableError: if the database cannot be reached.
    """
    try:
        await _refuse_unfit_role(url)
        async with AsyncExitStack() as half_way:
            app, ingest, sweep = [await _open(url, role, half_way) for role in POOL_SIZES]
            half_way.pop_all()
    except NOT_LET_IN as error:
        raise StoreSetupError(f"database.url does not open the database: {error}") from error
    except Exception as error:
        if is_unavailable(error):
            raise as_unavailable(error) from error
        raise
    return Pools(app, ingest, sweep)


@asynccontextmanager
async def connected(pool: "asyncpg.Pool[asyncpg.Record]") -> "AsyncIterator[Connection]":
    """Lend a connection; a database that does not work becomes `StoreUnavailableError`."""
    try:
        async with pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection:
            yield connection
    except Exception as error:
        if is_unavailable(error):
            raise as_unavailable(error) from error
        raise


async def _open(url: str, role: str, half_way: AsyncExitStack) -> "asyncpg.Pool[asyncpg.Record]":
    async def work_as(connection: asyncpg.Connection) -> None:
        await connection.execute(f"SET ROLE {role}")

    async def leave_as_it_is(_connection: object) -> None:
        # All we set lasts for a transaction, and the role for good, so the round trip that resets a
        # connection is saved: an eighth of what a batch costs. An open transaction is rolled back.
        return

    pool: asyncpg.Pool[asyncpg.Record] = await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=POOL_SIZES[role],
        init=work_as,
        reset=leave_as_it_is,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings={"application_name": role},
    )
    half_way.push_async_callback(pool.close)
    return pool


async def _refuse_unfit_role(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=ACQUIRE_TIMEOUT_SECONDS)
    try:
        row = await connection.fetchrow(statements("setup")["fitness"])
    finally:
        await connection.close()
    if row is None or not row["serves"]:
        raise StoreSetupError(
            "database.url: this role may not work as relevo_app, relevo_ingest and relevo_sweep; "
            "run `relevo migrate` with database.owner_url set"
        )
    if not row["migrated"]:
        raise StoreSetupError(
            "database.url: there are no tables; run `relevo migrate` with database.owner_url set"
        )
    if row["bypasses"] or row["owns"]:
        raise StoreSetupError(
            f"database.url: role {row['rolname']} (or a relevo_ role it works as) is a superuser, "
            "bypasses row-level security or owns the tables; serve with a role that does not"
        )


async def enter(pools: Pools, business_id: str, channels: Mapping[str, str]) -> None:
    """Write down a configured business and its channels (id to kind).

    Raises:
        ConfigError: if a channel is another business's.
        StoreUnavailableError: if the database cannot be reached.
    """
    setup = statements("setup")
    try:
        async with pools.tenant(business_id) as connection:
            await connection.execute(setup["put_business"], business_id)
            for channel_id, kind in channels.items():
                await connection.execute(setup["put_channel"], business_id, channel_id, kind)
    except asyncpg.UniqueViolationError as error:
        raise await _taken(pools, business_id, channels) from error


async def _taken(pools: Pools, business_id: str, channels: Iterable[str]) -> ConfigError:
    """Say whose a channel is; only a sweep may see it, for tenants do not see one another."""
    async with connected(pools.sweep) as connection:
        rows = await connection.fetch(
            statements("sweep")["channels_of_others"], list(channels), business_id
        )
    taken = "; ".join(
        f"channel {row['id']}: it belonged to business {row['business_id']}, whose customers and "
        f"messages stay with that id; name the business {row['business_id']} again, or give the "
        "channel another id and its provider that webhook address"
        for row in rows
    )
    return ConfigError(
        taken or f"business {business_id}: another process wrote its channels just now; start again"
    )
