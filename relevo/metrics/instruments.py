"""Every metric of the contract, made, with its children, and ready to be counted."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

import relevo
from relevo.metrics.contract import CONTRACT, OTHER, PREFIX
from relevo.turns import Part

K = TypeVar("K")


class Family(dict[str, K]):
    """The children of one label by its value; a value nobody foresaw is `other`."""

    def __missing__(self, value: str) -> K:
        """Return the child `other`; a family without one has only values of our own enums."""
        if OTHER not in self:
            raise KeyError(value)
        return self[OTHER]


@dataclass(frozen=True, slots=True)
class Gauges:
    """Where the values of gauges come from. Each is called on the scraping thread."""

    actors_resident: Callable[[], float]
    mailbox_messages: Callable[[], float]
    timers_pending: Callable[[], float]
    turns_open: Callable[[], float]
    turns_waiting: Callable[[], float]
    inbox_deliveries: Callable[[], float]
    inbox_bytes: Callable[[], float]
    customers_crowded: Callable[[], float]
    links_waiting: Callable[[], float]
    memory_bound_bytes: Callable[[], float]
    memory_short: Callable[[], float]
    tasks: Callable[[], float]
    conservation_remainder_messages: Callable[[], float]
    gaps_unresolved: Callable[[], float]
    gap_oldest_unresolved: Callable[[], float]
    """Seconds since the epoch; 0: there is none."""
    unsent: Callable[[], Sequence[Part]]
    """Parts of replies that have not come to their end."""
    lines_stopped: Callable[[], float]
    store_pool_in_use: Callable[[], float]
    store_pool_idle: Callable[[], float]
    store_pool_max: Callable[[], float]


class Instruments:
    """Every metric of `CONTRACT` in `registry`, ready to be counted; children are looked up once.

    The process's own metrics (`process_*`: memory, CPU, file descriptors) and `build_info` are
    registered with them.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        made = _Maker(self.registry)
        self._requests(made)
        self._customers(made)
        self._machinery(made)
        self._answers(made)
        self.event_loop_lag_seconds = made.histogram("event_loop_lag_seconds")
        self.event_loop_blocked = made.counter("event_loop_blocked_total")
        self.memory_bound_bytes = made.gauge("memory_bound_bytes")
        self.memory_short = made.gauge("memory_short")
        self.inbox_deliveries = made.gauge("inbox_deliveries")
        self.inbox_bytes = made.gauge("inbox_bytes")
        self.customers_crowded = made.gauge("customers_crowded")
        self.tasks = made.gauge("tasks")
        self.log_events = made.counters("log_events_total")
        self.log_lines_lost = made.counter("log_lines_lost_total")
        build = Info(f"{PREFIX}build", "What is running.", registry=self.registry)
        build.info({"version": relevo.__version__, "python": platform.python_version()})
        ProcessCollector(registry=self.registry)

    def attach(self, gauges: Gauges) -> None:
        """Read these callables at every scrape from now on."""
        self.actors_resident.set_function(gauges.actors_resident)
        self.mailbox_messages.set_function(gauges.mailbox_messages)
        self.timers_pending.set_function(gauges.timers_pending)
        self.turns_open.set_function(gauges.turns_open)
        self.turns_waiting.set_function(gauges.turns_waiting)
        self.inbox_deliveries.set_function(gauges.inbox_deliveries)
        self.inbox_bytes.set_function(gauges.inbox_bytes)
        self.customers_crowded.set_function(gauges.customers_crowded)
        self.links_waiting.set_function(gauges.links_waiting)
        self.memory_bound_bytes.set_function(gauges.memory_bound_bytes)
        self.memory_short.set_function(gauges.memory_short)
        self.tasks.set_function(gauges.tasks)
        self.conservation_remainder_messages.set_function(gauges.conservation_remainder_messages)
        self.gaps_unresolved.set_function(gauges.gaps_unresolved)
        self.gap_oldest_unresolved.set_function(gauges.gap_oldest_unresolved)
        for state, gauge in self.outbox_messages.items():
            gauge.set_function(_counting(gauges.unsent, state))
        self.outbox_oldest_pending.set_function(lambda: _oldest(gauges.unsent()))
        self.lines_stopped.set_function(gauges.lines_stopped)
        self.store_pool_connections["in_use"].set_function(gauges.store_pool_in_use)
        self.store_pool_connections["idle"].set_function(gauges.store_pool_idle)
        self.store_pool_connections_max.set_function(gauges.store_pool_max)

    def _requests(self, made: "_Maker") -> None:
        self.webhook_requests = made.counters("webhook_requests_total")
        self.webhook_ack_seconds = made.histogram("webhook_ack_seconds")
        self.api_requests = made.counters("api_requests_total")
        self.api_request_seconds = made.histogram("api_request_seconds")
        self.messages_received = made.crossed("messages_received_total")
        self.messages_deduplicated = made.counters("messages_deduplicated_total")
        self.statuses_received = made.counter("statuses_received_total")
        self.early_statuses = made.counters("early_statuses_total")
        self.scheduled_sends = made.counters("scheduled_sends_total")
        self.changes = made.crossed("changes_total")
        self.messages_failed = made.counters("messages_failed_total")
        self.quarantined = made.counters("quarantined_total")
        self.webhook_delivery_delay_seconds = made.histogram("webhook_delivery_delay_seconds")
        self.clock_skew = made.counter("clock_skew_total")

    def _customers(self, made: "_Maker") -> None:
        self.identity_resolutions = made.counters("identity_resolutions_total")
        self.links_waiting = made.gauge("links_waiting")
        self.gap_checks = made.counters("gap_checks_total")
        self.customer_silence_seconds = made.histogram("customer_silence_seconds")
        self.gap_history_fetches = made.counters("gap_history_fetches_total")
        self.gap_history_fetch_seconds = made.histogram("gap_history_fetch_seconds")
        self.gap_messages_recovered = made.counters("gap_messages_recovered_total")
        self.gap_missing_messages = made.histogram("gap_missing_messages")
        self.gap_missed_left_out = made.counter("gap_missed_left_out_total")
        self.gap_matched_by_content = made.counter("gap_matched_by_content_total")
        self.gap_messages_undated = made.counter("gap_messages_undated_total")
        self.gaps_unresolved = made.gauge("gaps_unresolved")
        self.gap_oldest_unresolved = made.gauge("gap_oldest_unresolved_timestamp_seconds")
        self.burst_messages = made.histogram("burst_messages")
        self.buffer_hold_seconds = made.histogram("buffer_hold_seconds")
        self.turns_open = made.gauge("turns_open")
        self.turns_waiting = made.gauge("turns_waiting")
        self.turns = made.counters("turns_total")
        self.reply_latency_seconds = made.histogram("reply_latency_seconds")

    def _machinery(self, made: "_Maker") -> None:
        self.actors_resident = made.gauge("actors_resident")
        self.actor_lifecycle = made.counters("actor_lifecycle_total")
        self.mailbox_messages = made.gauge("mailbox_messages")
        self.mailbox_wait_seconds = made.histogram("mailbox_wait_seconds")
        self.timers_pending = made.gauge("timers_pending")
        self.timer_lateness_seconds = made.histogram("timer_lateness_seconds")
        self.commits = made.counters("commits_total")
        self.commit_group_size = made.histogram("commit_group_size")
        self.store_operation_seconds = made.histograms("store_operation_seconds")
        self.store_pool_connections = made.gauges("store_pool_connections")
        self.store_pool_connections_max = made.gauge("store_pool_connections_max")

    def _answers(self, made: "_Maker") -> None:
        self.assistant_requests = made.counters("assistant_requests_total")
        self.assistant_request_seconds = made.histogram("assistant_request_seconds")
        self.assistant_conversations = made.counters("assistant_conversations_total")
        self.assistant_reconciliations = made.counters("assistant_reconciliations_total")
        self.assistant_tokens = made.counters("assistant_tokens_total")
        self.assistant_in_flight = made.gauge("assistant_in_flight")
        self.assistant_circuits_open = made.gauges("assistant_circuits_open")
        self.assistant_brakes = made.counter("assistant_brakes_total")
        self.assistant_rejections = made.counters("assistant_rejections_total")
        self.assistant_clients_renewed = made.counter("assistant_clients_renewed_total")
        self.conversation_rotated = made.counters("conversation_rotated_total")
        self.sends = made.crossed("sends_total")
        self.send_seconds = made.histogram("send_seconds")
        self.outbox_messages = made.gauges("outbox_messages")
        self.outbox_oldest_pending = made.gauge("outbox_oldest_pending_timestamp_seconds")
        self.lines_stopped = made.gauge("lines_stopped")
        self.outbox_in_doubt = made.counter("outbox_in_doubt_total")
        self.sends_after_colleague = made.counter("sends_after_colleague_total")
        self.dead_letters = made.counters("dead_letters_total")
        self.conservation_remainder_messages = made.gauge("conservation_remainder_messages")


