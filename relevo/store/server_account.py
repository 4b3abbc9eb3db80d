"""Who the embedded server runs as, and how its programs are started.

PostgreSQL refuses to run as root. Then a system user of its own runs it; that user is the only
thing ever made outside the data folder. A folder on the way that only root may enter (a clone in a
0700 folder) is passed with one capability instead of a chmod: the server may then search and read
beyond its own folder, which nobody can use, because no superuser can log in to it.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from relevo.errors import StoreSetupError

SYSTEM_USER = "relevo-postgres"
PROGRAM_SECONDS_MAX = 120
PROBE_SECONDS_MAX = 20

# A service's PATH is often too short to hold useradd.
_PROGRAM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
# Containers often withhold the first, the lesser one.
_CAPABILITIES = ("dac_read_search", "dac_override")


@dataclass(frozen=True, slots=True)
class Account:
    """The user of the operating system that runs PostgreSQL's programs."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    async def run(
        self,
        command: Sequence[str | Path],
        *,
        standard_input: str = "",
        descriptors: Sequence[int] = (),
        seconds_max: float = PROGRAM_SECONDS_MAX,
        own_session: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, with the open `descriptors`.

        Raises `OSError` when it cannot be started, `StoreSetupError` when it takes too long.
        """
        switches = os.geteuid() == 0 and not self.prefix
        call = partial(
            subprocess.run,
            [*self.prefix, *map(str, command)],
            input=standard_input,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=tuple(descriptors),
            timeout=seconds_max,
            start_new_session=own_session,
            cwd="/",
            # Nothing inherited: PGDATA, PGPORT and the like would change what the programs do.
            env={"PATH": _PROGRAM_FOLDERS, "LC_ALL": "C", "TZ": "UTC"},
            check=False,
            user=self.uid if switches else None,
            group=self.gid if switches else None,
            extra_groups=[] if switches else None,
        )
        try:
            return await _to_its_end(call)
        except subprocess.TimeoutExpired as error:
            program = Path(command[0]).name
            raise StoreSetupError(f"{program} took longer than {seconds_max} s.") from error

    def own(self, path: Path) -> None:
        """Give a file or folder of ours to this account."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


async def choose_account(folder: Path, cluster: Path, postgres: Path) -> Account:
    """Find a user and a way in which `postgres` runs and `folder` can be entered.

    An existing cluster keeps its owner. Raises `StoreSetupError` when there is no way.
    """
    for account in await _ways(cluster):
        if await _reaches(account, folder, postgres):
            return account
    raise StoreSetupError(
        f"The embedded PostgreSQL cannot run in {folder}: its user may not enter that folder or "
        f"run {postgres}. Choose another database.data_dir, or give database.url."
    )


async def _ways(cluster: Path) -> list[Account]:
    if os.geteuid() != 0:
        return [Account(os.geteuid(), os.getegid())]
    uid, gid = _owner(cluster) or await _system_user()
    ways = [Account(uid, gid)]
    setpriv = shutil.which("setpriv", path=_PROGRAM_FOLDERS)
    if setpriv is not None:
        ways += [
            Account(uid, gid, _privileged(setpriv, uid, gid, capability))
            for capability in _CAPABILITIES
        ]
    return ways


def _privileged(setpriv: str, uid: int, gid: int, capability: str) -> tuple[str, ...]:
    only = f"-all,+{capability}"
    return (
        setpriv,
        f"--reuid={uid}",
        f"--regid={gid}",
        "--clear-groups",
        # PostgreSQL looks for itself with access(2), which otherwise forgets capabilities.
        "--securebits=+no_setuid_fixup",
        f"--inh-caps={only}",
        f"--ambient-caps={only}",
        f"--bounding-set={only}",
    )


async def _reaches(account: Account, folder: Path, postgres: Path) -> bool:
    try:
        probe = await account.run(
            ["/bin/sh", "-c", 'cd "$1" && exec "$0" --version', postgres, folder],
            seconds_max=PROBE_SECONDS_MAX,
        )
    except OSError:
        return False
    return probe.returncode == 0


def _owner(cluster: Path) -> tuple[int, int] | None:
    if not cluster.exists():
        return None
    status = cluster.stat()
    if status.st_uid == 0:
        raise StoreSetupError(
            f"{cluster} belongs to root, which PostgreSQL refuses: give it to another user with "
            "chown -R."
        )
    return status.st_uid, status.st_gid


async def _system_user() -> tuple[int, int]:
    user = _look_up(SYSTEM_USER)
    useradd = shutil.which("useradd", path=_PROGRAM_FOLDERS)
    if user is None and useradd is not None:
        call = partial(
            subprocess.run,
            [
                useradd,
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir=/nonexistent",
                "--shell=/usr/sbin/nologin",
                SYSTEM_USER,
            ],
            capture_output=True,
            timeout=PROBE_SECONDS_MAX,
            check=False,  # another Relevo may have been quicker; what counts is that it exists
        )
        await _to_its_end(call)
        user = _look_up(SYSTEM_USER)
    user = user or _look_up("nobody")
    if user is None:
        raise StoreSetupError(
            "PostgreSQL refuses to run as root and no other user could be made: start Relevo as "
            "another user, or give database.url."
        )
    return user


def _look_up(name: str) -> tuple[int, int] | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


async def _to_its_end(
    call: Callable[[], subprocess.CompletedProcess[Any]],
) -> subprocess.CompletedProcess[Any]:
    future = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        # The caller owns the descriptors in use, so it may not go on before the program has ended.
        await asyncio.wait([future])
        raise
