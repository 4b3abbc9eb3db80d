"""The contract with dashboards: what is exported, and that it answers when it is wanted."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from relevo.clock import Alarm, SystemClock
from relevo.errors import ConfigError
from relevo.metrics.contract import CONTRACT, OTHER, PREFIX, SLO_THRESHOLDS, table
from relevo.metrics.exposition import LAG_PERIOD_SECONDS, MetricsServer, sample_loop_lag
from relevo.metrics.instruments import Gauges, Instruments
from relevo.tasks import Tasks
from relevo.turns import Part, PartState
from tests import programs
from tests.programs import APT_TIMEOUT_SECONDS, required

SERIES_MAX = 2000
AT_NOON = datetime(2025, 10, 7, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Counted:
    """Instruments on a registry of their own."""

    registry: CollectorRegistry
    instruments: Instruments


@pytest.fixture
def counted() -> Counted:
    registry = CollectorRegistry()
    return Counted(registry, Instruments(registry))


@pytest.fixture
async def server(counted: Counted) -> AsyncIterator[MetricsServer]:
    made = MetricsServer(counted.registry, "127.0.0.1", 0)
    yield made
    await made.stop()


def scraped(server: MetricsServer) -> str:
    with urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


# What is exported


async def test_the_contract_is_exported_whole_and_nothing_else(server: MetricsServer) -> None:
    families = list(text_string_to_metric_families(scraped(server)))
    exported = {(f.name, f.type) for f in families if f.name.startswith(PREFIX)}
    promised = {(PREFIX + row.name.removesuffix("_total"), row.type) for row in CONTRACT}
    assert exported == promised | {(f"{PREFIX}build_info", "gauge")}


async def test_all_series_exist_from_the_start_and_stay_within_their_budget(
    server: MetricsServer,
) -> None:
    lines = [line for line in scraped(server).splitlines() if not line.startswith("#")]
    ours = [line for line in lines if line.startswith(PREFIX)]
    assert len(ours) == sum(row.series for row in CONTRACT) + 1
    assert len(lines) <= SERIES_MAX
    assert not [line for line in lines if "_created" in line]


async def test_every_threshold_of_an_objective_is_a_bucket(server: MetricsServer) -> None:
    text = scraped(server)
    for name, thresholds in SLO_THRESHOLDS.items():
        for seconds in thresholds:
            assert f'{PREFIX}{name}_bucket{{le="{float(seconds)}"}}' in text


@pytest.mark.timeout(2 * APT_TIMEOUT_SECONDS + 60)
async def test_promtool_has_nothing_to_say(server: MetricsServer) -> None:
    promtool = required(programs.promtool(), "promtool")
    text = scraped(server)
    found = subprocess.run(  # noqa: ASYNC221  (a short tool; the loop has nothing else to do)
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_the_documentation_is_the_contract() -> None:
    written = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
    _, bar, rows = written.partition("| metric |")
    assert bar + rows == table(), "replace the table in docs/metrics.md by contract.table()"


def test_the_build_says_what_runs(counted: Counted) -> None:
    (build,) = [f for f in counted.registry.collect() if f.name == "relevo_build"]
    assert set(build.samples[0].labels) == {"version", "python"}


def test_every_label_fed_by_a_foreign_word_has_a_place_for_others() -> None:
    own_words = {"author", "result", "source", "event", "state", "type", "turns_total"}
    for row in CONTRACT:
        for label, values in row.labels.items():
            assert len(values) <= 20, row.name
            assert OTHER in values or label in own_words or row.name in own_words, row.name


def test_a_word_outside_our_own_enums_is_a_bug(counted: Counted) -> None:
    with pytest.raises(KeyError, match="perhaps"):
        counted.instruments.gap_checks["perhaps"].inc()


# How it is served


async def test_metrics_answer_while_the_loop_is_blocked(server: MetricsServer) -> None:
    # Reading the answer on the loop's own thread is what blocks the loop.
    assert f"{PREFIX}tasks 0.0" in scraped(server)


async def test_gauges_are_read_at_every_scrape(counted: Counted, server: MetricsServer) -> None:
    actors = [1.0]
    waiting = [part(PartState.SENDING, 3), part(PartState.SENDING, 2), part(PartState.UNKNOWN, 5)]
    fixed: dict[str, Callable[[], float]] = {
        "mailbox_messages": lambda: 2,
        "timers_pending": lambda: 3,
        "turns_open": lambda: 4,
        "turns_waiting": lambda: 13,
        "inbox_deliveries": lambda: 14,
        "inbox_bytes": lambda: 15,
        "customers_crowded": lambda: 16,
        "links_waiting": lambda: 17,
        "memory_bound_bytes": lambda: 17,
        "memory_short": lambda: 1,
        "tasks": lambda: 5,
        "conservation_remainder_messages": lambda: 6,
        "store_pool_in_use": lambda: 7,
        "store_pool_idle": lambda: 8,
        "store_pool_max": lambda: 9,
        "gaps_unresolved": lambda: 10,
        "gap_oldest_unresolved": lambda: 11,
        "lines_stopped": lambda: 12,
    }
    counted.instruments.attach(
        Gauges(actors_resident=lambda: actors[0], unsent=lambda: waiting, **fixed)
    )
    assert "relevo_actors_resident 1.0\n" in scraped(server)
    actors[0] = 12.0
    text = scraped(server)
    assert "relevo_actors_resident 12.0\n" in text
    for line in (
        "mailbox_messages 2.0",
        "timers_pending 3.0",
        "turns_open 4.0",
        "turns_waiting 13.0",
        "inbox_deliveries 14.0",
        "inbox_bytes 15.0",
        "customers_crowded 16.0",
        "links_waiting 17.0",
        "memory_bound_bytes 17.0",
        "memory_short 1.0",
        "tasks 5.0",
        "conservation_remainder_messages 6.0",
        'store_pool_connections{state="in_use"} 7.0',
        'store_pool_connections{state="idle"} 8.0',
        "store_pool_connections_max 9.0",
        "gaps_unresolved 10.0",
        "gap_oldest_unresolved_timestamp_seconds 11.0",
        "lines_stopped 12.0",
        'outbox_messages{state="pending"} 0.0',
        'outbox_messages{state="sending"} 2.0',
        'outbox_messages{state="unknown"} 1.0',
    ):
        assert f"{PREFIX}{line}\n" in text
    oldest = f"{PREFIX}outbox_oldest_pending_timestamp_seconds"
    assert counted.registry.get_sample_value(oldest) == AT_NOON.timestamp() + 2
    waiting.clear()
    assert f"{oldest} 0.0\n" in scraped(server)


def part(state: PartState, seconds: float) -> Part:
    created_at = AT_NOON + timedelta(seconds=seconds)
    return Part(43, 41, 1, "Hola", "relevo-hotel-41-1", created_at, state)


async def test_a_taken_port_is_one_clear_line(counted: Counted) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"server.metrics_port: .* on 127.0.0.1:{port} "):
            MetricsServer(counted.registry, "127.0.0.1", port)


async def test_a_stopped_server_answers_no_more(counted: Counted) -> None:
    server = MetricsServer(counted.registry, "127.0.0.1", 0)
    scraped(server)
    await server.stop()
    with pytest.raises(URLError):
        scraped(server)


class HandClock(SystemClock):
    """A clock that goes on only when the test says so; `rings` are what it was asked to call."""

    def __init__(self) -> None:
        self.elapsed_seconds = 0.0
        self.rings: asyncio.Queue[Callable[[], None]] = asyncio.Queue()

    def now(self) -> datetime:
        return AT_NOON + timedelta(seconds=self.elapsed_seconds)

    def monotonic(self) -> float:
        return self.elapsed_seconds

    def call_at(self, when: datetime, callback: Callable[[], None]) -> Alarm:
        assert when == self.now() + timedelta(seconds=LAG_PERIOD_SECONDS)
        self.rings.put_nowait(callback)
        return self

    def cancel(self) -> None:
        """Its alarms need no cancelling: they ring by hand."""


async def test_a_late_loop_is_seen_by_how_late_it_is() -> None:
    clock, lags = HandClock(), list[float]()
    failures = list[BaseException]()
    tasks = Tasks(on_failure=failures.append)
    sampler = tasks.spawn(sample_loop_lag(clock, lags.append), "lag")
    for late_seconds in (0.3, 0.0, -0.1):
        ring = await clock.rings.get()
        clock.elapsed_seconds += LAG_PERIOD_SECONDS + late_seconds
        ring()
    await clock.rings.get()
    await tasks.cancel()
    assert (sampler.done(), failures) == (True, [])
    assert lags == pytest.approx([0.3, 0.0, 0.0])
