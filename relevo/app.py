"""The composition root: everything is made here once, top-down, in the order in which it starts.

Database, journal, customers, inbox, channels, HTTP, metrics; stopped in reverse. Time comes in
here. A stop is told by the readiness first; then what is under way may end, while webhooks are
still stored for the next start; then the port is closed. Each step has its bound.
"""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from socket import socket
from typing import Any, BinaryIO

from relevo.actors.performer import World
from relevo.actors.ports import Chores, Probe
from relevo.actors.supervisor import Bounds, Supervisor
from relevo.admission import Admission
from relevo.api import Hands, open_api
from relevo.businesses import ConfiguredBusinesses
from relevo.clock import Clock, SystemClock
from relevo.errors import StoreUnavailableError
from relevo.gauges import Books, Watched, gauges
from relevo.http.api import Api
from relevo.http.api_limits import Limits
from relevo.http.channels import ChannelAdapter
from relevo.http.sandbox_page import sandbox_routes
from relevo.http.sandbox_provider import SandboxProvider
from relevo.http.server import SHUTDOWN_SECONDS, Server, listen
from relevo.http.session import open_session
from relevo.http.webhooks import Webhooks
from relevo.lines import Memorable, OwnLine, open_assistants, open_channels
from relevo.memory import Memory, bound_bytes
from relevo.metrics.exposition import MetricsServer, sample_loop_lag
from relevo.metrics.instruments import Instruments
from relevo.metrics.logs import Logging, start_logging
from relevo.metrics.probe import MeteringProbe
from relevo.sandbox import open_provider, own_line, page_settings
from relevo.settings import Config
from relevo.stopping import Stops
from relevo.store.crowds import Crowds
from relevo.store.database import Database
from relevo.store.inbox import Inbox
from relevo.store.journal import PostgresJournal
from relevo.store.means import Means
from relevo.store.merger import Merger
from relevo.store.placing import Placer
from relevo.store.retention import Retention
from relevo.store.schedule import Schedule
from relevo.store.statuses import Statuses
from relevo.tasks import Tasks
from relevo.watchdog import Watchdog

Lines = Mapping[str, ChannelAdapter]

TASKS_STOP_SECONDS = 3.0
LINES_STOP_SECONDS = 2.0
METRICS_STOP_SECONDS = 2.0
DATABASE_STOP_SECONDS = 8.0
"""How long a stop waits for each; see `stopping.py` for all together."""


def _itself(probe: Probe) -> Probe:
    return probe


@dataclass(frozen=True, slots=True)
class Options:
    """What is not configuration: how this one process is run."""

    migrate: bool = True
    clock: Clock = field(default_factory=SystemClock)
    bounds: Bounds = field(default_factory=Bounds)
    api_limits: Limits = field(default_factory=Limits)
    observe: Callable[[Probe], Probe] = _itself
    """Wraps the probe of the actors; the kill points of the tests come in here."""
    log_stream: BinaryIO | None = None


