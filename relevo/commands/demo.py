"""`relevo demo`."""

import argparse
import shlex

from relevo.commands import opening
from relevo.commands.opening import BAD, WELL, Commands


def add(commands: Commands) -> None:
    """Add the command of this module."""
    demo = opening.add(commands, "demo", "play a story into a running server's sandbox", _demo)
    demo.add_argument("--url", help="where the server listens (default: as configured)")


async def _demo(options: argparse.Namespace) -> int:
    from relevo import telling, terminal
    from relevo.clock import SystemClock
    from relevo.http.demo import Stage, play

    server = opening.config(options).server
    url = options.url or f"http://{server.host}:{server.port}"
    clock = SystemClock()
    config = f" --config {shlex.quote(str(options.config))}" if options.config else ""
    stage = Stage(
        clock,
        telling.line,
        lambda seconds, why: telling.wait(clock, seconds, why),
        why=f"{terminal.program()}{config} why",
    )
    knew = await play(url, stage)
    telling.verdict(knew=knew)
    return WELL if knew else BAD
