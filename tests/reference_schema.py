"""Writes `relevo/store/schema.json` anew, from a database that was just migrated: `make schema`."""

import asyncio
import tempfile
from pathlib import Path

from relevo.store import catalog
from relevo.store.owner import as_owner
from tests.postgres import Cluster


async def migrated(cluster: Cluster) -> bytes:
    """Return the facts of a freshly migrated database, as the file holds them."""
    async with cluster.fresh_database() as urls, as_owner(urls.owner_url) as connection:
        return catalog.as_json(await catalog.facts(connection))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder)) as made:
        catalog.REFERENCE.write_bytes(asyncio.run(migrated(made)))
