"""The database of a process: embedded or given, migrated, connected, and named for its life."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from relevo.clock import Clock
from relevo.errors import StoreSetupError, StoreUnavailableError
from relevo.store import migrate
from relevo.store.embedded import EmbeddedServer
from relevo.store.incarnation import Incarnation
from relevo.store.pools import Pools, connected, enter, open_pools
from relevo.store.portfolios import join
from relevo.store.server_process import DatabaseUrls
from relevo.store.sql import statements
from relevo.tasks import Tasks

EMBEDDED_ROLE = "relevo"


class Database:
    """Starts whatever is needed to have a database, and stops what it started."""

    def __init__(
        self,
        url: str,
        owner_url: str,
        data_dir: Path,
        clock: Clock,
        notice: Callable[[str, str], None] = lambda _event, _why: None,
    ) -> None:
        """An empty `url` means the embedded server under `data_dir`; `notice` hears its falls."""
        self._given = DatabaseUrls(url, owner_url)
        self._embedded = None if url else EmbeddedServer(data_dir, clock, notice=notice)
        self._clock = clock
        self._pools: Pools | None = None
        self._incarnation: Incarnation | None = None
        self.urls = self._given

    @property
    def pools(self) -> Pools:
        """Return the connections; only once `connect` is done."""
        assert self._pools is not None, "connect first"
        return self._pools

    @property
    def incarnation(self) -> Incarnation:
        """Return the name of this life; only once `connect` is done."""
        assert self._incarnation is not None, "connect first"
        return self._incarnation

    async def start(self, *, make: bool = True) -> None:
        """Have a server that answers; without `make` only one that has been there before.

        Raises:
            StoreSetupError: if the embedded server cannot be had.
        """
        if self._embedded is not None:
            self.urls = await self._embedded.start(make=make)

    async def migrate(self, target: str = "head") -> None:
        """Bring the schema to `target`.

        Raises:
            StoreSetupError: if the owner is not known, or may not.
            StoreUnavailableError: if the database cannot be reached.
        """
        if not self.urls.owner_url:
            raise StoreSetupError(
                "database.owner_url is not set, so the schema cannot be migrated; set it, or run "
                "`relevo migrate` where it is known and serve with --no-migrate"
            )
        role = urlsplit(self.urls.url).username or EMBEDDED_ROLE
        await migrate.migrate(self.urls.owner_url, role, target=target, clock=self._clock)

    async def connect(self, tasks: Tasks) -> None:
        """Open the pools and take a name for this life.

        Raises:
            StoreSetupError: if the role may not serve, or the schema is not there.
            StoreUnavailableError: if the database cannot be reached.
        """
        self._pools = await open_pools(self.urls.url)
        self._incarnation = Incarnation(self.urls.url, tasks, self._clock)
        await self._incarnation.take()

    async def enter(
        self, businesses: Mapping[str, Mapping[str, str]], portfolios: Mapping[str, str]
    ) -> None:
        """Write down what is configured: business to channel id to kind, and channel to portfolio.

        Raises:
            ConfigError: if a channel was another business's.
            StoreUnavailableError: if the database cannot be reached.
        """
        for business_id, channels in businesses.items():
            await enter(self.pools, business_id, channels)
            for channel_id in channels:
                portfolio = portfolios[channel_id]
                if portfolio != channel_id:
                    now = self._clock.now()
                    await join(self.pools, business_id, channel_id, portfolio, now)

    async def answers(self) -> bool:
        """Tell whether a webhook could be stored now, and the next ones."""
        if self._embedded is not None and not self._embedded.has_room:
            return False
        try:
            self.incarnation.number()
            async with connected(self.pools.ingest) as connection:
                await connection.execute(statements("setup")["ping"])
        except StoreUnavailableError:
            return False
        return True

    async def stop(self) -> None:
        """Let everything go that was taken, the server last, whatever fails on the way."""
        async with AsyncExitStack() as stack:
            if self._embedded is not None:
                stack.push_async_callback(self._embedded.stop)
            if self._pools is not None:
                stack.push_async_callback(self._pools.close)
            if self._incarnation is not None:
                stack.push_async_callback(self._incarnation.release)
