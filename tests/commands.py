"""The command line as a person calls it, in a process of its own."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relevo.store.embedded import DatabaseUrls

ROOT = Path(__file__).parent.parent
WELL, BAD, CANNOT = 0, 1, 2

CONFIGURATION = """
[assistant]
kind = "offline"
[[business]]
id = "hotel"
region = "SV"
[[channel]]
id = "line"
business = "hotel"
kind = "sandbox"
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    errors: str

    @property
    def line(self) -> str:
        """The one line of a command that could not do its work."""
        assert (self.code, self.out, self.errors.count("\n")) == (CANNOT, "", 1), self
        return self.errors


@dataclass(frozen=True, slots=True)
class Configured:
    """Calls commands for a hotel, on a database that is given."""

    folder: Path
    environ: dict[str, str]

    async def __call__(self, *arguments: str, **environ: Any) -> Ended:
        """Run one command to its end."""
        paths = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "1000"}
        measured = {k: v for k, v in os.environ.items() if k.startswith("COVERAGE_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relevo", *arguments),
            cwd=self.folder,
            env=paths | measured | self.environ | environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), errors.decode())


def configured(urls: DatabaseUrls, folder: Path) -> Configured:
    """Write the configuration into a folder, for commands that run there."""
    (folder / "relevo.toml").write_text(CONFIGURATION)
    return Configured(
        folder,
        {"RELEVO_DATABASE_URL": urls.url, "RELEVO_DATABASE_OWNER_URL": urls.owner_url},
    )
