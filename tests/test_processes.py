"""Real processes that freeze, share a database, lose it, fill its disk, and are told to stop."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from chaos.ledger import Findings, Letter
from chaos.loop import STOP_SECONDS_MAX
from chaos.server import Server, Site, until, until_so
from chaos.stopped import WAYS, How, Woken, stopped_while_sending
from relevo.clock import SystemClock, sleep
from relevo.store.embedded import DatabaseUrls
from tests.embedded_rig import server_pid
from tests.fakes.wati import Sending
from tests.postgres import Cluster
from tests.processes_rig import Street, fill, small_disk, street

pytestmark = pytest.mark.process
on_one_loop = pytest.mark.asyncio(loop_scope="module")

WELL = Findings()
FROZEN_SECONDS = 31
"""Longer than every time-out of a process: 30 s for a statement, 20 s for a send and for the AI."""
RECOVERY_SECONDS_MAX = 45
"""A PostgreSQL that does not come up is tried again after 30 s at most."""
DISK_BYTES = 160 * 2**20
LONG = "Quisiera reservar. " * 200
POSTS_MAX = 2000

LOCK_AWAITED = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"


class Frozen:
    """What came of the processes that were frozen."""

    woken: dict[How, Woken]
    alone: tuple[list[int], Findings, int | None]
    """How webhooks were answered, what the books say, and how the process ended."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def frozen(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Frozen:
    """Freeze all of them at once: most of it is waiting for a deadline."""

    async def while_sending(how: How) -> None:
        async with cluster.fresh_database() as urls:
            site = Site(tmp_path_factory.mktemp(how), urls)
            found.woken[how] = await stopped_while_sending(how, 0, site)

    async def alone() -> None:
        async with cluster.fresh_database() as urls:
            site = Site(tmp_path_factory.mktemp("alone"), urls)
            async with street(site) as here:
                found.alone = await frozen_alone(here)

    found = Frozen()
    found.woken = {}
    await asyncio.gather(alone(), *map(while_sending, WAYS))
    return found


@on_one_loop
@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", WAYS)
async def test_frozen_while_it_sends_and_woken_after_another_took_over_there_is_one_reply(
    how: How, frozen: Frozen
) -> None:
    assert frozen.woken[how].sound, frozen.woken[how]


@on_one_loop
@pytest.mark.timeout(180)
async def test_frozen_for_longer_than_every_time_out_it_goes_on_where_it_was(
    frozen: Frozen,
) -> None:
    assert frozen.alone == ([200, 200, 200, 200], WELL, 0)


async def frozen_alone(here: Street) -> tuple[list[int], Findings, int | None]:
    """Freeze a process that sends, asks, gathers and is about to hear, each for somebody else."""
    server, think = await here.server(), here.ai.before_answer
    assert think is not None
    here.wati.send_next(Sending(hang=True))
    statuses = [await here.say(server, customer=1)]
    await until_so(lambda: here.wati.holding == 1, 10)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(question: dict[str, Any]) -> None:
        asked.set()
        await go_on.wait()
        await think(question)

    here.ai.before_answer = hold
    statuses.append(await here.say(server, customer=2))
    await asked.wait()
    statuses.append(await here.say(server, customer=3))
    server.signal(signal.SIGSTOP)
    late = asyncio.gather(here.say(server, customer=4))
    await sleep(SystemClock(), FROZEN_SECONDS)
    here.wati.release()
    go_on.set()
    server.signal(signal.SIGCONT)
    statuses += await late
    return statuses, await here.findings(), (await server.stop(STOP_SECONDS_MAX))[0]


async def test_a_second_process_shares_the_embedded_database_and_outlives_the_first(
    tmp_path: Path,
) -> None:
    async with street(Site(tmp_path)) as here:
        first, second = await here.server("first"), await here.server("second")
        await everybody_writes(here, first, second)
        await first.kill()
        await everybody_writes(here, second)
        await first.start()
        await first.serving()
        await everybody_writes(here, first, second)
        assert await here.findings() == WELL
        assert (await second.stop(STOP_SECONDS_MAX))[0] == 0
        assert await first.ready() == 200
        assert (await first.stop(STOP_SECONDS_MAX))[0] == 0


