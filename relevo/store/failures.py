"""What a database error means: the rows' fault, a lost race, or a database that is not there."""

import asyncpg

from relevo.errors import StoreUnavailableError

DATA_CLASSES = frozenset({"22", "23", "54"})
"""Data exception, integrity violation, program limit: these rows will never be stored."""

RETRY_STATES = frozenset({"40P01", "40001"})
"""Deadlock and serialisation failure: the same statement may succeed at once."""

UNAVAILABLE_CLASSES = frozenset({"08", "28", "3D", "53", "55", "57", "58"})
"""Connection, log-in, no such database, resources, database closed to connections, operator
intervention, system error (a full disk)."""

UNAVAILABLE_STATES = frozenset({"25006", "25P03", "25P04"})
"""A standby that became no primary yet, and time limits that a given server sets for sessions."""

NOT_LET_IN = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""At the start these mean a wrong url; later, a password or a database that was changed."""


CONVERSATION_KEY = "_conversation_id_fkey"
"""How the constraints end that a row's conversation is there."""


def is_data_error(error: BaseException) -> bool:
    """Tell whether some row of the batch is to blame, on our side of the wire or on theirs."""
    if is_retryable(error):
        return False
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] in DATA_CLASSES
    return isinstance(error, asyncpg.DataError | UnicodeError)


def is_retryable(error: BaseException) -> bool:
    """Tell whether trying the same again at once makes sense.

    A conversation that was merged away meanwhile is nobody's fault: its addresses lead elsewhere.
    """
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return (error.constraint_name or "").endswith(CONVERSATION_KEY)
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in RETRY_STATES


def is_unavailable(error: BaseException) -> bool:
    """Tell whether the database cannot do its work at all right now."""
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return True  # the schema was changed under this connection, which knows it from now on
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state[:2] in UNAVAILABLE_CLASSES or state in UNAVAILABLE_STATES
    return isinstance(
        error, OSError | TimeoutError | asyncpg.InterfaceError | StoreUnavailableError
    )


def as_unavailable(error: BaseException, *, key: str = "database.url") -> StoreUnavailableError:
    """Return the named failure for an error of the connection; one that has its name keeps it."""
    if isinstance(error, StoreUnavailableError):
        return error
    return StoreUnavailableError(type(error).__name__, key=key)
