"""The probe: what actors, webhooks and store tell of themselves, as metrics and one log line.

It observes and never changes anything, it waits for nothing, and it belongs to the loop's thread.
It satisfies the probes that its callers declare without knowing them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import assert_never

from prometheus_client import Histogram
from structlog.typing import FilteringBoundLogger

from relevo.effects import Ask, Effect, EnsureConversation, Recall, Reconcile, Send, WakeAt
from relevo.events import AnswerFailure
from relevo.messages import InboundMessage
from relevo.metrics.contract import OTHER
from relevo.metrics.instruments import Instruments
from relevo.metrics.logs import turn_fields
from relevo.turns import Cost, Outcome, PartState, RecallStatus, Turn
from relevo.writes import Writes

ACKNOWLEDGED = frozenset({"accepted", "duplicate", "malformed"})
"""Outcomes of a webhook that are answered 200; only these have a time to acknowledge."""

MEDIA = ("image", "video", "audio", "voice", "document", "sticker", "media_placeholder")
INTERACTIVE = ("button", "interactive", "order", "catalog")
KINDS: Mapping[str, str] = {
    "text": "text",
    **dict.fromkeys(MEDIA, "media"),
    **dict.fromkeys(INTERACTIVE, "interactive"),
}
"""Providers' kinds of messages by the few that are told apart here; the rest is `other`."""

FETCH_WORDS: Mapping[str, str] = {
    "complete": "ok",
    "pages": "truncated",
    "http_429": "rate_limited",
    **dict.fromkeys(("failed", "unreadable", "unreachable"), "error"),
}
"""What statuses and reasons of a `History` are called here; `http_…` is an error."""

UNUSABLE_WORDS: Mapping[str, str] = {
    "conversation_invalid": "invalid",
    "conversation_missing": "missing",
    "context_length": "context",
    "tool_call_open": "tool_call",
    "item_duplicate": "duplicate",
    "item_orphaned": "orphan",
}
"""Reasons of an unusable AI conversation, by why it is given up."""

LOCKED = "locked"
INTERRUPTED = "interrupted"
DISCARDED = "discarded"
HISTORY_READ = frozenset({RecallStatus.COMPLETE, RecallStatus.TRUNCATED})


