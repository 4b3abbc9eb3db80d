"""How much memory this process has, may have, and what is done when it has more.

The resident set is read from /proc every second. Above the bound webhooks are answered 503 and
whoever is idle is let go, until the process is clearly below it again. Where there is no /proc
there is no bound.
"""

import ctypes
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from resource import getpagesize

from relevo.clock import Clock, sleep

LOG = logging.getLogger(__name__)

SAMPLE_SECONDS = 1.0
SHARE = 0.75
"""Of what the machine or the container has: the rest is the embedded database's, and slack."""
ENOUGH = 0.95
"""Below this share of the bound memory is no longer short: it shall not flutter."""
MEBIBYTE = 1024 * 1024

_UNLIMITED = 1 << 60
"""cgroup v1 writes a number of about 2^63 where there is no limit."""


def resident_bytes(root: Path = Path("/")) -> int:
    """Return the resident set of this process, 0 where it cannot be known."""
    try:
        return int((root / "proc/self/statm").read_text().split()[1]) * getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def bound_bytes(memory_max_mb: int, root: Path = Path("/")) -> int:
    """Return how large this process may grow; for 0 a share of what there is; 0 if unknown."""
    if memory_max_mb:
        return memory_max_mb * MEBIBYTE
    return int(SHARE * min(_limits(root), default=0))


class Memory:
    """Watches the resident set and says whether it is too large."""

    def __init__(
        self,
        clock: Clock,
        bound: int,
        relieve: Callable[[], Awaitable[None]],
        sample: Callable[[], int] = resident_bytes,
    ) -> None:
        """`bound` in bytes, 0 for none; `relieve` lets go of what can be had again."""
        self._clock = clock
        self._relieve = relieve
        self._sample = sample
        self.bound = bound
        self.short = False

    async def watch_for_ever(self) -> None:
        """Look every second; without a bound, never."""
        try:
            while self.bound:
                self._judge(self._sample())
                if self.short:
                    await self._relieve()
                    _give_back()
                await sleep(self._clock, SAMPLE_SECONDS)
        finally:
            self.short = False  # nobody looks any more, so nobody is refused for it

    def _judge(self, resident: int) -> None:
        short = resident > self.bound * (ENOUGH if self.short else 1)
        if short and not self.short:
            LOG.error(
                "memory is short: %d MiB resident, server.memory_max_mb allows %d; "
                "webhooks are answered 503 until it is less",
                resident // MEBIBYTE,
                self.bound // MEBIBYTE,
            )
        elif self.short and not short:
            LOG.warning("memory is enough again: %d MiB resident", resident // MEBIBYTE)
        self.short = short


def _limits(root: Path) -> Iterator[int]:
    """Yield what bounds the memory of this process: its cgroups' limits and the machine's size."""
    for path in _cgroup_files(root):
        with suppress(OSError, ValueError):  # `max` is no number: no limit
            limit = int(path.read_text())
            if limit < _UNLIMITED:
                yield limit
    with suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                yield int(line.split()[1]) * 1024


def _cgroup_files(root: Path) -> Iterator[Path]:
    """Yield the files of limits of this process's cgroup, v1 and v2, and of those around it."""
    mounted = root / "sys/fs/cgroup"
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            top, name = (mounted, "memory.max")
            if "memory" in controllers.split(","):
                top, name = (mounted / "memory", "memory.limit_in_bytes")
            elif controllers:
                continue
            inner = Path(place.lstrip("/"))
            for folder in (inner, *inner.parents):  # in a container the place may not be mounted
                yield top / folder / name


def _give_back() -> None:
    """Have the C library give free memory back to the system; one that cannot keeps it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
