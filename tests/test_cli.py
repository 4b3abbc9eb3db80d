"""Commands that cannot do their work say so in one line, and change nothing."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from relevo.store.embedded import DatabaseUrls
from relevo.store.migrate import head, revision
from tests.postgres import Cluster

pytestmark = [pytest.mark.process, pytest.mark.postgres]

ROOT = Path(__file__).parent.parent
WELL, BAD, CANNOT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    errors: str

    @property
    def line(self) -> str:
        """The one line of a command that could not do its work."""
        assert (self.code, self.out, self.errors.count("\n")) == (CANNOT, "", 1), self
        return self.errors


async def test_who_only_looks_makes_no_database(tmp_path: Path) -> None:
    for command in (("why", "+50370000001"), ("audit",), ("migrate", "--to", "base")):
        ended = await relevo(tmp_path, *command)
        assert f"there is no database under {tmp_path / '.relevo'}; start" in ended.line
    assert os.listdir(tmp_path) == []  # noqa: PTH208  (a list)


async def test_everything_is_deleted_only_on_demand(database: DatabaseUrls, tmp_path: Path) -> None:
    kept = await relevo(tmp_path, "migrate", "--to", "base", **given(database))
    assert "deletes every table: 0 conversations, 0 messages" in kept.line
    assert "--yes" in kept.line
    assert await revision(database.owner_url) == head()
    gone = await relevo(tmp_path, "migrate", "--to", "base", "--yes", **given(database))
    assert (gone.code, gone.errors) == (WELL, "")
    assert await revision(database.owner_url) is None
    again = await relevo(tmp_path, "migrate", "--to", "base", **given(database))
    assert again.code == WELL


async def test_a_revision_that_does_not_exist_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    ended = await relevo(tmp_path, "migrate", "--to", "nope")
    assert "no revision nope; known: base, 0001, " in ended.line
    assert os.listdir(tmp_path) == []  # noqa: PTH208  (a list)


async def test_migrating_without_an_owner_says_what_to_set(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    ended = await relevo(tmp_path, "migrate", RELEVO_DATABASE_URL=database.url)
    assert "database.owner_url is not set, and migrating needs it; set it" in ended.line


async def test_an_audit_needs_the_tables(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.empty_database() as urls:
        ended = await relevo(tmp_path, "audit", **given(urls))
    assert "database.owner_url: this database has not the tables" in ended.line


async def test_without_a_business_there_is_nothing_to_audit(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with cluster.empty_database() as urls:
        assert (await relevo(tmp_path, "migrate", **given(urls))).code == WELL
        ended = await relevo(tmp_path, "audit", **given(urls))
    assert (ended.code, ended.out) == (WELL, "There is nothing to audit yet.\n")


async def test_a_number_of_turns_is_a_small_whole_number(tmp_path: Path) -> None:
    for turns in ("-1", "0", "1e3", "9" * 40, "1001"):
        ended = await relevo(tmp_path, "why", "x", "--turns", turns)
        assert ended.code == CANNOT
        assert "--turns: should be a whole number from 1 to 1000" in ended.errors


async def test_no_option_is_guessed(tmp_path: Path) -> None:
    for command in (("why", "x", "--turn", "1"), ("audit", "--js"), ("serve", "--no-mig")):
        ended = await relevo(tmp_path, *command)
        assert ended.code == CANNOT
        assert "unrecognized arguments" in ended.errors


async def test_the_help_tells_the_exit_codes(tmp_path: Path) -> None:
    assert "Exit codes: 0 well; 1 a command" in (await relevo(tmp_path, "--help")).out


def test_help_waits_for_nothing() -> None:
    said = """
import contextlib, sys
from relevo.cli import run
with contextlib.suppress(SystemExit):
    run(["--help"])
slow = {"aiohttp", "alembic", "asyncpg", "openai", "pydantic", "rich", "uvloop"} & set(sys.modules)
assert not slow, slow
"""
    subprocess.run([sys.executable, "-c", said], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


async def test_a_play_needs_a_relevo(tmp_path: Path) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=answers.pop())

    answers = ["<html>", "[]", '{"quiet_seconds": 1}']
    stranger = web.Application()
    stranger.router.add_get("/sandbox/api/config", answer)
    async with TestServer(stranger) as server:
        while answers:
            ended = await relevo(tmp_path, "demo", "--url", str(server.make_url("/")))
            assert "is not Relevo; give its url with --url" in ended.line
        nothing = await relevo(tmp_path, "demo", "--url", str(server.make_url("/other")))
        assert "has no sandbox" in nothing.line
    for url in ("nope", "http://127.0.0.1:99999", "ftp://127.0.0.1"):
        assert "is not Relevo" in (await relevo(tmp_path, "demo", "--url", url)).line


async def test_who_reads_no_further_is_no_failure(database: DatabaseUrls, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    for how in ((), ("--json",)):
        ended = await relevo(tmp_path, "audit", *how, out=write, **given(database))
        assert (ended.code, ended.errors) == (WELL, "")
    os.close(write)


def given(urls: DatabaseUrls) -> dict[str, Any]:
    return {"RELEVO_DATABASE_URL": urls.url, "RELEVO_DATABASE_OWNER_URL": urls.owner_url}


async def relevo(
    folder: Path, *arguments: str, out: int = asyncio.subprocess.PIPE, **environ: Any
) -> Ended:
    paths = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "1000"}
    measured = {k: v for k, v in os.environ.items() if k.startswith("COVERAGE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relevo", *arguments),
        cwd=folder,
        env=paths | measured | environ,
        stdout=out,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, (said or b"").decode(), errors.decode())
