"""What commands begin with, and the codes they end with."""

import argparse
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from relevo.settings import Business, Config
    from relevo.store.database import Database
    from relevo.tasks import Tasks

WELL, BAD, CANNOT = 0, 1, 2
"""Exit codes: done; looked, and what was found is not well; it cannot be done."""

ID_MAX = 2**63 - 1
LIMIT_MAX = 1000

T = TypeVar("T")

Command: TypeAlias = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  (its only name)


def add(commands: Commands, name: str, what: str, command: Command) -> argparse.ArgumentParser:
    """Add a command under its name, with one line of help; return where its arguments go."""
    parser = commands.add_parser(name, help=what, allow_abbrev=False)
    parser.set_defaults(command=command)
    return parser


def add_address(
    parser: argparse.ArgumentParser, group: "argparse._MutuallyExclusiveGroup | None" = None
) -> None:
    """Add the arguments that name a customer; in a group of which one has to be given."""
    (group or parser).add_argument(
        "address",
        metavar="ADDRESS",
        nargs="?" if group else None,
        type=address,
        help="a phone number, or another address",
    )
    parser.add_argument("--business", help="only this business (default: every one that knows it)")


def add_which(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the arguments that name one thing by its id."""
    parser.add_argument("id", metavar="ID", type=whole(1, ID_MAX), help=f"{what} (see `list`)")
    parser.add_argument("--business", help="whose it is, should several have this id")


def add_which_or_all(parser: argparse.ArgumentParser, what: str, every: str) -> None:
    """Add the arguments that name one thing by its id, or everything."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "id", metavar="ID", nargs="?", type=whole(1, ID_MAX), help=f"{what} (see `list`)"
    )
    which.add_argument("--all", action="store_true", help=every)
    parser.add_argument("--business", help="only this business (default: every one)")


def add_list(parser: argparse.ArgumentParser, closed: str) -> None:
    """Add the arguments of a list, newest first."""
    parser.add_argument("--all", action="store_true", help=f"also {closed} ones")
    parser.add_argument("--business", help="only this business (default: every one)")
    parser.add_argument(
        "--limit", type=whole(1, LIMIT_MAX), default=50, metavar="N", help="newest ones shown"
    )
    parser.add_argument("--json", action="store_true", help="for a script")


def only_one(found: Sequence[T], of: Callable[[T], str], what: str) -> T | None:
    """Return what was found in the businesses, of which only one may have it.

    Raises:
        ConfigError: if several have one with this id.
    """
    from relevo.errors import ConfigError

    if len(found) > 1:
        raise ConfigError(f"--business: name one; {what} is in {', '.join(map(of, found))}")
    return found[0] if found else None


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """Return what reads an argument that is a whole number between these."""

    def read(text: str) -> int:
        digits = text.isdecimal() and text.isascii() and len(text) <= len(str(highest))
        if not (digits and lowest <= int(text) <= highest):
            raise argparse.ArgumentTypeError(f"should be a whole number from {lowest} to {highest}")
        return int(text)

    return read


def address(text: str) -> str:
    """Read an argument that is an address."""
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


@asynccontextmanager
async def connected(config: "Config", tasks: "Tasks | None" = None) -> "AsyncIterator[Database]":
    """Lend the database that is there, connected as a process of the service is.

    Raises what `Database.start` and `Database.connect` raise.
    """
    from relevo.tasks import Tasks

    opened = await database(config, make=False)
    try:
        await opened.connect(tasks or Tasks(report))
        yield opened
    finally:
        await opened.stop()


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


def businesses(config: "Config", only: str | None) -> "list[Business]":
    """Return the businesses that a command is about: the named one, or all.

    Raises:
        ConfigError: if the named one is not configured.
    """
    from relevo.errors import ConfigError

    found = [business for business in config.businesses if only in {None, business.id}]
    if not found:
        known = ", ".join(business.id for business in config.businesses)
        raise ConfigError(f"--business: {only} is not configured; known: {known}")
    return found


def report(error: BaseException) -> None:
    """Say that a task of a command failed where nobody waits for it."""
    sys.stderr.write(f"relevo: {type(error).__name__} in the background\n")
