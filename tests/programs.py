"""System programs that a test needs: found, or installed where root and apt are, or skipped."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

APT_TIMEOUT_SECONDS = 480


def required(path: str | None, name: str) -> str:
    """Return the path of a program, or skip the test, saying why."""
    if path is None:
        pytest.skip(f"no {name} on this machine, and apt cannot bring one")
    return path


def found(*names: str) -> str | None:
    """Return the first of these that is on the PATH, or where Debian puts programs."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/bin"))
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


@cache
def chromium() -> str | None:
    """Return the path of a Chromium, or None; tries apt once where this is root's machine."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    with _alone():
        if (path := found(*names)) is not None:
            return path
        return found(*names) if _apt("install", "-y", "-qq", "chromium") else None


@cache
def promtool() -> str | None:
    """Return the path of a promtool; its package is unpacked aside, so that no server starts."""
    if (path := found("promtool")) is not None:
        return path
    with _alone() as ours:
        folder = ours / "prometheus"
        unpacked = folder / "usr" / "bin" / "promtool"
        if not unpacked.exists():
            folder.mkdir(exist_ok=True)
            if not _apt("download", "-qq", "prometheus", folder=folder):
                return None
            package = next(folder.glob("*.deb"))
            subprocess.run(["dpkg", "-x", package, folder], check=True, capture_output=True)
        return str(unpacked)


@contextmanager
def _alone() -> Iterator[Path]:
    """Be the only test worker in here, with a folder that stays: nobody sees what is half there."""
    folder = Path(tempfile.gettempdir()) / f"relevo-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _apt(*command: str, folder: Path | None = None) -> bool:
    """Run one apt-get command, its lists brought up to date before; False if it cannot be done."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], list(command)):
        try:
            subprocess.run(
                ["apt-get", *words],
                env=environ,
                cwd=folder,
                check=True,
                capture_output=True,
                timeout=APT_TIMEOUT_SECONDS,
            )
        except (subprocess.SubprocessError, OSError):
            return False
    return True
