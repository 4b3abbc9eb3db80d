"""The embedded server as a process that several Relevos share.

It outlives whoever started it. Three lock files, which the kernel frees when their holders are
gone, replace every guess from process ids:

* `start`: held while a server is started or stopped, so this happens one at a time.
* `users`: shared by everyone who uses the server; who can have it alone is the last.
* `server`: inherited by the server and all its children. Free means that nothing of it lives,
  whatever its pid file says.

Everything raises `StoreSetupError` or `OSError`.
"""

import fcntl
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import asyncpg

from relevo.clock import Clock, sleep
from relevo.errors import StoreSetupError
from relevo.store.server_account import choose_account
from relevo.store.server_cluster import (
    APP_ROLE,
    DATABASE,
    OWNER_ROLE,
    Home,
    Place,
    ensure_cluster,
    read_passwords,
    refuse_missing,
    startup_failure,
    write_port,
    write_settings,
)

START_SECONDS_MAX = 120
FAST_STOP_SECONDS_MAX = 60  # the last checkpoint, of up to max_wal_size on a slow disk
IMMEDIATE_STOP_SECONDS_MAX = 10

_POLL_SECONDS = 0.05
_CONNECT_SECONDS_MAX = 5
# A socket's path ends at 104 bytes on some systems, at 108 on others.
_SOCKET_PATH_BYTES_MAX = 100
_SOCKET_PORT = 5432
_LOOPBACK = "127.0.0.1"
# Others have a meaning in a URL's list of hosts.
_SOCKET_FOLDER = re.compile(r"[\w/.+-]+", re.ASCII)

# The shell puts the server into the background and ends, so the server is nobody's child.
_LAUNCH = '"$@" </dev/null >"$0" 2>&1 &'


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """How to log in: as the app, which row-level security binds, and as the schema's owner."""

    url: str = field(repr=False)
    owner_url: str = field(repr=False)


