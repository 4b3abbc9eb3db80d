"""Notices from a thread of its own that the event loop is blocked, and says by what.

The loop beats a few times a second; a beat that stays away for too long is a block. It is told
once: the stacks of all threads, with the loop's running task, as frames only: file, line and
function, no values and no texts. Python hands the interpreter on every few milliseconds, so this
works while long Python code runs; a C function that keeps it to itself is told when it returns. A
process that was stopped from outside, or got no processor, is not blocked.

Nothing served by the loop answers meanwhile, `/livez` neither: whoever probes it sees a time-out.
The metrics have a thread of their own, and go on.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

from relevo.clock import Clock

BLOCKED_SECONDS = 2.0
"""How long the loop may be silent."""

FRAMES_MAX = 40
"""Innermost frames of a thread that are told."""

THREADS_MAX = 20

Blocked = Callable[[float, str, Mapping[str, list[str]]], None]
"""Told on the watchdog's thread: for how many seconds, which task, what every thread was doing."""


class Watchdog:
    """Watches the running loop from `start` to `stop`."""

    def __init__(
        self,
        clock: Clock,
        blocked: Blocked,
        runs_again: Callable[[float], None],
        blocked_seconds: float = BLOCKED_SECONDS,
    ) -> None:
        """`clock` is the machine's; `runs_again` is told for how many seconds it was blocked.

        A block is told once, and its end is told on the loop's own thread.
        """
        self._clock = clock
        self._blocked = blocked
        self._runs_again = runs_again
        self._blocked_seconds = blocked_seconds
        self._beat_seconds = blocked_seconds / 4
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beaten_at = 0.0
        self._blocked_since: float | None = None
        self._next: asyncio.TimerHandle | None = None
        self._watched = threading.get_ident()

    def start(self) -> None:
        """Watch the loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; the thread has ended when this returns."""
        if self._next is not None:
            self._next.cancel()
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(self._blocked_seconds)

    def _beat(self) -> None:
        """Say that the loop runs; on the loop's thread."""
        assert self._loop is not None
        self._beaten_at = self._clock.monotonic()
        since, self._blocked_since = self._blocked_since, None
        if since is not None:
            self._runs_again(self._beaten_at - since)
        self._next = self._loop.call_later(self._beat_seconds, self._beat)

    def _watch(self) -> None:
        """Look for beats; on the watchdog's thread."""
        now, worked = self._clock.monotonic(), time.process_time()
        while not self._stopping.wait(self._beat_seconds):
            asleep_at, now = now, self._clock.monotonic()
            had_worked, worked = worked, time.process_time()
            overslept = now - asleep_at > self._blocked_seconds
            if overslept and worked - had_worked < (now - asleep_at) / 2:
                continue  # nothing in this process ran, so the loop had no chance either
            beaten_at = self._beaten_at
            if now - beaten_at > self._blocked_seconds and self._blocked_since is None:
                self._blocked_since = beaten_at
                self._blocked(now - beaten_at, self._task(), self._stacks())

    def _task(self) -> str:
        """Return the name of the task that the loop is running."""
        task = asyncio.current_task(self._loop)
        return "" if task is None else task.get_name()

    def _stacks(self) -> dict[str, list[str]]:
        """Return where every thread but this one is, the innermost frame last, the loop's first."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        frames = sys._current_frames()  # noqa: SLF001  (documented, for debuggers)
        frames.pop(threading.get_ident(), None)
        idents = sorted(frames, key=lambda ident: ident != self._watched)[:THREADS_MAX]
        return {
            f"{names.get(ident, 'unknown')}-{ident}": _places(frames[ident]) for ident in idents
        }


def _places(innermost: FrameType | None) -> list[str]:
    places: list[str] = []
    frame = innermost
    while frame is not None and len(places) < FRAMES_MAX:
        code = frame.f_code
        places.append(f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return places[::-1]
