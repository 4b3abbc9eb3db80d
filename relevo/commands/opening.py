"""What commands begin with, and the codes they end with."""

import argparse
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from relevo.settings import Config
    from relevo.store.database import Database

WELL, BAD, CANNOT = 0, 1, 2
"""Exit codes: done; looked, and what was found is not well; it cannot be done."""

Command: TypeAlias = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  (its only name)


def add(commands: Commands, name: str, what: str, command: Command) -> argparse.ArgumentParser:
    """Add a command under its name, with one line of help; return where its arguments go."""
    parser = commands.add_parser(name, help=what, allow_abbrev=False)
    parser.set_defaults(command=command)
    return parser


def address(text: str) -> str:
    """Read an argument that names a customer.

    Raises:
        argparse.ArgumentTypeError: if it cannot be stored.
    """
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        raise argparse.ArgumentTypeError("should be written in UTF-8")
    return text


def config(options: argparse.Namespace) -> "Config":
    """Read the configuration; raises what `relevo.config.load` raises."""
    from relevo.config import load

    return load(options.config, os.environ)


async def database(config: "Config", *, make: bool) -> "Database":
    """Start the database; its owner stops it. Raises what `Database.start` raises."""
    from relevo.clock import SystemClock
    from relevo.store.database import Database

    table = config.database
    database = Database(
        table.url.get_secret_value(),
        table.owner_url.get_secret_value(),
        table.data_dir,
        SystemClock(),
    )
    await database.start(make=make)
    return database


def refuse_without_owner(config: "Config", what: str) -> None:
    """Refuse what only the owner of the tables can do, when none is given.

    Raises:
        ConfigError: if so.
    """
    from relevo.errors import ConfigError

    table = config.database
    if table.url.get_secret_value() and not table.owner_url.get_secret_value():
        raise ConfigError(
            f"database.owner_url is not set, and {what} needs it; set it (or the variable "
            "RELEVO_DATABASE_OWNER_URL) to the url of the database's owner"
        )


def known_business(config: "Config", business_id: str) -> None:
    """Refuse a business that is not configured.

    Raises:
        ConfigError: if so.
    """
    from relevo.errors import ConfigError

    known = [business.id for business in config.businesses]
    if business_id not in known:
        raise ConfigError(f"--business: {business_id} is not configured; known: {', '.join(known)}")


def report(error: BaseException) -> None:
    """Say that a task of a command failed where nobody waits for it."""
    sys.stderr.write(f"relevo: {type(error).__name__} in the background\n")
