"""The schema goes forward and back, once, whoever asks and however many ask."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from relevo.clock import Alarm, SystemClock
from relevo.errors import StoreSetupError, StoreUnavailableError
from relevo.store import migrate as migrations
from relevo.store.embedded import DatabaseUrls
from relevo.store.migrate import LOCK_KEY, head, migrate, revision
from tests.postgres import APP_ROLE, Cluster, quick_cluster

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parent.parent
FOLDER = Path(migrations.__file__).parent / "migrations"

MIGRATE_IN_A_PROCESS = """
import asyncio, sys
from relevo.store.migrate import head, migrate
asyncio.run(migrate(sys.argv[1], "relevo"))
assert head() > "0000"
print(any(name in sys.modules for name in ("alembic", "sqlalchemy")))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with quick_cluster(tmp_path_factory.mktemp("migrate")) as cluster:
        yield cluster


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[DatabaseUrls]:
    async with cluster.empty_database() as urls:
        yield urls


async def test_the_schema_goes_forward_and_back_and_forward(database: DatabaseUrls) -> None:
    assert await revision(database.owner_url) is None
    await migrate(database.owner_url, APP_ROLE)
    assert await revision(database.owner_url) == head()
    tables = await table_names(database)
    assert {"conversation", "message", "turn", "outbox"} <= tables

    await migrate(database.owner_url, APP_ROLE, target="base")
    assert await revision(database.owner_url) is None
    assert await leftovers(database) == set()

    await migrate(database.owner_url, APP_ROLE)
    assert await table_names(database) == tables


async def test_migrations_at_the_same_time_are_one(database: DatabaseUrls) -> None:
    await asyncio.gather(*(migrate(database.owner_url, APP_ROLE) for _ in range(4)))
    assert await revision(database.owner_url) == head()


async def test_a_migration_that_never_ends_is_not_waited_for_for_ever(
    database: DatabaseUrls,
) -> None:
    other = await asyncpg.connect(database.owner_url)
    await other.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    with pytest.raises(StoreUnavailableError, match="120 s"):
        await migrate(database.owner_url, APP_ROLE, clock=HastyClock())
    await other.close()
    await migrate(database.owner_url, APP_ROLE)


async def test_who_waits_is_in_no_transaction(database: DatabaseUrls) -> None:
    other = await asyncpg.connect(database.owner_url)
    await other.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    clock = WaitedClock()
    waiting = asyncio.gather(migrate(database.owner_url, APP_ROLE, clock=clock))
    await clock.waited.wait()
    states = await other.fetch(
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    assert [row["state"] for row in states] == ["idle"]
    await other.close()
    await waiting
    assert await revision(database.owner_url) == head()


async def test_the_placeholder_is_the_role_of_the_app_whatever_its_name(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute('CREATE ROLE "An odd ""role"""')
    up = "CREATE TABLE seen (n int);\nGRANT INSERT ON seen TO {{app_role}};\n"
    sql = pair(tmp_path, up, "DROP TABLE seen;\n")
    await migrate(database.owner_url, 'An odd "role"', target="0001", sql=sql)
    allowed = await owner.fetchval(
        "SELECT has_table_privilege($1::text, 'seen', 'INSERT')", 'An odd "role"'
    )
    assert allowed is True
    await migrate(database.owner_url, 'An odd "role"', target="base", sql=sql)
    await owner.execute('DROP ROLE "An odd ""role"""')
    await owner.close()


async def test_a_migration_that_fails_half_way_leaves_nothing(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    sql = pair(tmp_path, "CREATE TABLE half (n int);\nSELECT 1 / 0;\n", "")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(database.owner_url, APP_ROLE, sql=sql)
    assert await revision(database.owner_url) is None
    assert await table_names(database) == set()


async def test_a_database_of_a_newer_relevo_is_refused(database: DatabaseUrls) -> None:
    await migrate(database.owner_url, APP_ROLE)
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("UPDATE alembic_version SET version_num = '9999'")
    await owner.close()
    with pytest.raises(StoreSetupError, match="revision 9999"):
        await migrate(database.owner_url, APP_ROLE)


async def test_a_revision_that_does_not_exist_is_refused(database: DatabaseUrls) -> None:
    with pytest.raises(StoreSetupError, match="no revision 0815"):
        await migrate(database.owner_url, APP_ROLE, target="0815")


async def test_the_role_of_the_app_may_not_migrate(database: DatabaseUrls) -> None:
    with pytest.raises(StoreSetupError, match="may not do this"):
        await migrate(database.url, APP_ROLE)


async def test_a_wrong_password_is_told_from_a_server_that_is_away(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    with pytest.raises(StoreSetupError, match="owner_url"):
        await migrate(database.owner_url.replace("relevo_owner:", "relevo_owner:no"), APP_ROLE)
    with pytest.raises(StoreUnavailableError):
        await migrate(f"postgresql://relevo_owner:no@/relevo?host={tmp_path}", APP_ROLE)


async def test_a_schema_that_is_right_loads_no_alembic(database: DatabaseUrls) -> None:
    assert await in_a_process(database) == "True"
    assert await in_a_process(database) == "False"


async def test_nothing_is_printed_and_logging_stays_as_it_was(
    database: DatabaseUrls, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [(log.level, list(log.handlers), log.disabled) for log in loggers()]
    await migrate(database.owner_url, APP_ROLE)
    assert [(log.level, list(log.handlers), log.disabled) for log in loggers()] == before
    assert capfd.readouterr() == ("", "")


def test_every_revision_has_its_pair_of_files() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [head()]
    for script in scripts.walk_revisions():
        name = Path(script.path).stem.removeprefix("v")
        assert name.startswith(f"{script.revision}_")
        for way in ("up", "down"):
            assert (FOLDER / "sql" / f"{name}.{way}.sql").is_file()
            assert f'load("{name}.{way}.sql")' in Path(script.path).read_text()


class HastyClock(SystemClock):
    """A minute passes whenever somebody looks, and nobody ever waits."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        self._seconds += 60
        return self._seconds

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Alarm:  # noqa: ARG002  (now)
        return asyncio.get_running_loop().call_soon(callback)


class WaitedClock(SystemClock):
    """Tells that somebody waits."""

    def __init__(self) -> None:
        self.waited = asyncio.Event()

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Alarm:
        self.waited.set()
        return super().call_at(when, callback)


def pair(folder: Path, up: str, down: str) -> Path:
    (folder / "0001_first.up.sql").write_text(up)
    (folder / "0001_first.down.sql").write_text(down)
    return folder


def loggers() -> list[logging.Logger]:
    names = ("", "alembic", "alembic.runtime.migration", "sqlalchemy", "asyncio")
    return [logging.getLogger(name) for name in names]


async def table_names(database: DatabaseUrls) -> set[str]:
    return await names(
        database,
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
        "AND tablename <> 'alembic_version'",
    )


async def leftovers(database: DatabaseUrls) -> set[str]:
    """Whatever is in the schema: tables, sequences, indexes, views, functions, types."""
    return await names(
        database,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relname NOT LIKE 'alembic_version%' "
        "UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
        "UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace "
        "AND typname NOT LIKE '%alembic_version'",
    )


async def names(database: DatabaseUrls, query: str) -> set[str]:
    owner = await asyncpg.connect(database.owner_url)
    rows = await owner.fetch(query)
    await owner.close()
    return {row[0] for row in rows}


async def in_a_process(database: DatabaseUrls) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MIGRATE_IN_A_PROCESS,
        database.owner_url,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()
