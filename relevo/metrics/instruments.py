"""The contract with dashboards and alerts: every metric, in one table.

`CONTRACT` is that table; help texts, code and docs/metrics.md are made from it. Its rules:

* Names carry the prefix `relevo_`, base units, and `_total` where they only grow.
* Label values are the closed tuples below. All children exist from the start, with value 0, and a
  word nobody foresaw is counted as `other`. Never a label: phones, ids, URLs, texts of exceptions.
* Histograms are classic ones, and never observe less than 0 (Prometheus reads that as a reset).
  Every threshold of `SLO_THRESHOLDS` is a bucket: a query for a missing `le` answers nothing.
* Gauges with a callable are read on the scraping thread: it must be cheap and take no lock.
"""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

import relevo
from relevo.events import AnswerFailure, SendFailure
from relevo.messages import Author
from relevo.turns import Outcome, Stage, Verdict

PREFIX = "relevo_"
OTHER = "other"

WEBHOOK_OUTCOMES = (
    *("accepted", "duplicate", "malformed", "unauthorized", "unknown_channel", "too_large"),
    *("overloaded", "unavailable", "error", OTHER),
)
MESSAGE_KINDS = ("text", "media", "interactive", OTHER)
DUPLICATE_SOURCES = ("webhook", "history")
QUARANTINE_REASONS = (
    *("not_json", "not_an_object", "no_events", "too_many_events", "unknown_event", "wrong_type"),
    *("no_id", "no_address", "refused_by_store", OTHER),
)
FETCH_OUTCOMES = (
    *("ok", "empty", "truncated", "rate_limited", "timeout", "error", "unavailable"),
    *("cancelled", OTHER),
)
LIFECYCLE_EVENTS = ("activated", "passivated", "restarted", "set_aside")
COMMIT_RESULTS = ("committed", "lost")
STORE_OPERATIONS = ("ingest", "load", "commit", "window", "sweep", OTHER)
POOL_STATES = ("in_use", "idle")
ASSISTANT_OUTCOMES = ("ok", "silent", *AnswerFailure, "cancelled", OTHER)
TOKEN_TYPES = ("input", "cached_input", "output", "reasoning")
ROTATION_REASONS = ("invalid", "missing", "context", "interrupted", "discarded", OTHER)
PROVIDERS = ("wati", "sandbox", OTHER)
SEND_OUTCOMES = ("accepted", *SendFailure, "cancelled", OTHER)
DEAD_LETTER_STAGES = (*(stage for stage in Stage if stage is not Stage.ENDED), OTHER)
LOG_LEVELS = ("debug", "info", "warning", "error", "critical", OTHER)

CALLS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
WAITS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ANSWERS = (0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 90, 120)
REPLIES = (0.5, 1, 2.5, 5, 10, 15, 20, 30, 40, 55, 60, 90, 120, 180, 300)
DELAYS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21_600, 86_400, 604_800)
SILENCES = (
    *(1, 5, 15, 35, 60, 120, 300, 600, 1800, 3600, 14_400),
    *(43_200, 86_400, 259_200, 604_800, 1_209_600, 2_592_000),
)
SIZES = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)

