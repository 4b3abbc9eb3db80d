"""What came before its message is applied once that is known: looked for every few seconds."""

from collections.abc import Awaitable, Callable

from relevo.clock import sleep
from relevo.errors import StoreUnavailableError
from relevo.store.means import Means


async def settle_for_ever(
    means: Means, settle: Callable[[], Awaitable[None]], every_seconds: float, name: str
) -> None:
    """Settle now and then, as long as the process lives; `name` is the task's."""
    while True:
        await sleep(means.clock, every_seconds)
        try:
            await settle()
        except StoreUnavailableError:
            continue
        except Exception:
            # A bug, and reported as one; what comes next must not wait for a restart.
            means.tasks.spawn(settle_for_ever(means, settle, every_seconds, name), name)
            raise