class MeteringProbe:
    """Counts into `instruments`, writes the event `turn` to `log`.

    `providers` names the kind of provider of every configured channel, by channel id.
    """

    def __init__(
        self, instruments: Instruments, log: FilteringBoundLogger, providers: Mapping[str, str]
    ) -> None:
        self._instruments = instruments
        self._log = log
        self._providers = providers
        self._committed = instruments.commits["committed"]
        self._lost = instruments.commits["lost"]
        self._asked: dict[int, str] = {}
        """Open turns that asked in an AI conversation, with why it would be given up now."""

    def committing(self, writes: Writes) -> None:
        """Observe nothing: a step counts when it is committed."""

    def committed(self, writes: Writes) -> None:
        """Count a step and what it tells of its turn."""
        self._committed.inc()
        if writes.turn is not None:
            self._turn_committed(writes, writes.turn)
        if writes.matched:
            self._instruments.messages_deduplicated["history"].inc(writes.matched)
        for message in writes.recalled:
            self._instruments.gap_messages_recovered[message.author].inc()
            if not message.timed:
                self._instruments.gap_messages_undated.inc()
        for part in writes.parts:
            if part.state is PartState.UNKNOWN:
                self._instruments.outbox_in_doubt.inc()
        if writes.dead_letter is not None:
            self._instruments.dead_letters[writes.dead_letter.stage].inc()

    def commit_lost(self) -> None:
        """Count a commit that lost its race."""
        self._lost.inc()

    def effect_starting(self, effect: Effect) -> None:
        """Count a call to the AI as under way, until `effect_finished`."""
        if isinstance(effect, Ask | EnsureConversation):
            self._instruments.assistant_in_flight.inc()
        if isinstance(effect, Ask) and effect.ai_conversation is not None:
            self._asked[effect.turn.id] = INTERRUPTED

    def effect_finished(self, effect: Effect, seconds: float, outcome: str) -> None:
        """Count and time an effect. Every one that was starting must come by here, stopped or not.

        Outcomes are the words of the contract: FETCH_OUTCOMES (or FETCH_WORDS) for a recall,
        ASSISTANT_OUTCOMES (or UNUSABLE_WORDS) for the AI, SEND_OUTCOMES for a send. Any other word
        counts as `other`.
        """
        count = self._instruments
        match effect:
            case Recall():
                count.gap_history_fetches[_fetch_word(outcome)].inc()
                self._observe(count.gap_history_fetch_seconds, seconds)
            case Ask():
                count.assistant_in_flight.dec()
                count.assistant_requests[_assistant_word(outcome)].inc()
                self._observe(count.assistant_request_seconds, seconds)
                self._came_back(effect.turn.id, outcome)
            case Reconcile():
                count.assistant_reconciliations[outcome].inc()
            case EnsureConversation():
                count.assistant_in_flight.dec()
                count.assistant_conversations[_assistant_word(outcome)].inc()
            case Send():
                count.sends[self._providers.get(effect.channel_id, OTHER)][outcome].inc()
                self._observe(count.send_seconds, seconds)
            case WakeAt():
                pass
            case _:
                assert_never(effect)

    def turn_ended(self, business_id: str, conversation_id: int, turn: Turn) -> None:
        """Count a turn's outcome and evidence, and log the event `turn`."""
        assert turn.outcome is not None
        assert turn.ended_at is not None
        count = self._instruments
        count.turns[turn.outcome].inc()
        if turn.outcome is Outcome.ANSWERED:
            self._observe(count.reply_latency_seconds, _seconds(turn.newest_at, turn.ended_at))
        if turn.recall in HISTORY_READ:
            count.gap_missing_messages.observe(turn.recalled)
        count.gap_missed_left_out.inc(turn.missed_left_out)
        count.gap_matched_by_content.inc(turn.matched_by_content)
        self._paid(turn.cost)
        self._asked.pop(turn.id, None)
        self._log.info("turn", **turn_fields(business_id, conversation_id, turn))

    def activated(self) -> None:
        """Count an actor that came to memory."""
        self._instruments.actor_lifecycle["activated"].inc()

    def passivated(self) -> None:
        """Count an actor that left memory."""
        self._instruments.actor_lifecycle["passivated"].inc()

    def restarted(self) -> None:
        """Count an actor that was made again from its rows."""
        self._instruments.actor_lifecycle["restarted"].inc()

    def set_aside(self) -> None:
        """Count an actor that was given up."""
        self._instruments.actor_lifecycle["set_aside"].inc()

    def mailbox_waited(self, seconds: float) -> None:
        """Observe how long a message lay in a mailbox."""
        self._observe(self._instruments.mailbox_wait_seconds, seconds)

    def timer_fired(self, lateness_seconds: float) -> None:
        """Observe how late a deadline was met."""
        self._observe(self._instruments.timer_lateness_seconds, lateness_seconds)

    def webhook(self, outcome: str, seconds: float) -> None:
        """Count an answered webhook request; time it if the answer was 200."""
        self._instruments.webhook_requests[outcome].inc()
        if outcome in ACKNOWLEDGED:
            self._observe(self._instruments.webhook_ack_seconds, seconds)

    def api_request(self, outcome: str, seconds: float) -> None:
        """Count an answered request of the API; time it if it was done."""
        self._instruments.api_requests[outcome].inc()
        if outcome == "answered":
            self._observe(self._instruments.api_request_seconds, seconds)

    def api_failed(self, error: BaseException) -> None:
        """Log a request that failed: a bug, told by its type and place."""
        self._log.error("api_failed", exc_info=error)

    def received(self, message: InboundMessage, delay_seconds: float | None) -> None:
        """Count a new message; `delay_seconds` is None where the provider has no clock."""
        kind = KINDS.get(message.kind, OTHER)
        self._instruments.messages_received[message.author][kind].inc()
        if delay_seconds is not None:
            self._observe(self._instruments.webhook_delivery_delay_seconds, delay_seconds)

    def duplicates(self, count: int) -> None:
        """Count messages of webhooks that were stored already."""
        self._instruments.messages_deduplicated["webhook"].inc(count)

    def statuses(self, count: int) -> None:
        """Count statuses of our own messages."""
        self._instruments.statuses_received.inc(count)

    def failed(self, reason: str) -> None:
        """Count a message that a provider took and then did not deliver."""
        self._instruments.messages_failed[reason].inc()

    def early_statuses(self, outcome: str, rows: int) -> None:
        """Count statuses that came before their message."""
        self._instruments.early_statuses[outcome].inc(rows)

    def scheduled(self, outcome: str, sends: int) -> None:
        """Count sends whose time has come."""
        self._instruments.scheduled_sends[outcome].inc(sends)

    def identity_resolved(self, outcome: str, count: int) -> None:
        """Count how customers were found; outcomes are those of IDENTITY_OUTCOMES."""
        self._instruments.identity_resolutions[outcome].inc(count)

    def link_fulfilled(self, outcome: str) -> None:
        """Count what came of a link; one that has to wait is a conflict."""
        word = "conflict" if outcome == "postponed" else outcome
        self._instruments.identity_resolutions[word].inc()

    def changed(self, kind: str, outcome: str, changes: int) -> None:
        """Count edits and revocations of messages."""
        self._instruments.changes[kind][outcome].inc(changes)

    def quarantined(self, reason: str) -> None:
        """Count a body, or a part of one, that was kept raw."""
        self._instruments.quarantined[reason].inc()

    def store_operation(self, operation: str, seconds: float, rows: int) -> None:
        """Time an operation of the store; of a commit, `rows` is the size of its group."""
        self._observe(self._instruments.store_operation_seconds[operation], seconds)
        if operation == "commit":
            self._instruments.commit_group_size.observe(rows)

    def assistant_braked(self) -> None:
        """Count a rate limit that stopped everybody who uses its key."""
        self._instruments.assistant_brakes.inc()

    def assistant_client_renewed(self) -> None:
        """Count a client of the AI that was made anew."""
        self._instruments.assistant_clients_renewed.inc()

    def assistant_rejected(self, reason: str) -> None:
        """Count a question that the AI will never take."""
        self._instruments.assistant_rejections[reason].inc()

    def assistant_circuit(self, before: str, after: str) -> None:
        """Move a business's circuit from one reason to another; empty: it is closed."""
        circuits = self._instruments.assistant_circuits_open
        if before:
            circuits[before].dec()
        if after:
            circuits[after].inc()

    def _turn_committed(self, writes: Writes, turn: Turn) -> None:
        if writes.opens:
            self._opened(turn)
        if writes.conversation.ai_conversation is None and turn.id in self._asked:
            self._rotated(turn)
        agent_at = writes.conversation.marks.last_agent_at
        if turn.outcome is Outcome.ANSWERED and agent_at is not None and agent_at > turn.newest_at:
            self._instruments.sends_after_colleague.inc()

    def _opened(self, turn: Turn) -> None:
        count = self._instruments
        count.gap_checks[turn.verdict].inc()
        count.burst_messages.observe(len(turn.message_ids))
        self._observe(count.buffer_hold_seconds, _seconds(turn.opened_at, turn.closed_at))
        if turn.silence_seconds is not None:
            self._observe(count.customer_silence_seconds, turn.silence_seconds)

    def _paid(self, cost: Cost) -> None:
        tokens = self._instruments.assistant_tokens
        tokens["input"].inc(cost.input_tokens)
        tokens["cached_input"].inc(cost.cached_tokens)
        tokens["output"].inc(cost.output_tokens)
        tokens["reasoning"].inc(cost.reasoning_tokens)

    def _came_back(self, turn_id: int, outcome: str) -> None:
        """Remember why the AI's conversation would be given up, now that a call has an outcome."""
        if turn_id in self._asked and outcome not in {AnswerFailure.UNKNOWN, "cancelled"}:
            locked = LOCKED if outcome == AnswerFailure.BUSY else OTHER
            self._asked[turn_id] = UNUSABLE_WORDS.get(outcome, locked)

    def _rotated(self, turn: Turn) -> None:
        reason = self._asked.pop(turn.id)
        self._instruments.conversation_rotated[reason if turn.outcome is None else DISCARDED].inc()

    def _observe(self, histogram: Histogram, seconds: float) -> None:
        """Observe a duration. One below 0 would look like a restart: it is 0, and counted."""
        if seconds < 0:
            self._instruments.clock_skew.inc()
            seconds = 0
        histogram.observe(seconds)


def _fetch_word(outcome: str) -> str:
    unnamed = "error" if outcome.startswith("http_") else outcome
    return FETCH_WORDS.get(outcome, unnamed)


def _assistant_word(outcome: str) -> str:
    return AnswerFailure.CONVERSATION_UNUSABLE if outcome in UNUSABLE_WORDS else outcome


def _seconds(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds()