class Relevo:
    """One process of the service."""

    def __init__(self, config: Config, options: Options | None = None) -> None:
        self._config = config
        self._options = options or Options()
        self._clock = self._options.clock
        self._stops = Stops()
        self._tasks = Tasks(self._report)
        self._placer = Placer(config.regions, config.portfolios)
        self._books = Books()
        self._draining = False
        self.instruments = Instruments()
        self._logging: Logging | None = None
        self._admission: Admission | None = None
        self._database: Database | None = None
        self._supervisor: Supervisor | None = None
        self._metrics: MetricsServer | None = None
        self.merger: Merger | None = None
        self.schedule: Schedule | None = None
        self._assistants: Mapping[str, Memorable] = {}
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
    def assistants(self) -> Mapping[str, Memorable]:
        """Return the AI of every business, once started."""
        return self._assistants

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
        await self._stops.run()

    async def checks(self) -> dict[str, bool]:
        """Return whether this process can take webhooks: it is not leaving, and can store them."""
        database = self._database
        stores = database is not None and not self._draining and await database.answers()
        fits = self._admission is None or not self._admission.memory.short
        return {"serving": not self._draining, "database": stores, "memory": fits}

    async def _start(self) -> None:
        config, stops = self._config, self._stops
        bound = listen(config.server.host, config.server.port)
        stops.add("port", bound.close)
        self.port = bound.getsockname()[1]
        log = self._start_logging()
        database = await self._open_database()
        session = open_session()
        stops.add("session", session.close, LINES_STOP_SECONDS)
        own = own_line(config.server.host, self.port)
        channels = open_channels(config, session, self._clock, own)
        probe = MeteringProbe(self.instruments, log, {c.id: c.kind for c in config.channels})
        means = Means(database.pools, self._tasks, self._clock, probe)
        crowds = Crowds(means, self._placer, config.server.unread_max)
        supervisor = self._open_actors(means, channels, probe, crowds)
        merger = self.merger = Merger(
            means, config.regions, database.incarnation.number, supervisor.look, probe
        )
        admission = self._open_inbox(means, supervisor, crowds, merger)
        webhooks = Webhooks(channels, admission.inbox, admission, probe, self._clock)
        provider = open_provider(config, session, self._clock, self._tasks, own)
        api = self._open_api(means, merger, channels, probe)
        await self._serve(bound, webhooks, api, provider, own)
        self._open_metrics(supervisor, database, channels, merger)
        self._start_watchdog(log)  # not before: imports block the loop while nothing is served
        stops.add("customers", supervisor.drain, self._options.bounds.drain_seconds + 1)
        with suppress(StoreUnavailableError):  # the first sweep that finds the store takes over
            await supervisor.take_over()
        self._tasks.spawn(supervisor.sweep_for_ever(), "sweep")
        statuses = Statuses(means, supervisor.look, probe.early_statuses)
        retention = Retention(means, config.retention_days, self._assistants)
        self._start_chores(statuses, merger, retention)
        stops.add("readiness", self._leave)

    def _open_api(self, means: Means, merger: Merger, channels: Lines, probe: MeteringProbe) -> Api:
        look, late_after = self.supervisor.look, self._config.late_after
        self.schedule = Schedule(means, late_after, look, probe.scheduled)
        replays = self._inbox(means, merger, sets_aside=False)
        hands = Hands(look, self.schedule.expect, channels, merger.soon, replays)
        return open_api(self._config, means, hands, probe, self._options.api_limits)

    def _start_chores(self, statuses: Statuses, merger: Merger, retention: Retention) -> None:
        assert self.schedule is not None
        every_seconds = self._options.bounds.sweep_seconds
        self._tasks.spawn(statuses.settle_for_ever(every_seconds), "settle-statuses")
        self._tasks.spawn(merger.merge_for_ever(every_seconds), "merge")
        self._tasks.spawn(self.schedule.keep_for_ever(every_seconds), "schedule")
        self._tasks.spawn(self._books.audit_for_ever(self.database, self._clock), "audit")
        self._tasks.spawn(retention.keep_for_ever(), "retention")

    def _open_inbox(
        self, means: Means, supervisor: Supervisor, crowds: Crowds, merger: Merger
    ) -> Admission:
        inbox = self._inbox(means, merger)
        every_seconds = self._options.bounds.sweep_seconds
        self._tasks.spawn(inbox.changes.settle_for_ever(every_seconds), "settle-changes")
        bound = bound_bytes(self._config.server.memory_max_mb)
        memory = Memory(SystemClock(), bound, supervisor.relieve)
        self._tasks.spawn(memory.watch_for_ever(), "memory")
        self._admission = Admission(inbox, memory, crowds)
        return self._admission

    def _inbox(self, means: Means, merger: Merger, *, sets_aside: bool = True) -> Inbox:
        return Inbox(
            means,
            placer=self._placer,
            writer=self.database.incarnation.number,
            wake=self.supervisor.look,
            sets_aside=sets_aside,
            torn=merger.soon,
        )

    def _open_actors(
        self,
        means: Means,
        channels: Lines,
        probe: MeteringProbe,
        chores: Chores,
    ) -> Supervisor:
        opened = AsyncExitStack()
        assistants = open_assistants(self._config, opened, self._clock, probe)
        self._assistants = assistants
        self._stops.add("assistants", opened.aclose, LINES_STOP_SECONDS)
        businesses = ConfiguredBusinesses(self._config, channels, assistants)
        world = World(
            journal=PostgresJournal(means, self.database.incarnation.number, businesses.serves),
            businesses=businesses,
            clock=self._clock,
            probe=self._options.observe(probe),
        )
        bounds = replace(
            self._options.bounds,
            answering_max=self._config.assistant.concurrency_max,
            answering_max_of=self._config.concurrency_max_of,
        )
        self._supervisor = Supervisor(world, self._tasks, bounds, chores)
        self._stops.add("tasks", self._tasks.cancel, TASKS_STOP_SECONDS)
        return self._supervisor

    async def _serve(
        self,
        bound: socket,
        webhooks: Webhooks,
        api: Api,
        provider: SandboxProvider | None,
        own: OwnLine,
    ) -> None:
        routes = []
        if provider is not None:
            page = page_settings(self._config, self.database, own.secret)
            routes = sandbox_routes(provider, page)
        server = Server(bound, webhooks, self, routes, api)
        await server.start()
        self._stops.add("server", server.stop, SHUTDOWN_SECONDS + 1)
        if provider is not None:
            # Before the server, which would wait for the open pages.
            self._stops.add("sandbox", provider.close)

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
        self._stops.add("logging", self._logging.stop)
        return self._logging.log

    def _start_watchdog(self, log: Any) -> None:
        def blocked(seconds: float, task: str, stacks: Mapping[str, list[str]]) -> None:
            self.instruments.event_loop_blocked.inc()
            log.error("event_loop_blocked", seconds=round(seconds, 3), task=task, stacks=stacks)

        def runs_again(seconds: float) -> None:
            log.warning("event_loop_runs_again", seconds=round(seconds, 3))

        # The loop lives by the machine's clock, whatever time the rest is told.
        watchdog = Watchdog(SystemClock(), blocked, runs_again)
        watchdog.start()
        self._stops.add("watchdog", watchdog.stop)

    async def _open_database(self) -> Database:
        table = self._config.database
        database = self._database = Database(
            table.url.get_secret_value(),
            table.owner_url.get_secret_value(),
            table.data_dir,
            self._clock,
            notice=self._notice,
        )
        self._stops.add("database", database.stop, DATABASE_STOP_SECONDS)
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
            },
            self._config.portfolios,
        )
        return database

    def _open_metrics(
        self,
        supervisor: Supervisor,
        database: Database,
        channels: Lines,
        merger: Merger,
    ) -> None:
        server = self._config.server
        admission = self._admission
        assert admission is not None
        watched = Watched(
            supervisor, database, channels, admission, merger, self._tasks, self._books
        )
        self.instruments.attach(gauges(watched))
        self._metrics = MetricsServer(self.instruments.registry, server.host, server.metrics_port)
        self._stops.add("metrics", self._metrics.stop, METRICS_STOP_SECONDS)
        lag = self.instruments.event_loop_lag_seconds
        # The loop's own lateness is measured with its own clock, whatever time the rest is told.
        self._tasks.spawn(sample_loop_lag(SystemClock(), lag.observe), "loop-lag")

    def _notice(self, event: str, why: str) -> None:
        assert self._logging is not None
        self._logging.log.warning("embedded_postgres", notice=event, why=why)

    def _report(self, error: BaseException) -> None:
        """A task has failed: a bug, told by its type and place."""
        assert self._logging is not None
        self._logging.log.error("task_failed", exc_info=error)
