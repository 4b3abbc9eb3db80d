"""Where the files of a database are gone, no empty one takes their place."""

import os
import signal
from pathlib import Path

import pytest

from relevo.clock import SystemClock
from relevo.errors import StoreSetupError
from relevo.store.embedded import EmbeddedServer
from tests.embedded_rig import Notices, remember, row, running, server_pid

pytestmark = pytest.mark.postgres


async def test_a_folder_that_comes_back_has_kept_its_passwords(tmp_path: Path) -> None:
    async with running(tmp_path) as urls:
        await remember(urls, 3)
    cluster = tmp_path / "postgres" / "cluster"
    away = cluster.rename(tmp_path / "elsewhere")
    for make in (True, False):
        with pytest.raises(StoreSetupError, match=r"cluster is missing but its passwords are here"):
            await EmbeddedServer(tmp_path, SystemClock()).start(make=make)
        assert not cluster.exists()
    away.rename(cluster)
    async with running(tmp_path) as again:
        assert again == urls
        assert await row(again.owner_url, "SELECT n FROM remembered") == (3,)


async def test_who_only_looks_makes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    with pytest.raises(StoreSetupError, match=f"there is no database under {folder}; start"):
        await EmbeddedServer(folder, SystemClock()).start(make=False)
    assert not folder.exists()


async def test_the_watch_waits_for_the_folder_and_makes_none(tmp_path: Path) -> None:
    notices = Notices()
    server = EmbeddedServer(tmp_path, SystemClock(), notice=notices.hear)
    urls = await server.start()
    await remember(urls, 4)
    cluster, pid = tmp_path / "postgres" / "cluster", server_pid(tmp_path)
    away = cluster.rename(tmp_path / "elsewhere")
    os.kill(pid, signal.SIGKILL)
    assert [await notices.next(), await notices.next()] == ["lost", "restart_failed"]
    assert "bring the folder back" in notices.why
    away.rename(cluster)
    while await notices.next() != "restarted":
        pass
    assert await row(urls.owner_url, "SELECT n FROM remembered") == (4,)
    await server.stop()


async def test_a_cluster_that_only_lacks_its_name_gets_it(tmp_path: Path) -> None:
    async with running(tmp_path) as urls:
        await remember(urls, 5)
    home = tmp_path / "postgres"
    (home / "cluster").rename(home / "cluster.new")
    async with running(tmp_path) as again:
        assert await row(again.owner_url, "SELECT n FROM remembered") == (5,)
