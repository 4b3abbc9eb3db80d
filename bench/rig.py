"""A whole Relevo for a measurement: an embedded PostgreSQL, a configuration, and the server."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from bench import bodies, children
from relevo.store.embedded import DatabaseUrls
from tests.postgres import Cluster

TOKEN = "wati-token"
KEY = "a-made-up-key"
QUIET_FOR_GOOD_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Outsides:
    """Where the provider and the AI are; without an AI the assistant is the offline one."""

    wati_url: str = "http://127.0.0.1:9/1234"
    openai_url: str = ""
    quiet_seconds: float = QUIET_FOR_GOOD_SECONDS
    rules: str = ""
    """Further lines of the business's table."""
    assistant: str = ""
    """Further lines of the assistant's table, if there is an AI."""


@dataclass(frozen=True, slots=True)
class Rig:
    """A running Relevo and its database."""

    port: int
    urls: DatabaseUrls

    async def rows(self, statement: str, *arguments: Any) -> Sequence[Any]:
        """Ask the database as its owner."""
        connection = await asyncpg.connect(self.urls.owner_url)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()


@asynccontextmanager
async def rig(
    cluster: Cluster, folder: Path, outsides: Outsides, profile: Path | None
) -> AsyncIterator[Rig]:
    """Run `relevo serve` on a fresh database of the cluster."""
    config = folder / "relevo.toml"
    config.write_text(configuration(outsides))
    async with (
        cluster.fresh_database() as urls,
        children.relevo(config, environment(urls), profile) as (port, _),
    ):
        yield Rig(port, urls)


def environment(urls: DatabaseUrls | None = None, **keys: object) -> dict[str, str]:
    """Return what the server is told besides its file; `keys` are of RELEVO_, in small letters.

    Without urls it brings a database of its own.
    """
    given = {f"RELEVO_{name.upper()}": str(value) for name, value in keys.items()}
    if urls is not None:
        given |= {"RELEVO_DATABASE_URL": urls.url, "RELEVO_DATABASE_OWNER_URL": urls.owner_url}
    not_ours = ("RELEVO_", "COVERAGE_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(not_ours)},
        **given,
        "WATI_TOKEN": TOKEN,
        "WATI_SECRET": bodies.SECRET,
        "OPENAI_KEY": KEY,
    }


def configuration(outsides: Outsides) -> str:
    """Write the file: one business with one line at WATI, on free ports."""
    assistant = (
        f'kind = "openai"\nbase_url = "{outsides.openai_url}"\napi_key_env = "OPENAI_KEY"\n'
        'model = "made-up-model"\ninstructions = "Answer in one sentence."\n'
        f"{outsides.assistant}"
        if outsides.openai_url
        else 'kind = "offline"\n'
    )
    return (
        "[server]\nport = 0\nmetrics_port = 0\n\n"
        f"[assistant]\n{assistant}\n"
        '[[business]]\nid = "hotel"\nregion = "SV"\n'
        f"quiet_seconds = {outsides.quiet_seconds}\n"
        f"gather_max_seconds = {QUIET_FOR_GOOD_SECONDS}\n{outsides.rules}\n"
        '[[channel]]\nid = "line"\nbusiness = "hotel"\nkind = "wati"\n'
        f'base_url = "{outsides.wati_url}"\ntoken_env = "WATI_TOKEN"\n'
        'webhook_secret_env = "WATI_SECRET"\n'
    )
