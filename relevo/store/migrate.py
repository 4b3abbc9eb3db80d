"""Brings the schema to a revision, forward and back.

A revision is a pair of plain `.sql` files and a version script that names them; Alembic keeps the
order and the mark. All steps of one call are one transaction. Several Relevos may ask at the same
time: one migrates, the others wait for it outside of any transaction, where waiting blocks nobody.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from relevo.clock import Clock, SystemClock, sleep
from relevo.errors import StoreSetupError, StoreUnavailableError
from relevo.store.failures import is_unavailable

if TYPE_CHECKING:
    # Not needed, and slow to import, where the schema is already right.
    from sqlalchemy import Connection

WAIT_SECONDS_MAX = 120
CONNECT_SECONDS_MAX = 20
# A statement that waits for a table makes everyone behind it wait too.
LOCK_SECONDS_MAX = 30
# Any number will do that nothing else in the database uses: "relevo" as six bytes.
LOCK_KEY = 0x72656C65766F

_MIGRATIONS = Path(__file__).parent / "migrations"
_SQL = _MIGRATIONS / "sql"
_BASE = "base"
_HEAD = "head"
_POLL_SECONDS = 0.2
_KEY = "database.owner_url"


@dataclass(frozen=True, slots=True)
class Migration:
    """What the version scripts need: the app's login role as an identifier, and the files."""

    app_role: str
    sql: Path

    def text(self, name: str) -> str:
        """Return the statements of a file, with the app's role in its place."""
        text = (self.sql / name).read_text(encoding="utf-8")
        return text.replace("{{app_role}}", self.app_role)


async def migrate(
    owner_url: str,
    app_role: str,
    *,
    target: str = _HEAD,
    clock: Clock | None = None,
    sql: Path = _SQL,
) -> None:
    """Bring the schema to `target`: a revision, "head", or "base" for an empty database.

    Not for two different databases at the same time in one process, which Alembic cannot do.
    Raises `StoreUnavailableError` when the database cannot be reached or is busy for too long, and
    `StoreSetupError` when the owner may not do it or the database is newer than this Relevo.
    """
    wanted = resolve(target)
    if await revision(owner_url) == wanted:
        return
    async with _alone(owner_url, clock or SystemClock()) as connection:
        present = await revision(owner_url)
        if present == wanted:
            return
        _refuse_newer(present)
        quoted = await connection.fetchval("SELECT quote_ident($1)", app_role)
        with _named_failures():
            await _run(owner_url, Migration(quoted, sql), present, wanted)


async def revision(owner_url: str) -> str | None:
    """Return the revision of the schema, or None where there is none."""
    async with _connected(owner_url) as connection:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        version: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return version


def head() -> str:
    """Return the newest revision that this Relevo knows."""
    return max(_revisions())


def _revisions() -> set[str]:
    # A version script is called v0001_first.py.
    return {path.name[1:5] for path in (_MIGRATIONS / "versions").glob("v[0-9]*_*.py")}


def resolve(target: str) -> str | None:
    """Return the revision that `target` means; None for none. Raises `StoreSetupError`."""
    if target == _BASE:
        return None
    wanted = head() if target == _HEAD else target
    if wanted not in _revisions():
        known = ", ".join((_BASE, *sorted(_revisions()), _HEAD))
        raise StoreSetupError(f"There is no revision {target}; known: {known}")
    return wanted


def _refuse_newer(present: str | None) -> None:
    if present is not None and present not in _revisions():
        raise StoreSetupError(
            f"The database is at revision {present}, this Relevo knows up to {head()}: start the "
            "newer Relevo, and migrate back with it first if you want this one."
        )


async def _run(
    owner_url: str, migration: Migration, present: str | None, wanted: str | None
) -> None:
    # Half a second of imports, for the one start in many that changes the schema.
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    connect = partial(
        asyncpg.connect,
        owner_url,
        timeout=CONNECT_SECONDS_MAX,
        server_settings={"lock_timeout": f"{LOCK_SECONDS_MAX}s"},
    )
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_steps, migration, present, wanted)
    except DBAPIError as error:
        # Alembic's own statements fail in wrappers; what PostgreSQL said is inside.
        raise (error.orig and error.orig.__cause__) or error from error
    finally:
        await engine.dispose()


def _steps(
    connection: "Connection", migration: Migration, present: str | None, wanted: str | None
) -> None:
    from alembic import command  # noqa: PLC0415  (the same)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["load"] = partial(_load, connection, migration)
    if wanted is None or (present is not None and wanted < present):
        command.downgrade(config, wanted or _BASE)
    else:
        command.upgrade(config, wanted)


def _load(connection: "Connection", migration: Migration, name: str) -> None:
    # Only asyncpg itself runs a file of many statements, and in the transaction it finds.
    text = migration.text(name)

    async def execute(raw: "asyncpg.Connection[Any]") -> None:
        assert raw.is_in_transaction()
        await raw.execute(text)

    adapter: Any = connection.connection.dbapi_connection
    adapter.run_async(execute)


@asynccontextmanager
async def _alone(owner_url: str, clock: Clock) -> AsyncIterator["asyncpg.Connection[Any]"]:
    deadline = clock.monotonic() + WAIT_SECONDS_MAX
    async with _connected(owner_url) as connection:
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
            if clock.monotonic() > deadline:
                raise StoreUnavailableError(
                    f"another Relevo has been migrating for more than {WAIT_SECONDS_MAX} s",
                    key=_KEY,
                )
            await sleep(clock, _POLL_SECONDS)
        yield connection  # closing it frees the lock


@asynccontextmanager
async def _connected(owner_url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    with _named_failures():
        connection = await asyncpg.connect(owner_url, timeout=CONNECT_SECONDS_MAX)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def _named_failures() -> Iterator[None]:
    try:
        yield
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as e:
        raise StoreSetupError(f"{_KEY} does not open the database: {e}") from e
    except asyncpg.InsufficientPrivilegeError as e:
        raise StoreSetupError(f"The role of {_KEY} may not do this: {e}") from e
    except Exception as e:
        if isinstance(e, asyncpg.LockNotAvailableError) or is_unavailable(e):
            raise StoreUnavailableError(f"it cannot be migrated now: {e}", key=_KEY) from e
        raise
