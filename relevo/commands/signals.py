"""How a process that serves hears that it shall end: SIGTERM or SIGINT, once or twice.

The first one asks it to stop, which it does within `EXIT_SECONDS_MAX` whatever hangs: a thread of
its own ends it then. The second one ends it at once. Neither loses anything: what was under way is
taken up by the next start, as after a crash.
"""

import asyncio
import os
import signal
import threading
from types import FrameType

from relevo.stopping import STOP_SECONDS_MAX

EXIT_SECONDS_MAX = STOP_SECONDS_MAX + 4
"""From the first signal to the end: an orchestrator kills after 30 s if it is told nothing else."""

BY_SIGNAL = 128
"""What a shell adds to a signal's number for the exit code of whoever it ended."""

_AT_ONCE = b"Relevo stops at once; the next start goes on with what was under way\n"
_GAVE_UP = b"Relevo gave up waiting; the next start goes on with what was under way\n"


class Signals:
    """Hears the signals, from `listen` on; belongs to the main thread."""

    def __init__(self, exit_seconds: float = EXIT_SECONDS_MAX) -> None:
        self._exit_seconds = exit_seconds
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.heard = False

    def listen(self) -> None:
        """Take the signals over."""
        # Not the loop's own handlers: these run while the loop is blocked, too.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)

    async def first(self) -> None:
        """Wait for the first one."""
        await self._stop.wait()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self.heard:
            _end(_AT_ONCE, BY_SIGNAL + number)
        self.heard = True
        last_resort = threading.Timer(self._exit_seconds, _end, (_GAVE_UP, 0))
        last_resort.daemon = True
        last_resort.start()
        self._loop.call_soon_threadsafe(self._stop.set)


def _end(why: bytes, code: int) -> None:
    os.write(2, why)
    os._exit(code)
