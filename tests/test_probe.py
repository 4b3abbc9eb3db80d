"""What the probe makes of what the actors, the webhooks and the store tell it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO

import orjson
import pytest
from prometheus_client import CollectorRegistry

from relevo.clock import SystemClock
from relevo.effects import Ask, Effect, EnsureConversation, Recall, Send, WakeAt
from relevo.messages import Address, Author, ConversationKey, InboundMessage, Message, Source
from relevo.metrics.contract import OTHER, PREFIX, ROTATION_REASONS
from relevo.metrics.instruments import Instruments
from relevo.metrics.logs import start_logging
from relevo.metrics.probe import MeteringProbe
from relevo.turns import (
    Conversation,
    Cost,
    Marks,
    Outcome,
    Part,
    PartState,
    RecallStatus,
    Stage,
    Turn,
    Verdict,
)
from relevo.writes import DeadLetter, Writes

KINDS = ("text", "media", "interactive", "other")
LINE = Address("phone", "+50370001234")
AT_17_07 = datetime(2025, 10, 7, 17, 7, 17, tzinfo=UTC)
TURN = Turn(
    id=41,
    stage=Stage.ANSWERING,
    channel_id="hotel-wati",
    address=LINE,
    opened_at=AT_17_07,
    closed_at=AT_17_07 + timedelta(seconds=35),
    previous_customer_at=AT_17_07 - timedelta(seconds=780),
    previous_assistant_at=AT_17_07 - timedelta(seconds=745),
    verdict=Verdict.GAP,
    silence_seconds=780,
    threshold_seconds=300,
    message_ids=(41,),
    newest_at=AT_17_07 + timedelta(seconds=1),
)
CONVERSATION = Conversation(ConversationKey("hotel", 7), ai_conversation="conv_made_up")
FROM_AGENT = Message(
    id=42,
    author=Author.AGENT,
    kind="text",
    body="Ya le aparte la mesa 4",
    event_at=AT_17_07 - timedelta(seconds=377),
    received_at=AT_17_07 + timedelta(seconds=36),
    source=Source.HISTORY,
    channel_id="hotel-wati",
    address=LINE,
)
RECALL = Recall(41, 1, "hotel-wati", LINE, AT_17_07, urgent=True)
ASK = Ask(TURN, "conv_made_up", (), (), "UTC")
PART = Part(43, 41, 1, "Hola", "relevo-hotel-41-1", AT_17_07)
SEND = Send(PART, "hotel-wati", LINE)


class Seen:
    """A probe on a registry of its own, and what it made of things."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.instruments = Instruments(self.registry)
        self.stream = BytesIO()
        self.logging = start_logging(SystemClock(), stream=self.stream)
        self.probe = MeteringProbe(
            self.instruments, self.logging.log, {"hotel-wati": "wati", "demo": "sandbox"}
        )

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(PREFIX + name, labels)

    def label_sets(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        samples = (s for family in self.registry.collect() for s in family.samples)
        return {(s.name, frozenset(s.labels.items())) for s in samples}


@pytest.fixture
def seen() -> Iterator[Seen]:
    made = Seen()
    yield made
    made.logging.stop()


def ended(turn: Turn, outcome: Outcome) -> Turn:
    ended_at = turn.closed_at + timedelta(seconds=6)
    return replace(turn, stage=Stage.ENDED, outcome=outcome, ended_at=ended_at)


def test_a_gap_found_and_an_agent_recovered_show(seen: Seen) -> None:
    recalling = replace(TURN, stage=Stage.RECALLING)
    seen.probe.committed(Writes(CONVERSATION, recalling, opens=True))
    seen.probe.effect_starting(RECALL)
    seen.probe.effect_finished(RECALL, 0.4, "complete")
    known = replace(TURN, recall=RecallStatus.COMPLETE, recalled=1, matched_by_content=1)
    seen.probe.committed(Writes(CONVERSATION, known, recalled=(FROM_AGENT,), matched=2))
    seen.probe.turn_ended(
        "hotel", 7, ended(replace(known, missed_ids=(42,), missed_left_out=3), Outcome.ANSWERED)
    )

    assert seen.value("gap_checks_total", result="gap") == 1
    assert seen.value("customer_silence_seconds_sum") == 780
    assert seen.value("burst_messages_sum") == 1
    assert seen.value("buffer_hold_seconds_sum") == 35
    assert seen.value("gap_history_fetches_total", outcome="ok") == 1
    assert seen.value("gap_history_fetch_seconds_sum") == 0.4
    assert seen.value("gap_messages_recovered_total", author="agent") == 1
    assert seen.value("messages_deduplicated_total", source="history") == 2
    assert seen.value("gap_missing_messages_sum") == 1
    assert seen.value("gap_matched_by_content_total") == 1
    assert seen.value("gap_missed_left_out_total") == 3
    assert seen.value("commits_total", result="committed") == 2
    assert seen.value("turns_total", outcome="answered") == 1
    assert seen.value("reply_latency_seconds_sum") == 40


def test_a_history_item_without_a_readable_time_is_counted(seen: Seen) -> None:
    undated = replace(FROM_AGENT, id=44, timed=False)
    seen.probe.committed(Writes(CONVERSATION, TURN, recalled=(FROM_AGENT, undated)))
    assert seen.value("gap_messages_recovered_total", author="agent") == 2
    assert seen.value("gap_messages_undated_total") == 1


@pytest.mark.parametrize(
    ("word", "counted_as"),
    [
        ("empty", "empty"),
        ("failed", "error"),
        ("http_503", "error"),
        ("http_429", "rate_limited"),
        ("timeout", "timeout"),
        ("truncated", "truncated"),
        ("unavailable", "unavailable"),
    ],
)
def test_fetches_of_history_count_by_what_can_be_done(
    seen: Seen, word: str, counted_as: str
) -> None:
    seen.probe.effect_finished(RECALL, 0.4, word)
    assert seen.value("gap_history_fetches_total", outcome=counted_as) == 1


def test_a_first_contact_has_no_silence(seen: Seen) -> None:
    first = replace(TURN, verdict=Verdict.FIRST_CONTACT, silence_seconds=None)
    seen.probe.committed(Writes(CONVERSATION, first, opens=True))
    assert seen.value("gap_checks_total", result="first_contact") == 1
    assert seen.value("customer_silence_seconds_count") == 0


def test_a_turn_that_recalled_nothing_and_sent_nothing_is_measured_in_neither(seen: Seen) -> None:
    seen.probe.turn_ended("hotel", 7, ended(TURN, Outcome.NO_REPLY))
    assert seen.value("turns_total", outcome="no_reply") == 1
    assert seen.value("gap_missing_messages_count") == 0
    assert seen.value("reply_latency_seconds_count") == 0


def test_an_ended_turn_is_one_line_with_its_evidence(seen: Seen) -> None:
    seen.probe.turn_ended("hotel", 7, ended(TURN, Outcome.ANSWERED))
    (line,) = seen.stream.getvalue().splitlines()
    event = orjson.loads(line)
    assert event["event"] == "turn"
    assert (event["business"], event["conversation"], event["turn"]) == ("hotel", 7, 41)
    assert (event["verdict"], event["silence_seconds"]) == ("gap", 780)
    assert (event["gather_seconds"], event["answer_seconds"], event["total_seconds"]) == (35, 6, 41)


def test_a_duration_below_zero_is_zero_and_counted(seen: Seen) -> None:
    inbound = InboundMessage(("k",), (LINE,), Author.CUSTOMER, "text", "hola", AT_17_07)
    seen.probe.received(inbound, -3.0)
    seen.probe.received(inbound, 2.0)
    assert seen.value("webhook_delivery_delay_seconds_sum") == 2
    assert seen.value("webhook_delivery_delay_seconds_count") == 2
    assert seen.value("clock_skew_total") == 1


def test_only_requests_answered_200_have_a_time_to_acknowledge(seen: Seen) -> None:
    for outcome in ("accepted", "duplicate", "malformed", "unauthorized", "unavailable"):
        seen.probe.webhook(outcome, 0.2)
        assert seen.value("webhook_requests_total", outcome=outcome) == 1
    assert seen.value("webhook_ack_seconds_count") == 3


def test_kinds_of_messages_are_few(seen: Seen) -> None:
    for kind in ("text", "voice", "image", "button", "location"):
        seen.probe.received(InboundMessage(("k",), (LINE,), Author.AGENT, kind, "", None), None)
    counted = {k: seen.value("messages_received_total", author="agent", kind=k) for k in KINDS}
    assert counted == {"text": 1, "media": 2, "interactive": 1, "other": 1}


def test_the_webhooks_other_observations_count(seen: Seen) -> None:
    seen.probe.duplicates(3)
    seen.probe.statuses(2)
    seen.probe.quarantined("not_json")
    assert seen.value("messages_deduplicated_total", source="webhook") == 3
    assert seen.value("statuses_received_total") == 2
    assert seen.value("quarantined_total", reason="not_json") == 1


def test_the_size_of_a_group_is_that_of_commits(seen: Seen) -> None:
    seen.probe.store_operation("commit", 0.01, 8)
    seen.probe.store_operation("ingest", 0.02, 50)
    assert seen.value("commit_group_size_sum") == 8
    assert seen.value("commit_group_size_count") == 1
    assert seen.value("store_operation_seconds_sum", operation="ingest") == 0.02


def test_the_lives_of_actors_count(seen: Seen) -> None:
    seen.probe.activated()
    seen.probe.passivated()
    seen.probe.restarted()
    seen.probe.set_aside()
    seen.probe.commit_lost()
    seen.probe.mailbox_waited(0.5)
    seen.probe.timer_fired(1.5)
    for event in ("activated", "passivated", "restarted", "set_aside"):
        assert seen.value("actor_lifecycle_total", event=event) == 1
    assert seen.value("commits_total", result="lost") == 1
    assert seen.value("mailbox_wait_seconds_sum") == 0.5
    assert seen.value("timer_lateness_seconds_sum") == 1.5


def test_calls_to_the_assistant_are_in_flight_until_they_are_back(seen: Seen) -> None:
    ensure = EnsureConversation(41, 1)
    seen.probe.effect_starting(ensure)
    seen.probe.effect_starting(ASK)
    assert seen.value("assistant_in_flight") == 2
    seen.probe.effect_finished(ensure, 0.1, "ok")
    seen.probe.effect_finished(ASK, 3.0, "silent")
    assert seen.value("assistant_in_flight") == 0
    assert seen.value("assistant_conversations_total", outcome="ok") == 1
    assert seen.value("assistant_requests_total", outcome="silent") == 1
    assert seen.value("assistant_request_seconds_sum") == 3


def test_tokens_of_a_turn_count_once_by_their_type(seen: Seen) -> None:
    cost = Cost(input_tokens=100, cached_tokens=60, output_tokens=20, reasoning_tokens=5)
    seen.probe.turn_ended("hotel", 7, ended(replace(TURN, cost=cost), Outcome.ANSWERED))
    types = ("input", "cached_input", "output", "reasoning")
    assert [seen.value("assistant_tokens_total", type=t) for t in types] == [100, 60, 20, 5]


def test_sends_count_by_provider_and_doubt(seen: Seen) -> None:
    seen.probe.effect_finished(SEND, 0.3, "accepted")
    seen.probe.effect_finished(SEND, 20.0, "unknown")
    doubtful = replace(PART, state=PartState.UNKNOWN)
    seen.probe.committed(Writes(CONVERSATION, TURN, parts=(doubtful, PART)))
    assert seen.value("sends_total", provider="wati", outcome="accepted") == 1
    assert seen.value("sends_total", provider="wati", outcome="unknown") == 1
    assert seen.value("send_seconds_count") == 2
    assert seen.value("outbox_in_doubt_total") == 1


def test_a_dead_letter_counts_by_its_stage(seen: Seen) -> None:
    letter = DeadLetter(41, Stage.SENDING, "send_unknown")
    seen.probe.committed(Writes(CONVERSATION, ended(TURN, Outcome.FAILED), dead_letter=letter))
    assert seen.value("dead_letters_total", stage="sending") == 1


@pytest.mark.parametrize(("seconds", "counted"), [(2, 1), (-2, 0)])
def test_a_reply_that_overtook_a_colleague_is_counted(
    seen: Seen, seconds: float, counted: int
) -> None:
    agent_at = TURN.newest_at + timedelta(seconds=seconds)
    conversation = replace(CONVERSATION, marks=Marks(last_agent_at=agent_at))
    seen.probe.committed(Writes(conversation, TURN))
    seen.probe.committed(Writes(conversation, ended(TURN, Outcome.ANSWERED)))
    assert seen.value("sends_after_colleague_total") == counted


@pytest.mark.parametrize(
    ("outcome_word", "ends_as", "reason"),
    [
        ("conversation_missing", None, "missing"),
        ("conversation_invalid", None, "invalid"),
        ("context_length", None, "context"),
        ("tool_call_open", None, "tool_call"),
        ("busy", None, "locked"),
        ("conversation_unusable", None, "other"),
        ("unknown", None, "interrupted"),
        ("cancelled", None, "interrupted"),
        ("ok", Outcome.REFUSED, "discarded"),
    ],
)
def test_an_ai_conversation_given_up_counts_once_with_its_reason(
    seen: Seen, outcome_word: str, ends_as: Outcome | None, reason: str
) -> None:
    seen.probe.effect_starting(ASK)
    seen.probe.effect_finished(ASK, 1.0, outcome_word)
    turn = TURN if ends_as is None else ended(TURN, ends_as)
    forgotten = replace(CONVERSATION, ai_conversation=None)
    seen.probe.committed(Writes(forgotten, turn))
    seen.probe.committed(Writes(forgotten, turn))
    assert seen.value("conversation_rotated_total", reason=reason) == 1
    reasons = (seen.value("conversation_rotated_total", reason=r) or 0 for r in ROTATION_REASONS)
    assert sum(reasons) == 1


def test_an_ai_conversation_that_stays_is_not_rotated(seen: Seen) -> None:
    seen.probe.effect_starting(ASK)
    seen.probe.effect_finished(ASK, 1.0, "ok")
    seen.probe.committed(Writes(CONVERSATION, ended(TURN, Outcome.ANSWERED)))
    seen.probe.turn_ended("hotel", 7, ended(TURN, Outcome.ANSWERED))
    seen.probe.committed(Writes(replace(CONVERSATION, ai_conversation=None), TURN))
    assert seen.value("conversation_rotated_total", reason="other") == 0
    assert seen.value("conversation_rotated_total", reason="discarded") == 0


def test_words_nobody_foresaw_make_no_series(seen: Seen) -> None:
    before = seen.label_sets()
    strange = "+50370001234 hola"
    inbound = InboundMessage(("k",), (LINE,), Author.CUSTOMER, strange, "hola", None)
    seen.probe.webhook(strange, 0.01)
    seen.probe.received(inbound, None)
    seen.probe.quarantined(strange)
    seen.probe.store_operation(strange, 0.01, 1)
    effects: tuple[Effect, ...] = (
        RECALL,
        ASK,
        replace(SEND, channel_id=strange),
        EnsureConversation(41, 1),
        WakeAt(AT_17_07),
    )
    for effect in effects:
        seen.probe.effect_starting(effect)
        seen.probe.effect_finished(effect, 0.1, strange)
    seen.probe.committed(Writes(CONVERSATION, dead_letter=DeadLetter(41, strange, strange)))
    seen.instruments.log_events[strange].inc()

    assert seen.label_sets() == before
    assert seen.value("webhook_requests_total", outcome=OTHER) == 1
    assert seen.value("messages_received_total", author="customer", kind=OTHER) == 1
    assert seen.value("quarantined_total", reason=OTHER) == 1
    assert seen.value("store_operation_seconds_count", operation=OTHER) == 1
    assert seen.value("gap_history_fetches_total", outcome=OTHER) == 1
    assert seen.value("assistant_requests_total", outcome=OTHER) == 1
    assert seen.value("assistant_conversations_total", outcome=OTHER) == 1
    assert seen.value("sends_total", provider=OTHER, outcome=OTHER) == 1
    assert seen.value("dead_letters_total", stage=OTHER) == 1
    assert seen.value("log_events_total", level=OTHER) == 1
