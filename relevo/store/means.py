"""What the services of the store work with, and how long their work takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from relevo.clock import Clock
from relevo.tasks import Tasks

if TYPE_CHECKING:
    from relevo.store.pools import Pools


class StoreProbe(Protocol):
    """Observes the store's work, and never changes anything. What it raises is a bug."""

    def store_operation(self, operation: str, seconds: float, rows: int) -> None:
        """An operation has ended, well or badly; `rows` is for how many it was done together.

        Operations: `ingest` (deliveries), `load` (conversations), `commit` (steps of different
        customers), `merge` (of one link), `window`, `sweep` and `schedule` (one each).
        """

    def identity_resolved(self, outcome: str, count: int) -> None:
        """So many messages were from somebody known (`hit`), or people were met (`created`)."""

    def changed(self, kind: str, outcome: str, changes: int) -> None:
        """So many edits or revocations (`kind`) have come to this end.

        Ends: `applied`; `context`, told as an edit; `ignored`, a repetition, an older one, or of
        somebody else's message; `early`, and of these later `settled`, `forgotten` or `dropped`.
        """


@dataclass(frozen=True, slots=True)
class Means:
    """Connections, tasks, time, and whoever observes."""

    pools: "Pools"
    tasks: Tasks
    clock: Clock
    probe: StoreProbe

    @contextmanager
    def timed(self, operation: str, rows: int = 1) -> Iterator[None]:
        """Tell the probe how long this took, waiting for a connection included."""
        started = self.clock.monotonic()
        try:
            yield
        finally:
            self.probe.store_operation(operation, self.clock.monotonic() - started, rows)