@pytest.mark.timeout(120)
async def test_postgres_killed_in_the_middle_of_a_commit_comes_back_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    async with street(site) as here:
        server = await here.server()
        await everybody_writes(here, server)
        letter = here.letter(customer=7)
        assert await killed_before_it_commits(here, server, letter) == 503
        assert await server.ready() == 503
        await until_so(lambda: is_ready(server), RECOVERY_SECONDS_MAX)
        await until_so(lambda: are_taken(here, [letter], server), RECOVERY_SECONDS_MAX)
        letters = [here.letter(customer) for customer in range(40)]
        posting = asyncio.gather(*(here.bring(letter, server) for letter in letters))
        os.kill(server_pid(site.data_dir), signal.SIGKILL)
        assert set(await posting) <= {200, 503}
        await until_so(lambda: are_taken(here, letters, server), RECOVERY_SECONDS_MAX)
        assert await here.findings() == WELL
        assert (await server.stop(STOP_SECONDS_MAX))[0] == 0


@pytest.mark.timeout(150)
async def test_a_full_disk_is_told_and_refuses_and_is_over_when_there_is_room(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    site.data_dir.mkdir()
    with small_disk(site.data_dir, DISK_BYTES):
        async with street(site) as here:
            server = await here.server()
            await everybody_writes(here, server)
            ballast = site.data_dir / "ballast"
            fill(ballast)
            status = 200
            while status == 200:
                assert len(here.letters) < POSTS_MAX
                status = await here.say(server, len(here.letters) % 5, LONG)
            assert status == 503
            assert await server.ready() == 503
            await until_so(lambda: b'"notice":"disk_full"' in server.log, 10)
            ballast.unlink()
            await until_so(lambda: b'"notice":"disk_has_room"' in server.log, 10)
            await until_so(lambda: is_ready(server), RECOVERY_SECONDS_MAX)
            refused = here.letters[-1:]
            await until_so(lambda: are_taken(here, refused, server), RECOVERY_SECONDS_MAX)
            assert await here.findings() == WELL
            assert (await server.stop(STOP_SECONDS_MAX))[0] == 0


@pytest.mark.timeout(120)
async def test_told_to_stop_with_work_under_way_it_exits_well_and_the_next_life_does_the_rest(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with street(Site(tmp_path, database)) as here:
        server = await here.server()
        await everybody_writes(here, server)
        await until_so(lambda: len(here.wati.sends) > 2, 10)
        letters = [here.letter(customer) for customer in range(40)]
        posting = asyncio.gather(*(here.bring(letter, server) for letter in letters))
        exit_code, _ = await server.stop(STOP_SECONDS_MAX)
        assert exit_code == 0
        assert set(await posting) <= {200, 503, 0}
        await server.start()
        await server.serving()
        assert await are_taken(here, letters, server)
        assert await here.findings() == WELL
        assert (await server.stop(STOP_SECONDS_MAX))[0] == 0


async def everybody_writes(here: Street, *servers: Server) -> None:
    """Ten customers write three times, each time to another of the servers."""
    letters = [here.letter(customer) for _ in range(3) for customer in range(10)]
    posts = (here.bring(m, servers[n % len(servers)]) for n, m in enumerate(letters))
    assert set(await asyncio.gather(*posts)) == {200}


async def killed_before_it_commits(here: Street, server: Server, letter: Letter) -> int:
    """Kill PostgreSQL while the webhook's transaction is open; return how it was answered."""
    async with here.site.database() as owner:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            async with owner.transaction():
                await owner.execute("LOCK TABLE message IN SHARE MODE")
                posting = asyncio.gather(here.bring(letter, server))
                await until(owner, LOCK_AWAITED)
                os.kill(server_pid(here.site.data_dir), signal.SIGKILL)
                [status] = await posting
    return status


async def is_ready(server: Server) -> bool:
    return await server.ready() == 200


async def are_taken(here: Street, letters: list[Letter], server: Server) -> bool:
    return {await here.bring(letter, server) for letter in letters} == {200}
