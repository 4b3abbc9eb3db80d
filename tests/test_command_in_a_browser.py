"""`relevo serve` as a person starts it: an empty folder, an empty home, a real Chromium."""

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.programs import APT_TIMEOUT_SECONDS
from tests.test_product_in_a_browser import play

pytestmark = [
    pytest.mark.browser,
    pytest.mark.process,
    pytest.mark.timeout(2 * APT_TIMEOUT_SECONDS + 240),
]

ROOT = Path(__file__).parent.parent
READY_WITHIN_SECONDS = 60
STOPPED_WITHIN_SECONDS = 60
SERVING = re.compile(rb"is serving on (http://\S+)\n")


async def test_the_command_needs_nothing_and_a_reply_knows_what_the_agent_promised(
    folder: Path,
) -> None:
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    async with serving(work, home) as url:
        await play(url)
    assert list(home.iterdir()) == []
    assert [path.name for path in work.iterdir()] == [".relevo"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Unlike pytest's own folders, one that the embedded server's user may enter."""
    with tempfile.TemporaryDirectory(prefix="relevo-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@asynccontextmanager
async def serving(work: Path, home: Path) -> AsyncIterator[str]:
    """Run the command in a folder until it is told to stop, and give its address once it serves."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "RELEVO_SERVER_PORT": "0",
        "RELEVO_SERVER_METRICS_PORT": "0",
        "RELEVO_BUSINESS_DEMO_QUIET_SECONDS": "0.3",
        "RELEVO_BUSINESS_DEMO_GAP_SECONDS": "2",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relevo", "serve"),
        cwd=work,
        env=environ,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS):
            url = await address(process)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(STOPPED_WITHIN_SECONDS):
            code = await process.wait()
    assert code == 0


async def address(process: asyncio.subprocess.Process) -> str:
    """Return where it serves, as it says on stderr when it does."""
    assert process.stderr is not None
    said = b""
    while (found := SERVING.search(said)) is None:
        line = await process.stderr.readline()
        assert line, f"it has ended: {said!r}"
        said += line
    return found[1].decode()