class SharedServer:
    """The server of a home, seen by one of its users."""

    def __init__(self, home: Home, binaries: Path, clock: Clock) -> None:
        self._home = home
        self._binaries = binaries
        self._clock = clock
        self._place: Place | None = None
        self._users: int | None = None
        self._server: int | None = None

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[int]:
        """Keep every other Relevo from starting or stopping this server; gives the lock."""
        deadline = self._clock.monotonic() + START_SECONDS_MAX
        with _opened(self._home.lock("start")) as descriptor:
            while not _lock(descriptor, fcntl.LOCK_EX):
                if self._clock.monotonic() > deadline:
                    raise StoreSetupError(
                        f"Another Relevo has been starting or stopping the database in "
                        f"{self._home.folder} for {START_SECONDS_MAX} s: look what it waits for."
                    )
                await sleep(self._clock, _POLL_SECONDS)
            yield descriptor

    async def bring_up(self, held: int, *, make: bool) -> DatabaseUrls:
        """Start the server or find it running, and return when it answers. Needs `alone`.

        `make` a cluster where there never was one.
        """
        deadline = self._clock.monotonic() + START_SECONDS_MAX
        launched = False
        while self._clock.monotonic() < deadline:
            with _opened(self._home.lock("server")) as descriptor:
                if _lock(descriptor, fcntl.LOCK_EX):
                    if launched:
                        raise startup_failure(self._home)
                    await self._launch(held, descriptor, make=make)
                    launched = True
            urls = self._urls()
            if await _answers(urls.url):
                return urls
            await sleep(self._clock, _POLL_SECONDS)
        raise StoreSetupError(
            f"The embedded PostgreSQL did not answer within {START_SECONDS_MAX} s: see "
            f"{self._home.log}."
        )

    def join(self) -> None:
        """Become a user of the server. Needs `alone`."""
        self._users = _open(self._home.lock("users"))
        fcntl.flock(self._users, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._server = _open(self._home.lock("server"))

    def leave(self) -> None:
        """Be no user any more. Needs `alone` after `is_last`, whose lock would shut others out."""
        descriptors = (self._users, self._server)
        self._users = self._server = None
        for descriptor in descriptors:
            if descriptor is not None:
                os.close(descriptor)

    def is_last(self) -> bool:
        """Say whether nobody else uses the server. Needs `alone`, after `join`."""
        assert self._users is not None
        return _lock(self._users, fcntl.LOCK_EX)

    def lives(self) -> bool:
        """Say whether any process of the server lives. After `join`."""
        assert self._server is not None
        if not _lock(self._server, fcntl.LOCK_SH):
            return True
        fcntl.flock(self._server, fcntl.LOCK_UN)
        return False

    async def shut_down(self) -> None:
        """Stop the server: fast, and if that takes too long at once. Needs `alone`."""
        for how, seconds_max in (
            (signal.SIGINT, FAST_STOP_SECONDS_MAX),
            (signal.SIGQUIT, IMMEDIATE_STOP_SECONDS_MAX),
        ):
            deadline = self._clock.monotonic() + seconds_max
            asked = False
            while self.lives():
                if self._clock.monotonic() > deadline:
                    break
                asked = asked or self._signal(how)
                await sleep(self._clock, _POLL_SECONDS)
            else:
                return
        raise StoreSetupError(f"The embedded PostgreSQL does not stop: see {self._home.log}.")

    async def _launch(self, held: int, server_lock: int, *, make: bool) -> None:
        refuse_missing(self._home, make=make)
        account = await choose_account(
            self._home.folder, self._home.cluster, self._binaries / "postgres"
        )
        await ensure_cluster(self._home, account, self._binaries, held)
        # Nothing of the server lives, so these are stale. PostgreSQL would believe a pid in them
        # that meanwhile belongs to a stranger.
        for stale in (self._home.cluster / "postmaster.pid", *self._home.socket.glob(".s.*")):
            stale.unlink(missing_ok=True)
        self._place = self._free_place()
        write_settings(self._home, self._place)
        server: list[str | Path] = [
            self._binaries / "postgres",
            "-D",
            self._home.cluster,
            "-c",
            f"config_file={self._home.settings}",
        ]
        await account.run(
            ["/bin/sh", "-c", _LAUNCH, self._home.log / "start.log", *server],
            descriptors=[server_lock],
            own_session=True,  # a terminal's Ctrl-C is not meant for the server
        )

    def _signal(self, how: signal.Signals) -> bool:
        """Tell the server to stop; false while it is too young to have a pid file."""
        try:
            pid_file = (self._home.cluster / "postmaster.pid").read_text()
            os.kill(int(pid_file.split("\n", 1)[0]), how)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return False
        return True

    def _urls(self) -> DatabaseUrls:
        passwords = read_passwords(self._home)
        place = self._used_place()
        where = f"host={quote(place.host, safe='/')}&port={place.port}&sslmode=disable"
        url, owner_url = (
            f"postgresql://{role}:{passwords[role]}@/{DATABASE}?{where}"
            for role in (APP_ROLE, OWNER_ROLE)
        )
        return DatabaseUrls(url, owner_url)

    def _used_place(self) -> Place:
        place = self._socket_place() or Place(_LOOPBACK, int(self._home.port.read_text()))
        if self._place is not None and self._place != place:
            raise StoreSetupError(
                f"The embedded PostgreSQL has moved to port {place.port}: start Relevo again."
            )
        self._place = place
        return place

    def _free_place(self) -> Place:
        place = self._place or self._socket_place()
        if place is None:
            wished = int(self._home.port.read_text()) if self._home.port.exists() else 0
            place = Place(_LOOPBACK, _free_port(wished))
            write_port(self._home, place.port)
        return place

    def _socket_place(self) -> Place | None:
        folder = str(self._home.socket)
        path_bytes = len(os.fsencode(f"{folder}/.s.PGSQL.{_SOCKET_PORT}.lock"))
        if path_bytes > _SOCKET_PATH_BYTES_MAX or not _SOCKET_FOLDER.fullmatch(folder):
            return None
        return Place(folder, _SOCKET_PORT)


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS_MAX)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as e:
        raise StoreSetupError(
            "The embedded PostgreSQL refuses its own passwords: passwords.json belongs to another "
            "cluster. Bring the right one back from a backup."
        ) from e
    except PermissionError as e:
        raise StoreSetupError(
            "Relevo may not enter the socket folder of its own database: as root it needs the "
            "capability dac_override; or start it as the user that owns the data folder."
        ) from e
    except asyncpg.TooManyConnectionsError:
        return True
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    await connection.close()
    return True


def _free_port(wished: int) -> int:
    for port in (wished, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_LOOPBACK, port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise StoreSetupError("No port of 127.0.0.1 is free for the embedded PostgreSQL.")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = _open(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
