"""`relevo serve` and `relevo migrate`."""

import argparse
import asyncio
import gc
import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from relevo import __version__
from relevo.commands import opening
from relevo.commands.opening import WELL, Commands

if TYPE_CHECKING:
    from relevo.app import Relevo
    from relevo.commands.signals import Signals
    from relevo.settings import Config


def add(commands: Commands) -> None:
    """Add the commands of this module."""
    serve = opening.add(commands, "serve", "serve until stopped", _serve)
    serve.add_argument(
        "--no-migrate", action="store_true", help="leave the database's schema as it is"
    )
    migrate = opening.add(commands, "migrate", "bring the database's schema up to date", _migrate)
    migrate.add_argument(
        "--to", default="head", metavar="REVISION", help="a revision; base deletes everything"
    )
    migrate.add_argument("--yes", action="store_true", help="with --to base: do delete everything")


async def _serve(options: argparse.Namespace) -> int:
    from relevo.app import Options, Relevo
    from relevo.commands.signals import Signals

    signals = Signals()
    signals.listen()
    config = opening.config(options)
    relevo = Relevo(config, Options(migrate=not options.no_migrate))
    if not await _started(relevo, signals):
        return WELL
    _settle_memory()
    for line in _greeting(config, relevo.port, relevo.metrics_port):
        sys.stderr.write(f"{line}\n")
    await signals.first()
    sys.stderr.write("Relevo is stopping: finishing what is under way …\n")
    await relevo.stop()
    logging.disable()  # what libraries say of connections that were cut has no reader any more
    return WELL


async def _started(relevo: "Relevo", signals: "Signals") -> bool:
    """Start, unless a signal comes first: half a start is taken back, and that was well too."""
    starting = asyncio.get_running_loop().create_task(relevo.start(), name="start")
    told = asyncio.get_running_loop().create_task(signals.first(), name="first-signal")
    await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not starting.done():
        sys.stderr.write("Relevo stops before it has started\n")
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
        return False
    starting.result()
    return True


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
    lines.append(f"  API       {url}/v1  (a key: relevo keys create NAME --scope read)")
    lines.append(f"  metrics   http://{config.server.host}:{metrics_port}/metrics")
    return lines


async def _migrate(options: argparse.Namespace) -> int:
    from relevo.store.migrate import resolve

    config = opening.config(options)
    empties = resolve(options.to) is None
    opening.refuse_without_owner(config, "migrating")
    database = await opening.database(config, make=not empties)
    try:
        if empties and not options.yes:
            await _refuse_to_empty(database.urls.owner_url)
        await database.migrate(options.to)
    finally:
        await database.stop()
    sys.stdout.write(f"The schema is at {options.to}.\n")
    return WELL


async def _refuse_to_empty(owner_url: str) -> None:
    from relevo.errors import StoreSetupError
    from relevo.store.inspection import contents
    from relevo.store.migrate import revision

    if await revision(owner_url) is None:
        return
    conversations, messages = await contents(owner_url)
    raise StoreSetupError(
        f"--to base deletes every table: {conversations} conversations, {messages} messages, and "
        "all turns and replies; make a backup, and repeat it with --yes if that is what you want"
    )
