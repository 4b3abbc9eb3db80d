"""The composition root: everything is made here once, top-down, in the order in which it starts.

Database, journal, customers, inbox, channels, HTTP, metrics; stopped in reverse. Time comes in
here. A stop takes no more requests, lets what is under way end within bounds, and leaves the rest
to the next start.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from socket import socket
from typing import Any, BinaryIO

from relevo.actors.performer import World
from relevo.actors.ports import Probe
from relevo.actors.supervisor import Bounds, Supervisor
from relevo.businesses import ConfiguredBusinesses
from relevo.clock import Clock, SystemClock, sleep
from relevo.http.channels import ChannelAdapter
from relevo.http.sandbox_page import PageSettings, sandbox_routes
from relevo.http.sandbox_provider import FIRST_NUMBER, SandboxProvider, WebhookDelivery
from relevo.http.server import Server, listen
from relevo.http.session import Session, open_session
from relevo.http.webhooks import Webhooks
from relevo.lines import OwnLine, open_assistants, open_channels
from relevo.metrics.exposition import MetricsServer, sample_loop_lag
from relevo.metrics.instruments import Gauges, Instruments
from relevo.metrics.logs import Logging, start_logging
from relevo.metrics.probe import MeteringProbe
from relevo.settings import Config
from relevo.store.database import Database
from relevo.store.inbox import Inbox
from relevo.store.inspection import OpenGaps, audit, open_gaps, why
from relevo.store.journal import PostgresJournal
from relevo.store.means import Means
from relevo.store.statuses import Statuses
from relevo.tasks import Tasks

NUMBERS = 9000
"""From how many the sandbox's first made-up phone number is drawn."""

AUDIT_SECONDS = 600
"""How often books and open gaps are checked for the metrics; it reads every message."""


def _itself(probe: Probe) -> Probe:
    return probe


@dataclass(frozen=True, slots=True)
class Options:
    """What is not configuration: how this one process is run."""

    migrate: bool = True
    clock: Clock = field(default_factory=SystemClock)
    bounds: Bounds = field(default_factory=Bounds)
    observe: Callable[[Probe], Probe] = _itself
    """Wraps the probe of the actors; the kill points of the tests come in here."""
    log_stream: BinaryIO | None = None


