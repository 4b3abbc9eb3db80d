"""The command: kills, recovers, stops, and prints what came of it.

Exit codes: 0 all is well, 1 something is lost, doubled or out of order, or below its floor.
"""

import argparse
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path

import orjson
import uvloop
from rich.console import Console

from bench.results import Promise, Result, as_json, machine, print_table
from chaos.loop import BLIND_SECONDS, STOP_SECONDS_MAX, Outcome, Plan, kill_loop
from chaos.recovery import Recovery, recovery
from chaos.server import Site
from chaos.stopped import WAYS, Woken, stopped_while_sending
from relevo.clock import SystemClock

WELL, BAD = 0, 1

LOOP, RECOVERY, STOPPED = 1, 2, 3
PARTS = (LOOP, RECOVERY, STOPPED)

LOST = Promise("lost: accepted, and not accounted for", 0, 0, "", more_is_better=False)
DOUBLED = Promise("doubled: answered twice", 0, 0, "", more_is_better=False)
DISORDERED = Promise("out of order for their customer", 0, 0, "", more_is_better=False)
STOPS = Promise("SIGTERM to exit 0", 10, STOP_SECONDS_MAX, "s", more_is_better=False)
FIRST_REPLY = Promise("", 3, 10, "s", more_is_better=False)
ARMED = Promise("the same: all deadlines armed again", 10, 30, "s", more_is_better=False)
ASTRAY = Promise("the same: not one right reply in the end", 0, 0, "", more_is_better=False)
WOKEN = Promise(
    "stopped in the middle of a send, woken later: not one reply", 0, 0, "", more_is_better=False
)

Say = Callable[[str], None]


def run(arguments: Sequence[str]) -> int:
    """Do it, print, and return the exit code."""
    options = _parser().parse_args(arguments)
    clock = SystemClock()
    on, started_at = machine(), clock.monotonic()
    console = Console(stderr=True)
    console.print(f"seed {options.seed}")
    with console.status("starting …") as status:
        results = list(_results(options, status.update))
    seconds = clock.monotonic() - started_at
    if options.json:
        told = as_json(results, on, seconds) | {"seed": options.seed}
        sys.stdout.buffer.write(orjson.dumps(told) + b"\n")
    else:
        print_table(
            results, on, seconds, title=f"Relevo, killed again and again (seed {options.seed})"
        )
    return BAD if any(result.verdict == "below floor" for result in results) else WELL


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chaos", description="Kill the server under traffic and look for what is missing."
    )
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--customers", type=int, default=300, metavar="N", help="default: 300")
    parser.add_argument(
        "--open-turns", type=int, default=20_000, metavar="N", help="for the recovery; 20,000"
    )
    parser.add_argument(
        "--stopped-seconds", type=float, default=60, metavar="S", help="in the middle of a send; 60"
    )
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(1_000_000), metavar="N", help="default: any"
    )
    parser.add_argument(
        "--only",
        type=int,
        action="append",
        choices=PARTS,
        metavar="N",
        help="1: the kill loop, 2: the recovery, 3: a process that is stopped; may be given again",
    )
    parser.add_argument("--json", action="store_true", help="for a script")
    return parser


def _results(options: argparse.Namespace, say: Say) -> Iterator[Result]:
    wanted = options.only or PARTS
    if LOOP in wanted:
        plan = Plan(options.kills, options.customers, options.seed)
        with _site() as site:
            yield from _of_the_loop(uvloop.run(kill_loop(plan, site, say)))
    if RECOVERY in wanted:
        with _site() as site:
            come_back = recovery(options.open_turns, options.seed, site, say)
            yield from _of_the_recovery(uvloop.run(come_back))
    if STOPPED in wanted:
        woken = []
        for how in WAYS:
            say(f"a process is stopped for {options.stopped_seconds:.0f} s while it sends: {how} …")
            with _site() as site:
                stopped = stopped_while_sending(how, options.stopped_seconds, site)
                woken.append(uvloop.run(stopped))
        yield _of_the_stopped(woken)


@contextmanager
def _site() -> Iterator[Site]:
    """Make a folder whose PostgreSQL may be another system user's."""
    with tempfile.TemporaryDirectory(prefix="relevo-chaos-") as folder:
        Path(folder).chmod(0o711)
        yield Site(Path(folder))


def _of_the_loop(outcome: Outcome) -> Iterator[Result]:
    found = outcome.findings
    fates = ", ".join(f"{count:,} {fate}" for fate, count in sorted(outcome.fates.items()))
    how = (
        f"{outcome.plan.kills} kills in {outcome.seconds:.0f} s, {outcome.kills_while_starting} of "
        f"them before it served; {outcome.messages:,} messages of {outcome.plan.customers} "
        f"customers, {outcome.redelivered:,} deliveries repeated for want of a 200, "
        f"{outcome.repeated:,} without a reason; {fates}"
    )
    yield Result(LOOP, LOST, len(found.lost) + abs(outcome.audited), how)
    turns = ", ".join(f"{count:,} {name}" for name, count in sorted(outcome.outcomes.items()))
    how = (
        f"{outcome.replies:,} texts at the provider; turns: {turns}; {outcome.resent:,} guarded "
        f"re-sends, {outcome.blind:,} of them blind, after {BLIND_SECONDS} s without a history"
    )
    yield Result(LOOP, DOUBLED, len(found.doubled), how)
    yield Result(LOOP, DISORDERED, len(found.disordered), "by when they were said and accepted")
    code = outcome.exit_code
    how = "exit 0 after the last life" if code == 0 else f"exit {code}"
    yield Result(LOOP, STOPS, outcome.stop_seconds if code == 0 else inf, how)


def _of_the_recovery(measured: Recovery) -> Iterator[Result]:
    how = (
        f"{measured.overdue:,} of them overdue; from the process's start, which served after "
        f"{measured.serving_seconds:.1f} s"
    )
    what = f"killed with {measured.open_turns:,} open turns: first correct reply"
    yield Result(RECOVERY, replace(FIRST_REPLY, what=what), measured.first_reply_seconds, how)
    how = "from the process's start, as the metrics page tells"
    yield Result(RECOVERY, ARMED, measured.armed_seconds, how)
    wrong = measured.lost + measured.doubled + measured.wrong + measured.audited
    how = f"{measured.lost:,} lost, {measured.doubled:,} doubled, {measured.wrong:,} wrong"
    yield Result(RECOVERY, ASTRAY, wrong, how)


def _of_the_stopped(woken: Sequence[Woken]) -> Result:
    how = "; ".join(f"{w.how}: {w.first_replies} after {w.seconds:.0f} s" for w in woken)
    return Result(STOPPED, WOKEN, sum(not w.sound for w in woken), how)