SLO_THRESHOLDS: Mapping[str, tuple[float, ...]] = {
    "webhook_ack_seconds": (0.25, 1),
    "reply_latency_seconds": (55, 300),
    "event_loop_lag_seconds": (0.25,),
    "mailbox_wait_seconds": (0.1, 1),
}
"""Seconds that objectives and alerts ask about; 55 is the default quiet time plus 20."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: its name without the prefix, what it tells, its labels and its buckets."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: Mapping[str, tuple[str, ...]]
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> int:
        """Return how many time series it exports."""
        children = prod(len(values) for values in self.labels.values())
        return children * (len(self.buckets) + 3 if self.type == "histogram" else 1)


def _counter(name: str, meaning: str, **labels: tuple[str, ...]) -> Row:
    return Row(name, "counter", meaning, labels)


def _gauge(name: str, meaning: str, **labels: tuple[str, ...]) -> Row:
    return Row(name, "gauge", meaning, labels)


def _histogram(
    name: str, meaning: str, buckets: tuple[float, ...], **labels: tuple[str, ...]
) -> Row:
    return Row(name, "histogram", meaning, labels, buckets)


# A table: a metric takes a line or two.
# fmt: off
CONTRACT: tuple[Row, ...] = (
    _counter("webhook_requests_total", "Webhook requests, counted when answered.",
        outcome=WEBHOOK_OUTCOMES),
    _histogram("webhook_ack_seconds", "Headers read to 200; only requests answered 200.", CALLS),
    _counter("messages_received_total", "New messages that webhooks brought, stored.",
        author=tuple(Author), kind=MESSAGE_KINDS),
    _counter("messages_deduplicated_total", "Messages dropped because they were stored already.",
        source=DUPLICATE_SOURCES),
    _counter("statuses_received_total", "Statuses of our own messages, received."),
    _counter("quarantined_total", "Bodies, or parts of one, kept raw for want of a reading.",
        reason=QUARANTINE_REASONS),
    _histogram("webhook_delivery_delay_seconds", "Provider's timestamp to arrival.", DELAYS),
    _counter("clock_skew_total", "Durations below 0, observed as 0: two clocks disagree."),
    _counter("gap_checks_total", "Silences judged, one a turn, when its burst closed.",
        result=tuple(Verdict)),
    _histogram("customer_silence_seconds", "Time since the customer's last message, one a turn.",
        SILENCES),
    _counter("gap_history_fetches_total", "Questions to a provider's history.",
        outcome=FETCH_OUTCOMES),
    _histogram("gap_history_fetch_seconds", "Duration of one such question.", CALLS),
    _counter("gap_messages_recovered_total", "Messages that only the history brought.",
        author=tuple(Author)),
    _histogram("gap_missing_messages",
        "Messages that only the history brought, one observation a turn that recalled.",
        (0, *SIZES)),
    _counter("gap_missed_left_out_total", "Missed messages not told to the AI: over the budget."),
    _counter("gap_matched_by_content_total",
        "History items that were known to be a stored message by content, not by id."),
    _gauge("actors_resident", "Customers' actors in memory."),
    _counter("actor_lifecycle_total", "What became of actors.", event=LIFECYCLE_EVENTS),
    _gauge("mailbox_messages", "Messages in all mailboxes."),
    _histogram("mailbox_wait_seconds", "Put into a mailbox to taken out.", WAITS),
    _gauge("timers_pending", "Deadlines that are armed."),
    _histogram("timer_lateness_seconds", "Deadline to its being handled.", WAITS),
    _counter("commits_total", "Steps of actors, by the result of their commit.",
        result=COMMIT_RESULTS),
    _histogram("commit_group_size", "Steps of different customers in one transaction.", SIZES),
    _histogram("store_operation_seconds",
        "Work of the store, done or failed, waiting for a connection included; a batch is one.",
        CALLS, operation=STORE_OPERATIONS),
    _gauge("store_pool_connections", "Open connections to the database.", state=POOL_STATES),
    _gauge("store_pool_connections_max", "Connections that may be open."),
    _histogram("burst_messages", "Customer messages in a closed burst.", SIZES),
    _histogram("buffer_hold_seconds",
        "First message of a burst (provider's time) to its close.", REPLIES),
    _gauge("turns_open", "Turns without an outcome."),
    _counter("turns_total", "Turns ended.", outcome=tuple(Outcome)),
    _histogram("reply_latency_seconds",
        "Newest message of a burst received to its turn ended as answered.", REPLIES),
    _counter("assistant_requests_total", "Questions to the AI.", outcome=ASSISTANT_OUTCOMES),
    _histogram("assistant_request_seconds", "Duration of one such question.", ANSWERS),
    _counter("assistant_conversations_total", "Conversations asked of the AI.",
        outcome=ASSISTANT_OUTCOMES),
    _counter("assistant_tokens_total", "Tokens of ended turns, as billed.", type=TOKEN_TYPES),
    _gauge("assistant_in_flight", "Calls to the AI under way."),
    _counter("conversation_rotated_total", "AI conversations given up for a new one.",
        reason=ROTATION_REASONS),
    _counter("sends_total", "Attempts to send one part of a reply.", provider=PROVIDERS,
        outcome=SEND_OUTCOMES),
    _histogram("send_seconds", "Duration of one such attempt.", CALLS),
    _counter("outbox_in_doubt_total", "Sends of which it was unknown whether they arrived."),
    _counter("sends_after_colleague_total",
        "Turns answered although a colleague wrote: known only when the reply had left."),
    _counter("dead_letters_total", "Turns given up, by the stage that failed.",
        stage=DEAD_LETTER_STAGES),
    _gauge("conservation_remainder_messages", "Customer messages without exactly one fate."),
    _histogram("event_loop_lag_seconds", "How late the event loop runs, sampled.", WAITS),
    _gauge("tasks", "Tasks of the event loop that are ours."),
    _counter("log_events_total", "Lines logged.", level=LOG_LEVELS),
    _counter("log_lines_lost_total", "Log lines that could not be written."),
)
# fmt: on

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
    tasks: Callable[[], float]
    conservation_remainder_messages: Callable[[], float]
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
        self.webhook_requests = made.counters("webhook_requests_total")
        self.webhook_ack_seconds = made.histogram("webhook_ack_seconds")
        self.messages_received = made.crossed("messages_received_total")
        self.messages_deduplicated = made.counters("messages_deduplicated_total")
        self.statuses_received = made.counter("statuses_received_total")
        self.quarantined = made.counters("quarantined_total")
        self.webhook_delivery_delay_seconds = made.histogram("webhook_delivery_delay_seconds")
        self.clock_skew = made.counter("clock_skew_total")
        self._customers(made)
        self._machinery(made)
        self._answers(made)
        self.event_loop_lag_seconds = made.histogram("event_loop_lag_seconds")
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
        self.tasks.set_function(gauges.tasks)
        self.conservation_remainder_messages.set_function(gauges.conservation_remainder_messages)
        self.store_pool_connections["in_use"].set_function(gauges.store_pool_in_use)
        self.store_pool_connections["idle"].set_function(gauges.store_pool_idle)
        self.store_pool_connections_max.set_function(gauges.store_pool_max)

    def _customers(self, made: "_Maker") -> None:
        self.gap_checks = made.counters("gap_checks_total")
        self.customer_silence_seconds = made.histogram("customer_silence_seconds")
        self.gap_history_fetches = made.counters("gap_history_fetches_total")
        self.gap_history_fetch_seconds = made.histogram("gap_history_fetch_seconds")
        self.gap_messages_recovered = made.counters("gap_messages_recovered_total")
        self.gap_missing_messages = made.histogram("gap_missing_messages")
        self.gap_missed_left_out = made.counter("gap_missed_left_out_total")
        self.gap_matched_by_content = made.counter("gap_matched_by_content_total")
        self.burst_messages = made.histogram("burst_messages")
        self.buffer_hold_seconds = made.histogram("buffer_hold_seconds")
        self.turns_open = made.gauge("turns_open")
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
        self.assistant_tokens = made.counters("assistant_tokens_total")
        self.assistant_in_flight = made.gauge("assistant_in_flight")
        self.conversation_rotated = made.counters("conversation_rotated_total")
        self.sends = made.crossed("sends_total")
        self.send_seconds = made.histogram("send_seconds")
        self.outbox_in_doubt = made.counter("outbox_in_doubt_total")
        self.sends_after_colleague = made.counter("sends_after_colleague_total")
        self.dead_letters = made.counters("dead_letters_total")
        self.conservation_remainder_messages = made.gauge("conservation_remainder_messages")


def table() -> str:
    """Return the contract as a Markdown table: docs/metrics.md from its first row on."""
    lines = ["| metric | type | labels | series | meaning |", "| --- | --- | --- | --- | --- |"]
    for row in CONTRACT:
        labels = "; ".join(f"`{name}`: {', '.join(row.labels[name])}" for name in row.labels)
        buckets = f" Buckets: {', '.join(f'{b:g}' for b in row.buckets)}." if row.buckets else ""
        cells = (f"`{PREFIX}{row.name}`", row.type, labels, str(row.series), row.meaning + buckets)
        lines.append(f"| {' | '.join(cells)} |")
    lines.append(f"| together | | | {sum(row.series for row in CONTRACT)} | |")
    return "\n".join(lines) + "\n"


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