def _counting(unsent: Callable[[], Sequence[Part]], state: str) -> Callable[[], float]:
    return lambda: sum(part.state == state for part in unsent())


def _oldest(parts: Sequence[Part]) -> float:
    return min((part.created_at.timestamp() for part in parts), default=0)


M = TypeVar("M", bound=MetricWrapperBase)


class _Maker:
    """Makes metrics and all their children from the rows of the contract."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._rows = {row.name: row for row in CONTRACT}

    def counter(self, name: str) -> Counter:
        return Counter(*self._described(name), registry=self._registry)

    def gauge(self, name: str) -> Gauge:
        return Gauge(*self._described(name), registry=self._registry)

    def histogram(self, name: str) -> Histogram:
        buckets = self._rows[name].buckets
        return Histogram(*self._described(name), registry=self._registry, buckets=buckets)

    def counters(self, name: str) -> Family[Counter]:
        return self._children(name, self.counter(name))

    def gauges(self, name: str) -> Family[Gauge]:
        return self._children(name, self.gauge(name))

    def histograms(self, name: str) -> Family[Histogram]:
        return self._children(name, self.histogram(name))

    def crossed(self, name: str) -> Family[Family[Counter]]:
        """Make a counter with two labels; the first is looked up first."""
        parent = self.counter(name)
        outer, inner = self._rows[name].labels.values()
        return Family(
            {one: Family({other: parent.labels(one, other) for other in inner}) for one in outer}
        )

    def _described(self, name: str) -> tuple[str, str, tuple[str, ...]]:
        row = self._rows[name]
        return PREFIX + name, row.meaning, tuple(row.labels)

    def _children(self, name: str, parent: M) -> Family[M]:
        (values,) = self._rows[name].labels.values()
        return Family({value: parent.labels(value) for value in values})
