"""The command: runs what was asked for, line by line, and prints what came of it.

Exit codes: 0 nothing is below its floor, 1 something is.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
from rich.console import Console

from bench import mailboxes, memory, search, turns, webhooks
from bench.results import Result, as_json, machine, print_table
from tests.postgres import Cluster

WELL, BELOW = 0, 1

Measure = Callable[[Cluster, Path, Path | None], Awaitable[list[Result]]]

WITH_DATABASE: dict[int, Measure] = {
    1: webhooks.against_bare,
    2: webhooks.at_a_rate,
    5: turns.per_second,
    6: search.of_many,
}
WITHOUT: dict[int, Callable[[], Awaitable[list[Result]]]] = {
    3: mailboxes.against_threads,
    4: memory.of_idle_ones,
}


def run(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    options = _parser().parse_args(arguments)
    on, started = machine(), time.monotonic()
    wanted = set(options.only or (*WITH_DATABASE, *WITHOUT))
    results = sorted(_measured(wanted, options.profile), key=lambda result: result.line)
    seconds = time.monotonic() - started
    if options.json:
        sys.stdout.buffer.write(orjson.dumps(as_json(results, on, seconds)) + b"\n")
    else:
        print_table(results, on, seconds)
    return BELOW if any(result.verdict == "below floor" for result in results) else WELL


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure the speed on this machine against what was promised."
    )
    parser.add_argument(
        "--only",
        type=int,
        action="append",
        choices=sorted([*WITH_DATABASE, *WITHOUT]),
        metavar="N",
        help="measure only line N of the table; may be given again",
    )
    parser.add_argument("--json", action="store_true", help="for a script")
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="write what cProfile sees in Relevo's process (lines 1, 2, 5; the last one stays)",
    )
    return parser


def _measured(wanted: set[int], profile: Path | None) -> list[Result]:
    results: list[Result] = []
    console = Console(stderr=True)
    if profile is not None:
        profile = profile.absolute()
    with console.status("starting …") as status:
        for number in sorted(wanted & WITHOUT.keys()):
            status.update(f"line {number} …")
            results += asyncio.run(_awaited(WITHOUT[number]()))
        if not wanted & WITH_DATABASE.keys():
            return results
        with tempfile.TemporaryDirectory(prefix="relevo-bench-") as folder:
            status.update("starting PostgreSQL …")
            with Cluster(Path(folder)) as cluster:
                for number in sorted(wanted & WITH_DATABASE.keys()):
                    status.update(f"line {number} …")
                    measure = WITH_DATABASE[number]
                    results += asyncio.run(_awaited(measure(cluster, Path(folder), profile)))
    return results


async def _awaited(measuring: Awaitable[list[Result]]) -> list[Result]:
    return await measuring
