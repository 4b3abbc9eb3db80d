"""The command line: what can be called, and how it ends.

Exit codes: 0 well, 1 the answer is bad (audit, demo) or no (retry), 2 it cannot be done.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from relevo import __version__
from relevo.commands import (
    asking,
    backfilling,
    dead_letters,
    demo,
    doctor,
    exporting,
    forgetting,
    holding,
    identity,
    importing,
    keys,
    quarantine,
    serving,
)
from relevo.commands.opening import CANNOT, Command
from relevo.errors import RelevoError, StoreUnavailableError


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        import uvloop  # noqa: PLC0415  (only a command that runs needs a loop)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(command(options))
    except StoreUnavailableError as error:
        return _cannot(
            f"{error.key}: the database cannot be reached or is refusing work ({error}); "
            "see that it runs and that the url is right"
        )
    except RelevoError as error:
        return _cannot(str(error))


def _cannot(why: str) -> int:
    from relevo.terminal import escaped  # noqa: PLC0415

    sys.stderr.write(f"relevo: {escaped(' '.join(why.split()))}\n")
    return CANNOT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="relevo",
        description="Answers WhatsApp customers with an AI that knows what the humans said.",
        epilog="Exit codes: 0 well; 1 a command did its work and what it found is not well (audit: "
        "something is missing; why: nobody is known; demo: the AI did not know; retry, drop, "
        "replay, answer: there is nothing, or it is refused; import, backfill: something was "
        "refused; doctor: something was found; identity: nobody is known, or it is refused); 2 it "
        "cannot be done, and one line says why.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"relevo {__version__}")
    parser.add_argument(
        "--config", type=Path, help="configuration file (default: $RELEVO_CONFIG, ./relevo.toml)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    modules = (
        *(serving, demo, asking, holding, identity, dead_letters, quarantine, importing),
        *(backfilling, forgetting, exporting, doctor, keys),
    )
    for module in modules:
        module.add(commands)
    return parser
