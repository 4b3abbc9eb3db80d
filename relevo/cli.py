"""The command line. Exit codes: 0 well, 1 the answer is bad (audit, demo), 2 it cannot be done.

A command's own imports stand inside it: `relevo --help` waits for nothing.
"""

import argparse
import asyncio
import gc
import os
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relevo import __version__
from relevo.errors import RelevoError, StoreUnavailableError

if TYPE_CHECKING:
    from relevo.settings import Config
    from relevo.store.database import Database

WELL, BAD, CANNOT = 0, 1, 2
TURNS_MAX = 1000

Command = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]


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
        "something is missing; why: nobody is known; demo: the AI did not know); 2 it cannot be "
        "done, and one line says why.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"relevo {__version__}")
    parser.add_argument(
        "--config", type=Path, help="configuration file (default: $RELEVO_CONFIG, ./relevo.toml)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serving(commands)
    _add_asking(commands)
    return parser


def _add_serving(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:

    serve = commands.add_parser("serve", help="serve until stopped", allow_abbrev=False)
    serve.add_argument(
        "--no-migrate", action="store_true", help="leave the database's schema as it is"
    )
    serve.set_defaults(command=_serve)

    migrate = commands.add_parser(
        "migrate", help="bring the database's schema up to date", allow_abbrev=False
    )
    migrate.add_argument(
        "--to", default="head", metavar="REVISION", help="a revision; base deletes everything"
    )
    migrate.add_argument("--yes", action="store_true", help="with --to base: do delete everything")
    migrate.set_defaults(command=_migrate)

    demo = commands.add_parser(
        "demo", help="play a story into a running server's sandbox", allow_abbrev=False
    )
    demo.add_argument("--url", help="where the server listens (default: as configured)")
    demo.set_defaults(command=_demo)


def _add_asking(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    why = commands.add_parser(
        "why", help="tell why a customer was, or was not, replied to", allow_abbrev=False
    )
    why.add_argument(
        "address", metavar="ADDRESS", type=_address, help="a phone number, or another address"
    )
    why.add_argument("--business", help="only this business (default: every one that knows it)")
    why.add_argument("--turns", type=_turns, default=20, metavar="N", help="newest turns shown")
    why.add_argument("--json", action="store_true", help="for a script")
    why.set_defaults(command=_why)

    audit = commands.add_parser(
        "audit", help="check that no accepted message is missing", allow_abbrev=False
    )
    audit.add_argument("--json", action="store_true", help="for a script")
    audit.set_defaults(command=_audit)


def _turns(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and 1 <= int(text[:9]) <= TURNS_MAX):
        raise argparse.ArgumentTypeError(f"should be a whole number from 1 to {TURNS_MAX}")
    return int(text)


def _address(text: str) -> str:
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        raise argparse.ArgumentTypeError("should be written in UTF-8")
    return text


async def _serve(options: argparse.Namespace) -> int:
    from relevo.app import Options, Relevo  # noqa: PLC0415

    config = _config(options)
    relevo = Relevo(config, Options(migrate=not options.no_migrate))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await relevo.start()
    _settle_memory()
    for line in _greeting(config, relevo.port, relevo.metrics_port):
        sys.stderr.write(f"{line}\n")
    await stop.wait()
    sys.stderr.write("Relevo is stopping: finishing what is under way …\n")
    await relevo.stop()
    return WELL


def _settle_memory() -> None:
    """Have the collector look less often, and never at what a start has made.

    A customer in memory is hundreds of objects and no cycle. At Python's own thresholds a quarter
    of the processor goes to looking at them, in pauses of a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _greeting(config: "Config", port: int, metrics_port: int) -> list[str]:
    url = f"http://{config.server.host}:{port}"
    lines = [f"Relevo {__version__} is serving on {url}"]
    if any(channel.kind == "sandbox" for channel in config.channels):
        lines.append(f"  sandbox   {url}/sandbox  (a customer's phone and an agent's inbox)")
    lines += [
        f"  webhooks  {url}/webhooks/{channel.id}  ({channel.kind})"
        for channel in config.channels
        if channel.kind != "sandbox"
    ]
    lines.append(f"  metrics   http://{config.server.host}:{metrics_port}/metrics")
    return lines


async def _migrate(options: argparse.Namespace) -> int:
    from relevo.store.migrate import resolve  # noqa: PLC0415

    config = _config(options)
    empties = resolve(options.to) is None
    _refuse_without_owner(config, "migrating")
    database = await _database(config, make=not empties)
    try:
        if empties and not options.yes:
            await _refuse_to_empty(database.urls.owner_url)
        await database.migrate(options.to)
    finally:
        await database.stop()
    sys.stdout.write(f"The schema is at {options.to}.\n")
    return WELL


async def _refuse_to_empty(owner_url: str) -> None:
    from relevo.errors import StoreSetupError  # noqa: PLC0415
    from relevo.store.inspection import contents  # noqa: PLC0415
    from relevo.store.migrate import revision  # noqa: PLC0415

    if await revision(owner_url) is None:
        return
    conversations, messages = await contents(owner_url)
    raise StoreSetupError(
        f"--to base deletes every table: {conversations} conversations, {messages} messages, and "
        "all turns and replies; make a backup, and repeat it with --yes if that is what you want"
    )


async def _demo(options: argparse.Namespace) -> int:
    from relevo import telling, terminal  # noqa: PLC0415
    from relevo.clock import SystemClock  # noqa: PLC0415
    from relevo.http.demo import Stage, play  # noqa: PLC0415

    server = _config(options).server
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


async def _why(options: argparse.Namespace) -> int:
    from relevo import telling  # noqa: PLC0415
    from relevo.store.inspection import why  # noqa: PLC0415
    from relevo.tasks import Tasks  # noqa: PLC0415

    config = _config(options)
    if options.business is not None:
        _known_business(config, options.business)
    database = await _database(config, make=False)
    try:
        await database.connect(Tasks(_report))
        found = [
            conversation
            for business in config.businesses
            if options.business in {None, business.id}
            for conversation in await why(
                database.pools, business.id, options.address, business.region, options.turns
            )
        ]
    finally:
        await database.stop()
    telling.why(found, options.address, as_json=options.json)
    return WELL if found else BAD


async def _audit(options: argparse.Namespace) -> int:
    from relevo import telling  # noqa: PLC0415
    from relevo.store.inspection import audit  # noqa: PLC0415

    config = _config(options)
    _refuse_without_owner(config, "an audit")
    database = await _database(config, make=False)
    try:
        balances = await audit(database.urls.owner_url)
    finally:
        await database.stop()
    telling.balances(balances, as_json=options.json)
    return WELL if all(balance.sound for balance in balances) else BAD


def _config(options: argparse.Namespace) -> "Config":
    from relevo.config import load  # noqa: PLC0415

    return load(options.config, os.environ)


async def _database(config: "Config", *, make: bool) -> "Database":
    from relevo.clock import SystemClock  # noqa: PLC0415
    from relevo.store.database import Database  # noqa: PLC0415

    table = config.database
    database = Database(
        table.url.get_secret_value(),
        table.owner_url.get_secret_value(),
        table.data_dir,
        SystemClock(),
    )
    await database.start(make=make)
    return database


def _refuse_without_owner(config: "Config", what: str) -> None:
    from relevo.errors import ConfigError  # noqa: PLC0415

    table = config.database
    if table.url.get_secret_value() and not table.owner_url.get_secret_value():
        raise ConfigError(
            f"database.owner_url is not set, and {what} needs it; set it (or the variable "
            "RELEVO_DATABASE_OWNER_URL) to the url of the database's owner"
        )


def _known_business(config: "Config", business_id: str) -> None:
    from relevo.errors import ConfigError  # noqa: PLC0415

    known = [business.id for business in config.businesses]
    if business_id not in known:
        raise ConfigError(f"--business: {business_id} is not configured; known: {', '.join(known)}")


def _report(error: BaseException) -> None:
    sys.stderr.write(f"relevo: {type(error).__name__} in the background\n")
