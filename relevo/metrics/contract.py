"""The contract with dashboards and alerts: every metric, in one table.

`CONTRACT` is that table; help texts, code and docs/metrics.md are made from it. Its rules:

* Names carry the prefix `relevo_`, base units, and `_total` where they only grow.
* Label values are the closed tuples below. All children exist from the start, with value 0, and a
  word nobody foresaw is counted as `other`. Never a label: phones, ids, URLs, texts of exceptions.
* Histograms are classic ones, and never observe less than 0 (Prometheus reads that as a reset).
  Every threshold of `SLO_THRESHOLDS` is a bucket: a query for a missing `le` answers nothing.
* Gauges with a callable are read on the scraping thread: it must be cheap and take no lock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from relevo.events import AnswerFailure, Finding, SendFailure
from relevo.messages import Author
from relevo.turns import PARTS_TERMINAL, Outcome, PartState, Stage, Verdict

PREFIX = "relevo_"
OTHER = "other"

API_OUTCOMES = (
    *("answered", "repeated", "unreadable", "unauthorized", "forbidden", "not_found"),
    *("method_not_allowed", "too_slow", "conflict", "too_large", "not_json", "invalid"),
    *("key_reused", "too_many_requests", "error", "unavailable", OTHER),
)
WEBHOOK_OUTCOMES = (
    *("accepted", "duplicate", "malformed", "unauthorized", "unknown_channel", "too_large"),
    *("too_slow", "overloaded", "crowded", "unavailable", "error", OTHER),
)
MESSAGE_KINDS = ("text", "media", "interactive", OTHER)
DUPLICATE_SOURCES = ("webhook", "history")
QUARANTINE_REASONS = (
    *("not_json", "not_form", "not_an_object", "no_events", "too_many_events", "unknown_event"),
    *("wrong_type", "no_id", "no_address", "no_text", "not_rendered", "other_instance"),
    *("group", "number_changed", "history", "other_line", "refused_by_store"),
    OTHER,
)
CHANGES = ("edit", "revocation", OTHER)
CHANGE_OUTCOMES = (
    *("applied", "context", "ignored", "early", "settled", "forgotten", "dropped"),
    OTHER,
)
IDENTITY_OUTCOMES = (
    *("hit", "created", "merged", "led", "needless", "nobody", "conflict", "undone", "error"),
    OTHER,
)
EARLY_STATUS_OUTCOMES = ("settled", "forgotten", "dropped", OTHER)
SCHEDULED_OUTCOMES = ("queued", "too_late", "nowhere", OTHER)
FAILED_REASONS = (
    *("window_closed", "undeliverable", "spam_limit", "marketing_limit", "not_allowed"),
    *("bsuid_not_taken", "bad_request", "pair_rate", "line_rate", "account_rate", "unauthorized"),
    *("no_permission", "account_blocked", "account_payment", "line_unregistered"),
    *("meta_unavailable", "meta_maintenance", "unclassified", OTHER),
)
FETCH_OUTCOMES = (
    *("ok", "empty", "truncated", "rate_limited", "timeout", "error", "unavailable"),
    *("cancelled", OTHER),
)
LIFECYCLE_EVENTS = ("activated", "passivated", "restarted", "set_aside")
COMMIT_RESULTS = ("committed", "lost")
STORE_OPERATIONS = ("ingest", "load", "commit", "window", "sweep", "schedule", "merge", OTHER)
POOL_STATES = ("in_use", "idle")
ASSISTANT_OUTCOMES = ("ok", "silent", *AnswerFailure, "cancelled", OTHER)
RECONCILIATION_RESULTS = ("ok", "silent", *Finding, *AnswerFailure, "cancelled", OTHER)
TOKEN_TYPES = ("input", "cached_input", "output", "reasoning")
ROTATION_REASONS = (
    *("invalid", "missing", "context", "tool_call", "duplicate", "orphan", "locked"),
    *("interrupted", "discarded", OTHER),
)
CIRCUIT_REASONS = (
    *("insufficient_quota", "billing", "invalid_api_key", "http_401", "http_402", "http_403"),
    OTHER,
)
REJECTION_REASONS = (
    *("http_400", "http_404", "http_422", "model_not_found", "unknown_parameter"),
    *("unsupported_parameter", "max_output_tokens", "incomplete", "failed", OTHER),
)
PROVIDERS = ("wati", "cloud_api", "360dialog", "manychat", "evolution", "twilio", "sandbox", OTHER)
PARTS_OPEN = tuple(state for state in PartState if state not in PARTS_TERMINAL)
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
    _counter("api_requests_total", "Requests of the API, counted when answered.",
        outcome=API_OUTCOMES),
    _histogram("api_request_seconds", "Head read to answered; only requests that were done.",
        CALLS),
    _counter("messages_received_total", "New messages that webhooks brought, stored.",
        author=tuple(Author), kind=MESSAGE_KINDS),
    _counter("messages_deduplicated_total", "Messages dropped because they were stored already.",
        source=DUPLICATE_SOURCES),
    _counter("statuses_received_total", "Statuses of our own messages, received."),
    _counter("identity_resolutions_total",
        "Messages by how their customer was found, links of addresses by what came of them.",
        outcome=IDENTITY_OUTCOMES),
    _gauge("links_waiting", "Links between addresses that the last round had to postpone."),
    _counter("early_statuses_total",
        "Statuses that came before their message, one for each id, by what became of them.",
        outcome=EARLY_STATUS_OUTCOMES),
    _counter("scheduled_sends_total",
        "Sends whose time has come: queued to be sent, or refused by that reason.",
        outcome=SCHEDULED_OUTCOMES),
    _counter("changes_total",
        "Edits and revocations of messages, by what became of them: `context` is told as an edit, "
        "`early` came before its message and is counted again when it has gone.",
        kind=CHANGES, outcome=CHANGE_OUTCOMES),
    _counter("messages_failed_total",
        "Messages that a provider took and then did not deliver, by why; counted at each telling.",
        reason=FAILED_REASONS),
    _counter("quarantined_total", "Bodies, or parts of one, kept raw for want of a reading.",
        reason=QUARANTINE_REASONS),
    _gauge("inbox_deliveries", "Deliveries that wait to be written."),
    _gauge("inbox_bytes", "Bodies of these."),
    _gauge("customers_crowded",
        "Customers with too much unread, whose webhooks are answered 503 meanwhile."),
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
    _counter("gap_messages_undated_total",
        "History items without a readable time: stored, and never told as missed."),
    _gauge("gaps_unresolved",
        "Customers whose last needed recall did not complete; as of the last audit."),
    _gauge("gap_oldest_unresolved_timestamp_seconds",
        "When the oldest of these was found; 0: there is none. As of the last audit."),
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
    _gauge("turns_waiting",
        "Customers whose burst has ended and who wait for a place at the AI."),
    _counter("turns_total", "Turns ended.", outcome=tuple(Outcome)),
    _histogram("reply_latency_seconds",
        "Newest message of a burst received to its turn ended as answered.", REPLIES),
    _counter("assistant_requests_total", "Questions to the AI.", outcome=ASSISTANT_OUTCOMES),
    _histogram("assistant_request_seconds", "Duration of one such question.", ANSWERS),
    _counter("assistant_conversations_total", "Conversations asked of the AI.",
        outcome=ASSISTANT_OUTCOMES),
    _counter("assistant_reconciliations_total",
        "Looks for the answer of an AI call that never came back.", result=RECONCILIATION_RESULTS),
    _counter("assistant_tokens_total", "Tokens of ended turns, as billed.", type=TOKEN_TYPES),
    _gauge("assistant_in_flight", "Calls to the AI under way."),
    _gauge("assistant_circuits_open",
        "Businesses whose AI is left alone until a person acts, by what has to be mended.",
        reason=CIRCUIT_REASONS),
    _counter("assistant_brakes_total", "Rate limits of the AI that stopped all who use its key."),
    _counter("assistant_rejections_total",
        "Questions that the AI will never take as they are: configuration, or a bug.",
        reason=REJECTION_REASONS),
    _counter("assistant_clients_renewed_total",
        "Clients of the AI made anew, because many calls in a row were lost."),
    _counter("conversation_rotated_total", "AI conversations given up for a new one.",
        reason=ROTATION_REASONS),
    _counter("sends_total", "Attempts to send one part of a reply.", provider=PROVIDERS,
        outcome=SEND_OUTCOMES),
    _histogram("send_seconds", "Duration of one such attempt.", CALLS),
    _gauge("outbox_messages", "Parts of replies in this process that have not come to an end.",
        state=PARTS_OPEN),
    _gauge("outbox_oldest_pending_timestamp_seconds",
        "When the oldest of these was made; 0: there is none."),
    _gauge("lines_stopped",
        "Lines whose provider lets them send nothing (token, account): a person has to act."),
    _counter("outbox_in_doubt_total", "Sends of which it was unknown whether they arrived."),
    _counter("sends_after_colleague_total",
        "Turns answered although a colleague wrote: known only when the reply had left."),
    _counter("dead_letters_total", "Turns given up, by the stage that failed.",
        stage=DEAD_LETTER_STAGES),
    _gauge("conservation_remainder_messages", "Customer messages without exactly one fate."),
    _histogram("event_loop_lag_seconds", "How late the event loop runs, sampled.", WAITS),
    _counter("event_loop_blocked_total",
        "Times that the event loop stood still for more than 2 s."),
    _gauge("memory_bound_bytes",
        "Resident memory above which webhooks are answered 503; 0: no bound."),
    _gauge("memory_short", "1 while the resident memory is above its bound."),
    _gauge("tasks", "Tasks of the event loop that are ours."),
    _counter("log_events_total", "Lines logged.", level=LOG_LEVELS),
    _counter("log_lines_lost_total", "Log lines that could not be written."),
)
# fmt: on


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
