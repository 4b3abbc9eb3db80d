"""Servers as real processes, a provider and an AI beside them, and customers who write."""

import asyncio
import itertools
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from bench import bodies
from bench.rig import Outsides
from chaos.ledger import Findings, Letter, Reply, examine
from chaos.loop import FATES, NOTHING_WAITS, RULES
from chaos.outsides import provider_and_ai
from chaos.server import Server, Site, until
from relevo.clock import SystemClock
from tests.fakes.openai import FakeOpenAI
from tests.fakes.wati import FakeWati, Said

QUIET_SECONDS = 0.3
END_SECONDS_MAX = 50
"""A doubt about a send that never left takes 20 s."""


class Street:
    """A site with its servers; what its customers write are tokens, which their replies repeat."""

    def __init__(self, site: Site, wati: FakeWati, ai: FakeOpenAI) -> None:
        self.site = site
        self.wati = wati
        self.ai = ai
        self.letters: list[Letter] = []
        self._said: dict[str, Said] = {}
        self._servers: list[Server] = []
        self._numbers = itertools.count(1)
        self._clock = SystemClock()

    async def server(self, name: str = "relevo") -> Server:
        """Make a server, and wait until it serves."""
        outsides = Outsides(
            self.wati.base_url, self.ai.base_url, QUIET_SECONDS, RULES, "timeout_seconds = 20\n"
        )
        server = Server(self.site, outsides, name)
        self._servers.append(server)
        await server.start()
        await server.serving()
        return server

    async def say(self, server: Server, customer: int, more: str = "") -> int:
        """Have a customer write, and return how its webhook was answered."""
        return await self.bring(self.letter(customer, more), server)

    def letter(self, customer: int, more: str = "") -> Letter:
        """Have a customer write something that is not delivered yet."""
        token = f"c{customer}-{next(self._numbers)}"
        letter = Letter(token, bodies.phone(customer), self._clock.now())
        text = f"{token} {more}".strip()
        self._said[token] = self.wati.customer_message(letter.phone, text, letter.said_at)
        self.letters.append(letter)
        return letter

    async def bring(self, letter: Letter, server: Server) -> int:
        """Deliver it once more, and return how the webhook was answered."""
        letter.posted_at = min(letter.posted_at, self._clock.monotonic())
        status = await server.post(self._said[letter.token].webhook())
        if status == 200:
            letter.accepted_at = min(letter.accepted_at, self._clock.monotonic())
        return status

    async def findings(self) -> Findings:
        """Wait until nobody waits any more, and compare what was said with what was answered."""
        async with self.site.database() as connection, asyncio.timeout(END_SECONDS_MAX):
            await until(connection, NOTHING_WAITS)
            fates = {r["body"].split()[0]: r["fate"] for r in await connection.fetch(FATES)}
        replies = [Reply(sent.address, sent.text) for sent in self.wati.sends]
        return examine(self.letters, replies, fates)

    async def close(self) -> None:
        for server in self._servers:
            await server.close()


@asynccontextmanager
async def street(site: Site) -> AsyncIterator[Street]:
    async with provider_and_ai() as (wati, ai):
        street = Street(site, wati, ai)
        try:
            yield street
        finally:
            await street.close()


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a disk of this size on a folder, or skip the test, saying why."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=711", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nobody may mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True, capture_output=True)


def fill(path: Path) -> None:
    """Write a file until its disk is full."""
    piece = bytes(2**20)
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(piece) == len(piece):
            pass
