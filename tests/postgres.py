"""One real PostgreSQL for many tests, and a database of its own for each.

In a conftest:

    @pytest.fixture(scope="session")
    def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        with quick_cluster(tmp_path_factory.mktemp("postgres")) as cluster:
            yield cluster

    @pytest.fixture
    async def database(cluster: Cluster) -> AsyncIterator[DatabaseUrls]:
        async with cluster.fresh_database() as urls:
            yield urls
"""

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import asyncpg

from relevo.clock import SystemClock
from relevo.store.embedded import DatabaseUrls, EmbeddedServer
from relevo.store.migrate import migrate

TEMPLATE = "relevo_template"
APP_ROLE = "relevo"

CARELESS = """\
fsync = off
full_page_writes = off
synchronous_commit = off
max_wal_size = '256MB'
"""
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 2 * 1024**3


@contextmanager
def quick_cluster(folder: Path) -> Iterator["Cluster"]:
    """Start a server that does not wait for the disk, and is in memory where there is room.

    What outlives the machine is no test's subject, and a disk makes a database ten times dearer.
    """
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_BYTES_MIN:
        with Cluster(folder, careless=True) as cluster:
            yield cluster
        return
    with (
        tempfile.TemporaryDirectory(prefix="relevo-tests-", dir=MEMORY) as memory,
        Cluster(Path(memory), careless=True) as cluster,
    ):
        yield cluster


class Cluster:
    """A server that belongs to no event loop; its databases may be used from any.

    It waits for the disk as Relevo's own server does, unless it may be `careless`.
    """

    def __init__(self, folder: Path, *, careless: bool = False) -> None:
        self._careless = careless
        self._cluster = folder / "postgres" / "cluster"
        self._server = EmbeddedServer(folder, SystemClock())
        self._numbers = itertools.count(1)
        self._urls: DatabaseUrls | None = None

    def __enter__(self) -> Self:
        asyncio.run(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run(self._server.stop())

    @property
    def urls(self) -> DatabaseUrls:
        """The database the server came with: no test's, and without a schema."""
        assert self._urls is not None
        return self._urls

    @asynccontextmanager
    async def fresh_database(self) -> AsyncIterator[DatabaseUrls]:
        """Copy the migrated database, and drop the copy in the end."""
        async with self._database(f"TEMPLATE {TEMPLATE} STRATEGY file_copy") as urls:
            yield urls

    @asynccontextmanager
    async def empty_database(self) -> AsyncIterator[DatabaseUrls]:
        """Make a database without a schema, and drop it in the end."""
        async with self._database("") as urls:
            yield urls

    async def _start(self) -> None:
        self._urls = await self._server.start(watch=False)
        try:
            if self._careless:
                self._be_careless()
            await self._execute(f"CREATE DATABASE {TEMPLATE}")
            await migrate(self._named(TEMPLATE).owner_url, APP_ROLE)
        except BaseException:
            await self._server.stop()
            raise

    def _be_careless(self) -> None:
        # The file of ALTER SYSTEM, which comes after Relevo's own; the superuser may not log in.
        (self._cluster / "postgresql.auto.conf").write_text(CARELESS)
        pid = (self._cluster / "postmaster.pid").read_text().split("\n", 1)[0]
        os.kill(int(pid), signal.SIGHUP)

    @asynccontextmanager
    async def _database(self, source: str) -> AsyncIterator[DatabaseUrls]:
        name = f"test_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name} {source}")
        try:
            yield self._named(name)
        finally:
            await self._drop(name)

    async def _drop(self, name: str) -> None:
        try:
            # Waits for sessions that are ending, and ends an autovacuum; FORCE may do neither.
            await self._execute(f"DROP DATABASE {name}")
        except asyncpg.ObjectInUseError:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _named(self, database: str) -> DatabaseUrls:
        url, owner_url = (
            urlsplit(url)._replace(path=f"/{database}").geturl()
            for url in (self.urls.url, self.urls.owner_url)
        )
        return DatabaseUrls(url, owner_url)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.urls.owner_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
