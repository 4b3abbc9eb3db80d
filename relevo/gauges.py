"""Where the gauges of a process take their values from."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from relevo.actors.supervisor import Supervisor
from relevo.admission import Admission
from relevo.clock import Clock, sleep
from relevo.http.channels import ChannelAdapter
from relevo.metrics.instruments import Gauges
from relevo.store.database import Database
from relevo.store.inspection import OpenGaps, audit, open_gaps
from relevo.store.merger import Merger
from relevo.tasks import Tasks

LOG = logging.getLogger(__name__)

AUDIT_SECONDS = 600
"""How often books and open gaps are checked for the metrics; it reads every message."""


@dataclass(slots=True)
class Books:
    """What the last audit found."""

    remainder: int = 0
    gaps: OpenGaps = field(default_factory=OpenGaps)

    async def audit_for_ever(self, database: Database, clock: Clock) -> None:
        """Look into the books now and then, as long as somebody may."""
        while owner_url := database.urls.owner_url:
            await sleep(clock, AUDIT_SECONDS)
            try:
                self.remainder = sum(abs(b.remainder) for b in await audit(owner_url))
                self.gaps = await open_gaps(owner_url)
            except Exception:
                LOG.warning("audit_failed", exc_info=True)


@dataclass(frozen=True, slots=True)
class Watched:
    """What has gauges."""

    supervisor: Supervisor
    database: Database
    channels: Mapping[str, ChannelAdapter]
    admission: Admission
    merger: Merger
    tasks: Tasks
    books: Books


def gauges(watched: Watched) -> Gauges:
    """Return the callables that a scrape reads."""
    supervisor, admission, books = watched.supervisor, watched.admission, watched.books
    given = watched.database.pools
    pools = (given.app, given.ingest, given.sweep)
    return Gauges(
        actors_resident=lambda: supervisor.resident,
        mailbox_messages=supervisor.mailbox_messages,
        timers_pending=lambda: len(supervisor.alarms),
        turns_open=lambda: supervisor.turns_open,
        turns_waiting=lambda: supervisor.gate.waiting,
        inbox_deliveries=lambda: admission.inbox.waiting,
        inbox_bytes=lambda: admission.inbox.waiting_bytes,
        customers_crowded=lambda: admission.crowds.customers,
        links_waiting=lambda: watched.merger.waiting,
        memory_bound_bytes=lambda: admission.memory.bound,
        memory_short=lambda: admission.memory.short,
        tasks=lambda: len(watched.tasks),
        conservation_remainder_messages=lambda: books.remainder,
        gaps_unresolved=lambda: books.gaps.customers,
        gap_oldest_unresolved=lambda: _timestamp(books.gaps.oldest_at),
        unsent=supervisor.unsent,
        lines_stopped=lambda: sum(line.stopped for line in watched.channels.values()),
        store_pool_in_use=lambda: sum(p.get_size() - p.get_idle_size() for p in pools),
        store_pool_idle=lambda: sum(p.get_idle_size() for p in pools),
        store_pool_max=lambda: sum(p.get_max_size() for p in pools),
    )


def _timestamp(instant: datetime | None) -> float:
    return 0 if instant is None else instant.timestamp()
