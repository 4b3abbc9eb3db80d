"""The command: fuzzes each target for a while, keeps what is new, and prints what came of it.

Exit codes: 0 nothing failed, 1 something did: its input is named, and belongs into the corpus once
it is mended.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from fuzz.keeping import keep
from fuzz.targets import CORPUS, ROOT, Target, samples, targets

WELL, BAD = 0, 1

SECONDS = 30
WORK = ROOT / ".fuzz"
"""What was found last time, and failures; what is worth keeping is copied from here."""

INPUT_SECONDS_MAX = 10
INPUT_BYTES_MAX = 65_536
MEMORY_MB_MAX = 1024
STARTING_SECONDS_MAX = 120
NICENESS = 15

_RUNS = re.compile(rb"^#([0-9]+)\s+DONE", re.MULTILINE)


class Outcome(NamedTuple):
    """What came of one target."""

    name: str
    runs: int
    kept: int
    failures: tuple[Path, ...]
    said: str
    """The end of what the fuzzer printed, where it failed."""


def run(arguments: Sequence[str]) -> int:
    """Do it, print, and return the exit code."""
    known = targets()
    options = _parser(known).parse_args(arguments)
    console = Console(stderr=True)
    outcomes = []
    for name in options.only or known:
        with console.status(f"{name} for {options.seconds} s …"):
            outcomes.append(_fuzz(name, known[name], options.seconds))
    _print(outcomes, options.seconds)
    return BAD if any(outcome.said for outcome in outcomes) else WELL


def _parser(known: Mapping[str, Target]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fuzz", description="Try to make the reading of what providers write fail."
    )
    parser.add_argument(
        "--seconds", type=int, default=SECONDS, metavar="S", help=f"for each; default: {SECONDS}"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=sorted(known),
        metavar="TARGET",
        help=f"may be given again: {', '.join(sorted(known))}",
    )
    return parser


def _fuzz(name: str, target: Target, seconds: int) -> Outcome:
    work, failed = WORK / "found" / name, WORK / "failed" / name
    for folder in (work, failed):
        folder.mkdir(parents=True, exist_ok=True)
    folders = [work, *(folder for folder in _seeds(name) if folder.is_dir())]
    command = [
        *(sys.executable, "-m", "fuzz.finding", name, f"-max_total_time={seconds}"),
        *(f"-timeout={INPUT_SECONDS_MAX}", f"-max_len={INPUT_BYTES_MAX}"),
        *(f"-rss_limit_mb={MEMORY_MB_MAX}", f"-artifact_prefix={failed}/"),
        *map(str, folders),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=seconds + STARTING_SECONDS_MAX,
        preexec_fn=lambda: os.nice(NICENESS) and None,
    )
    runs = _RUNS.search(done.stdout)
    return Outcome(
        name,
        int(runs[1]) if runs else 0,
        keep(CORPUS / name, target, samples(name), work.glob("*")),
        tuple(sorted(failed.glob("*"))),
        done.stdout.decode(errors="replace")[-4000:] if done.returncode else "",
    )


def _seeds(name: str) -> Iterator[Path]:
    yield CORPUS / name
    yield from {path.parent for path in samples(name)}


def _print(outcomes: Sequence[Outcome], seconds: int) -> None:
    table = Table(title=f"{seconds} s each")
    for column in ("target", "inputs tried", "kept", "failed"):
        table.add_column(column, justify="left" if column == "target" else "right")
    for outcome in outcomes:
        bad = "\n".join(str(path.relative_to(ROOT)) for path in outcome.failures)
        table.add_row(outcome.name, f"{outcome.runs:,}", str(outcome.kept), bad)
    console = Console()
    for outcome in outcomes:
        if outcome.said:
            console.print(outcome.said, markup=False, highlight=False)
    console.print(table)
