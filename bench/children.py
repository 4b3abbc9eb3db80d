"""The processes a measurement is made of.

A child is a module of this folder, told what to do by a line of JSON on its standard input. It says
what came of it by a line of JSON on its standard output; a server goes on until it is ended.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30


class ChildFailedError(RuntimeError):
    """A child ended, or said nothing, before its work was done."""


async def heard(process: Process, seconds_max: float) -> Any:
    """Return the next line of JSON that a child writes."""
    assert process.stdout is not None
    async with asyncio.timeout(seconds_max):
        line = await process.stdout.readline()
    if not line:
        raise ChildFailedError("a child process ended too early; what it wrote stands above")
    return orjson.loads(line)


async def tell(process: Process, order: dict[str, Any]) -> None:
    """Write one line of JSON to a child."""
    assert process.stdin is not None
    process.stdin.write(orjson.dumps(order) + b"\n")
    await process.stdin.drain()


@asynccontextmanager
async def child(module: str, order: dict[str, Any] | None = None) -> AsyncIterator[Process]:
    """Start a module of this folder, and end it when it is no longer needed."""
    command = [sys.executable, "-m", f"bench.{module}"]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=ROOT)
    try:
        await tell(process, order or {})
        yield process
    finally:
        await ended(process)


async def done(module: str, order: dict[str, Any], seconds_max: float) -> Any:
    """Have a module of this folder do its work, and return what came of it."""
    async with child(module, order) as process:
        return await heard(process, seconds_max)


@asynccontextmanager
async def relevo(
    config: Path, environ: dict[str, str], profile: Path | None = None
) -> AsyncIterator[tuple[int, Process]]:
    """Run `relevo serve` as it is run in earnest; yields the port it listens on.

    `profile` takes what cProfile saw, which costs about half the speed.
    """
    process = await started(config, environ, profile)
    try:
        yield await port_of(process), process
    finally:
        await ended(process)


async def started(config: Path, environ: dict[str, str], profile: Path | None = None) -> Process:
    """Start `relevo serve`; what it logs is added to a file beside its configuration."""
    profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = relevo_command(config, "serve", profiler)
    with config.with_suffix(".log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=PIPE, cwd=ROOT, env=environ
        )


def relevo_command(config: Path, command: str, profiler: Sequence[str] = ()) -> list[str]:
    """Return how `relevo COMMAND` is started with the Python that runs this."""
    return [sys.executable, *profiler, "-m", "relevo", "--config", str(config), *command.split()]


async def ended(process: Process) -> None:
    """End a child, gently if it lets us."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()


def order_given() -> Any:
    """Return what this child is told to do."""
    return orjson.loads(sys.stdin.buffer.readline())


def say(words: dict[str, Any]) -> None:
    """Tell the parent something."""
    sys.stdout.buffer.write(orjson.dumps(words) + b"\n")
    sys.stdout.buffer.flush()


async def port_of(process: Process) -> int:
    """Wait until `relevo serve` greets, and return where it takes webhooks."""
    assert process.stderr is not None
    said: Sequence[bytes] = []
    async with asyncio.timeout(START_SECONDS_MAX):
        while line := await process.stderr.readline():
            said = [*said, line]
            if b" is serving on http://" in line:
                return int(line.rsplit(b":", 1)[1])
    raise ChildFailedError(b"".join(said).decode())