class Relevo:
    """One process of the service."""

    def __init__(self, config: Config, options: Options | None = None) -> None:
        self._config = config
        self._options = options or Options()
        self._clock = self._options.clock
        self._stack = AsyncExitStack()
        self._tasks = Tasks(self._report)
        self._remainder = 0
        self._gaps = OpenGaps()
        self._draining = False
        self.instruments = Instruments()
        self._logging: Logging | None = None
        self._database: Database | None = None
        self._supervisor: Supervisor | None = None
        self._metrics: MetricsServer | None = None
        self.port = 0

    @property
    def supervisor(self) -> Supervisor:
        """Return the customers' supervisor, once started."""
        assert self._supervisor is not None, "start first"
        return self._supervisor

    @property
    def database(self) -> Database:
        """Return the database, once started."""
        assert self._database is not None, "start first"
        return self._database

    @property
    def metrics_port(self) -> int:
        """Return the port of the metrics, once started."""
        assert self._metrics is not None, "start first"
        return self._metrics.port

    async def start(self) -> None:
        """Serve.

        Raises:
            ConfigError: if a port cannot be had.
            StoreSetupError: if the database must not be used as it is.
            StoreUnavailableError: if the database cannot be reached.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Drain, and let everything go."""
        self._draining = True
        await self._stack.aclose()

    async def checks(self) -> dict[str, bool]:
        """Return whether this process can take webhooks: it is not leaving, and can store them."""
        database = self._database
        stores = database is not None and not self._draining and await database.answers()
        return {"serving": not self._draining, "database": stores}

    async def _start(self) -> None:
        config, stack = self._config, self._stack
        bound = listen(config.server.host, config.server.port)
        stack.callback(bound.close)
        self.port = bound.getsockname()[1]
        log = self._start_logging()
        database = await self._open_database()
        session = open_session()
        stack.push_async_callback(session.close)
        own = OwnLine(
            f"http://{_reachable(config.server.host)}:{self.port}", secrets.token_urlsafe(32)
        )
        channels = open_channels(config, session, self._clock, own)
        providers = {channel.id: channel.kind for channel in config.channels}
        probe = MeteringProbe(self.instruments, log, providers)
        means = Means(database.pools, self._tasks, self._clock, probe)
        supervisor = self._open_actors(means, channels, probe)
        inbox = Inbox(
            means,
            regions={business.id: business.region for business in config.businesses},
            writer=database.incarnation.number,
            wake=supervisor.look,
        )
        webhooks = Webhooks(channels, inbox, probe, self._clock)
        await self._serve(bound, webhooks, self._sandbox(session, own), own)
        self._open_metrics(supervisor, database, channels)
        await supervisor.take_over()
        self._tasks.spawn(supervisor.sweep_for_ever(), "sweep")
        statuses = Statuses(means, supervisor.look, probe.early_statuses)
        every_seconds = self._options.bounds.sweep_seconds
        self._tasks.spawn(statuses.settle_for_ever(every_seconds), "settle-statuses")
        self._tasks.spawn(self._audit_for_ever(), "audit")
        stack.callback(self._leave)

    def _open_actors(
        self, means: Means, channels: Mapping[str, ChannelAdapter], probe: MeteringProbe
    ) -> Supervisor:
        assistants = open_assistants(self._config, self._stack, self._clock, probe)
        businesses = ConfiguredBusinesses(self._config, channels, assistants)
        world = World(
            journal=PostgresJournal(means, self.database.incarnation.number, businesses.serves),
            businesses=businesses,
            clock=self._clock,
            probe=self._options.observe(probe),
        )
        supervisor = self._supervisor = Supervisor(world, self._tasks, self._options.bounds)
        self._stack.push_async_callback(self._tasks.cancel)
        self._stack.push_async_callback(supervisor.drain)
        return supervisor

    async def _serve(
        self,
        bound: socket,
        webhooks: Webhooks,
        provider: SandboxProvider | None,
        own: OwnLine,
    ) -> None:
        routes = [] if provider is None else sandbox_routes(provider, self._page(own.secret))
        server = Server(bound, webhooks, self, routes)
        await server.start()
        self._stack.push_async_callback(server.stop)
        if provider is not None:
            # Before the server, which would wait for the open pages.
            self._stack.callback(provider.close)

    def _leave(self) -> None:
        self._draining = True

    def _start_logging(self) -> Any:
        self._logging = start_logging(
            self._clock,
            self._config.server.log_level,
            self._options.log_stream,
            on_event=lambda level: self.instruments.log_events[level].inc(),
            on_lost=self.instruments.log_lines_lost.inc,
        )
        self._stack.callback(self._logging.stop)
        return self._logging.log

    async def _open_database(self) -> Database:
        table = self._config.database
        database = self._database = Database(
            table.url.get_secret_value(),
            table.owner_url.get_secret_value(),
            table.data_dir,
            self._clock,
            notice=self._notice,
        )
        self._stack.push_async_callback(database.stop)
        await database.start()
        if self._options.migrate:
            await database.migrate()
        await database.connect(self._tasks)
        await database.enter(
            {
                business.id: {
                    c.id: c.kind for c in self._config.channels if c.business == business.id
                }
                for business in self._config.businesses
            }
        )
        return database

    def _sandbox(self, session: Session, own: OwnLine) -> SandboxProvider | None:
        """Return the simulated provider, if a channel is its line."""
        line = next((c for c in self._config.channels if c.kind == "sandbox"), None)
        if line is None:
            return None
        url = f"{own.url}/webhooks/{line.id}"
        deliver = WebhookDelivery(self._clock, session, url, own.secret)
        # Another process's customers are not known to this one's provider, so they get new numbers.
        first_number = FIRST_NUMBER + secrets.randbelow(NUMBERS)
        return SandboxProvider(self._clock, deliver, self._tasks, first_number=first_number)

    def _page(self, own_secret: str) -> PageSettings:
        """Return what the sandbox's page shows of the business behind it."""
        line = next(c for c in self._config.channels if c.kind == "sandbox")
        business = self._config.business(line.business)

        async def explain(phone: str) -> Sequence[Mapping[str, Any]]:
            assert self._database is not None
            told = await why(self._database.pools, business.id, phone, business.region, 20)
            return [_explained(turn) for conversation in told for turn in conversation["turns"]]

        return PageSettings(
            secret=own_secret,
            quiet_seconds=business.quiet_seconds,
            gap_seconds=business.gap_seconds,
            explain=explain,
            host=self._config.server.host,
        )

    def _open_metrics(
        self,
        supervisor: Supervisor,
        database: Database,
        channels: Mapping[str, ChannelAdapter],
    ) -> None:
        server = self._config.server
        pools = (database.pools.app, database.pools.ingest, database.pools.sweep)
        self.instruments.attach(
            Gauges(
                actors_resident=lambda: supervisor.resident,
                mailbox_messages=supervisor.mailbox_messages,
                timers_pending=lambda: len(supervisor.alarms),
                turns_open=lambda: supervisor.turns_open,
                tasks=lambda: len(self._tasks),
                conservation_remainder_messages=lambda: self._remainder,
                gaps_unresolved=lambda: self._gaps.customers,
                gap_oldest_unresolved=lambda: _timestamp(self._gaps.oldest_at),
                unsent=supervisor.unsent,
                lines_stopped=lambda: sum(line.stopped for line in channels.values()),
                store_pool_in_use=lambda: sum(p.get_size() - p.get_idle_size() for p in pools),
                store_pool_idle=lambda: sum(p.get_idle_size() for p in pools),
                store_pool_max=lambda: sum(p.get_max_size() for p in pools),
            )
        )
        self._metrics = MetricsServer(self.instruments.registry, server.host, server.metrics_port)
        self._stack.push_async_callback(self._metrics.stop)
        lag = self.instruments.event_loop_lag_seconds
        # The loop's own lateness is measured with its own clock, whatever time the rest is told.
        self._tasks.spawn(sample_loop_lag(SystemClock(), lag.observe), "loop-lag")

    async def _audit_for_ever(self) -> None:
        assert self._database is not None
        assert self._logging is not None
        while owner_url := self._database.urls.owner_url:
            await sleep(self._clock, AUDIT_SECONDS)
            try:
                self._remainder = sum(abs(b.remainder) for b in await audit(owner_url))
                self._gaps = await open_gaps(owner_url)
            except Exception:
                self._logging.log.warning("audit_failed", exc_info=True)

    def _notice(self, event: str, why: str) -> None:
        assert self._logging is not None
        self._logging.log.warning("embedded_postgres", notice=event, why=why)

    def _report(self, error: BaseException) -> None:
        """A task has failed: a bug, told by its type and place."""
        assert self._logging is not None
        self._logging.log.error("task_failed", exc_info=error)


def _timestamp(instant: datetime | None) -> float:
    return 0 if instant is None else instant.timestamp()


def _reachable(host: str) -> str:
    """Return an address under which this process reaches itself."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104  (compared, not bound)
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _explained(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a turn as the sandbox page shows it."""
    return {
        "at": turn["closed_at"],
        "verdict": turn["verdict"],
        "silence_seconds": turn["silence_seconds"],
        "recall": turn["recall"],
        "recalled": turn["recalled"],
        "missed": len(turn["missed"]) + turn["missed_left_out"],
        "outcome": turn["outcome"],
        "reason": turn["reason"],
    }
