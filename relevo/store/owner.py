"""The owner's connection: for maintenance, which sees every business."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from relevo.errors import StoreSetupError
from relevo.store.failures import NOT_LET_IN, as_unavailable, is_unavailable

CONNECT_TIMEOUT_SECONDS = 5.0
LOCK_SECONDS_MAX = 10
"""Who serves holds a conversation for milliseconds; maintenance waits no longer than this."""

KEY = "database.owner_url"


@asynccontextmanager
async def as_owner(owner_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Connect as whoever may see and mend everything.

    Raises:
        StoreSetupError: if the owner may not log in or look, or the tables are not this version's.
        StoreUnavailableError: if the database cannot be reached, or rows stay locked.
    """
    with _named_failures():
        connection = await asyncpg.connect(
            owner_url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            server_settings={
                "application_name": "relevo_owner",
                "lock_timeout": f"{LOCK_SECONDS_MAX}s",
            },
        )
        try:
            yield connection
        finally:
            await connection.close()


@contextmanager
def _named_failures() -> Iterator[None]:
    try:
        yield
    except NOT_LET_IN as error:
        raise StoreSetupError(f"{KEY} does not open the database: {error}") from error
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        raise StoreSetupError(
            f"{KEY}: this database has not the tables of this Relevo; run `relevo migrate`, or see "
            "that the url names the right database"
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise StoreSetupError(
            f"{KEY}: this role may not look ({error}); give the owner of the tables"
        ) from error
    except Exception as error:
        if is_unavailable(error):
            raise as_unavailable(error, key=KEY) from error
        raise
