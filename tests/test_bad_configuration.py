"""`relevo serve` as a process: what cannot be used stops it with one line that names the key."""

import asyncio
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.postgres import Cluster

pytestmark = [pytest.mark.process, pytest.mark.postgres]

ROOT = Path(__file__).parent.parent
AT_ONCE_MAX = 3
CANNOT = 2
PASSWORD = "a-made-up-password-that-nobody-may-see"

WATI = """
[[business]]
id = "hotel"
[[channel]]
id = "line"
business = "hotel"
kind = "wati"
base_url = "https://wati.example.com/1"
token_env = "WATI_TOKEN"
webhook_secret_env = "WATI_SECRET"
"""
SECRETS = {"WATI_TOKEN": "nobody-may-see", "WATI_SECRET": "a-secret-that-nobody-may-see"}


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    said: str


FILES: dict[str, tuple[str, dict[str, str], str]] = {
    "an unknown key": ("[server]\nprot = 1\n", {}, "server.prot: unknown key"),
    "an unknown variable": ("", {"RELEVO_SERVER_PROT": "1"}, "RELEVO_SERVER_PROT: unknown"),
    "a bad value": ("[assistant]\ntimeout_seconds = 0\n", {}, "assistant.timeout_seconds: "),
    "a bad variable": ("", {"RELEVO_SERVER_PORT": "x"}, "server.port (RELEVO_SERVER_PORT): "),
    "no TOML": ("[server\n", {}, "relevo.toml: is not TOML"),
    "no channel": ('[[business]]\nid = "hotel"\n', {}, "channel: is missing"),
    "a missing token": (WATI, {"WATI_SECRET": SECRETS["WATI_SECRET"]}, "token_env: "),
    "a short secret": (WATI, SECRETS | {"WATI_SECRET": "short"}, "webhook_secret_env: "),
    "an unknown kind": (WATI.replace('"wati"', '"pigeon"'), SECRETS, "kind: should be 'wati', "),
    "no url": ("", {"RELEVO_DATABASE_URL": "sqlite://x"}, "database.url (RELEVO_DATABASE_URL): "),
    "an owner of nothing": (
        "",
        {"RELEVO_DATABASE_OWNER_URL": f"postgresql://relevo_owner:{PASSWORD}@/x"},
        "database.owner_url",
    ),
    "no key of the AI": ('[assistant]\nkind = "openai"\nmodel = "m"\n', {}, "assistant.api_key"),
    "a server that is away": (
        "",
        {
            "RELEVO_DATABASE_URL": f"postgresql://relevo:{PASSWORD}@127.0.0.1:1/relevo",
            "RELEVO_DATABASE_OWNER_URL": f"postgresql://relevo_owner:{PASSWORD}@127.0.0.1:1/relevo",
        },
        "database.owner_url: the database cannot be reached",
    ),
}


async def test_a_bad_configuration_stops_the_start_with_one_line(tmp_path: Path) -> None:
    places = asyncio.Semaphore(AT_ONCE_MAX)

    async def tried(name: str) -> Ended:
        toml, environ, _ = FILES[name]
        folder = tmp_path / name
        folder.mkdir()
        (folder / "relevo.toml").write_text(toml)
        async with places:
            return await serve(folder, environ)

    ended = await asyncio.gather(*map(tried, FILES))
    for (name, (_, _, line)), end in zip(FILES.items(), ended, strict=True):
        assert (name, end.code, end.said.count("\n")) == (name, CANNOT, 1), end.said
        assert end.said.startswith("relevo: ")
        assert line in end.said
        assert "nobody-may-see" not in end.said
        assert not (tmp_path / name / ".relevo").exists()


async def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await serve(tmp_path, {"RELEVO_SERVER_PORT": port})
    assert (ended.code, ended.said.count("\n")) == (CANNOT, 1)
    assert ended.said.startswith(f"relevo: server.port: cannot listen on 127.0.0.1:{port}")


async def test_a_folder_that_is_a_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = await serve(tmp_path, {"RELEVO_DATABASE_DATA_DIR": "file/data"})
    assert (ended.code, ended.said.count("\n")) == (CANNOT, 1)
    assert "database.data_dir" in ended.said


async def test_a_database_that_must_not_be_used_stops_the_start(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    nowhere = urlsplit(database.url)._replace(path="/nowhere").geturl()
    for url, owner_url, line in (
        (database.url.replace("relevo:", f"relevo:{PASSWORD}"), database.owner_url, "database.url"),
        (database.url, database.owner_url.replace("owner:", "owner:x"), "database.owner_url"),
        (nowhere, database.owner_url, "database.url"),
        (database.url, "", "database.owner_url is not set"),
        (database.owner_url, database.owner_url, "owns the tables"),
    ):
        ended = await serve(tmp_path, given(url, owner_url))
        assert (ended.code, ended.said.count("\n")) == (CANNOT, 1), ended.said
        assert line in ended.said
        assert PASSWORD not in ended.said


async def test_a_schema_that_is_not_there_stops_the_start(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.empty_database() as urls:
        ended = await serve(tmp_path, given(urls.url, ""), "--no-migrate")
    assert (ended.code, ended.said.count("\n")) == (CANNOT, 1), ended.said
    assert "relevo migrate" in ended.said


def given(url: str, owner_url: str) -> dict[str, str]:
    return {"RELEVO_DATABASE_URL": url, "RELEVO_DATABASE_OWNER_URL": owner_url}


async def serve(folder: Path, environ: dict[str, str], *options: str) -> Ended:
    """Run `relevo serve` in a folder until it ends, and return what it said."""
    ports = {"RELEVO_SERVER_PORT": "0", "RELEVO_SERVER_METRICS_PORT": "0"}
    paths = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relevo", "serve", *options),
        cwd=folder,
        env=paths | ports | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), timeout=40)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, said.decode())
