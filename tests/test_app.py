"""What the composition root joins: probes to those who tell them, audits to the gauge they feed."""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relevo.actors.ports import Probe
from relevo.gauges import AUDIT_SECONDS
from relevo.http.ports import WebhookProbe
from relevo.metrics.probe import MeteringProbe
from relevo.store.embedded import DatabaseUrls
from relevo.store.means import StoreProbe
from tests.fakes.clock import until
from tests.fakes.wati import Sending
from tests.house import House
from tests.store_rig import NOON

PHONE = "50370000101"
FAILED = b'"audit_failed"'


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON) as house:
        yield house


@pytest.mark.parametrize("port", [Probe, StoreProbe, WebhookProbe])
def test_one_probe_fits_the_ports_of_all_who_tell_it_something(port: type[Any]) -> None:
    wanted = {name: method for name, method in vars(port).items() if not name.startswith("_")}
    assert wanted
    for name, method in wanted.items():
        assert inspect.signature(getattr(MeteringProbe, name)) == inspect.signature(method), name


@pytest.mark.postgres
async def test_a_webhook_and_its_turn_show_in_the_work_of_the_store(house: House) -> None:
    said = house.wati.customer_message(PHONE, "Hola", NOON)
    assert await house.post(said.webhook()) == 200
    await house.advance(40)
    assert house.wati.texts_to(PHONE) == ["ok"]
    metrics = await house.metrics()
    counts = {
        operation: metrics[f'relevo_store_operation_seconds_count{{operation="{operation}"}}']
        for operation in ("ingest", "load", "commit", "window", "sweep", "other")
    }
    commits = metrics['relevo_commits_total{result="committed"}']
    assert counts == {
        "ingest": 1,
        "load": counts["load"],
        "commit": commits,
        "window": 1,
        "sweep": 1,
        "other": 0,
    }
    assert counts["load"] >= 1
    assert metrics["relevo_commit_group_size_count"] == commits
    assert metrics["relevo_commit_group_size_sum"] == commits


@pytest.mark.postgres
async def test_an_audit_that_fails_is_told_each_time_and_repeated(house: House) -> None:
    await house.rows("ALTER TABLE accepted RENAME TO elsewhere")
    await house.advance(AUDIT_SECONDS)
    await until(lambda: failures(house) == 1)
    await house.advance(AUDIT_SECONDS)
    await until(lambda: failures(house) == 2)
    await house.rows("ALTER TABLE elsewhere RENAME TO accepted")
    await house.rows("INSERT INTO accepted VALUES ('hotel', 0, 7)")
    await house.advance(AUDIT_SECONDS)
    await until(lambda: gauge(house, "conservation_remainder_messages") == 7)
    assert failures(house) == 2


@pytest.mark.postgres
async def test_a_gap_that_stays_open_shows_until_a_recall_closes_it(house: House) -> None:
    house.wati.history.status = 503
    await say(house, "Hola")
    await house.advance(60)
    [turn] = await house.why(PHONE)
    assert (turn["recall"], turn["outcome"]) == ("failed", "answered")
    await say(house, "Alo?")
    await house.advance(AUDIT_SECONDS)
    await until(lambda: gauge(house, "gaps_unresolved") == 1)
    found_at = gauge(house, "gap_oldest_unresolved_timestamp_seconds")
    assert found_at == turn["closed_at"].timestamp()
    house.wati.history.status = 200
    await say(house, "Sigue ahi?")
    await house.advance(AUDIT_SECONDS)
    await until(lambda: gauge(house, "gaps_unresolved") == 0)
    assert gauge(house, "gap_oldest_unresolved_timestamp_seconds") == 0


@pytest.mark.postgres
async def test_a_reply_on_its_way_shows_until_the_provider_has_it(house: House) -> None:
    house.wati.send_next(Sending(hang=True))
    await say(house, "Hola")
    await house.advance(36)
    assert gauge(house, "outbox_messages", state="sending") == 1
    [part] = await house.rows("SELECT created_at FROM outbox")
    oldest = gauge(house, "outbox_oldest_pending_timestamp_seconds")
    assert oldest == part["created_at"].timestamp()
    house.wati.release()
    await house.quiet()
    await until(lambda: gauge(house, "outbox_messages", state="sending") == 0)
    assert gauge(house, "outbox_oldest_pending_timestamp_seconds") == 0


async def say(house: House, text: str) -> None:
    said = house.wati.customer_message(PHONE, text, house.clock.now())
    assert await house.post(said.webhook()) == 200
    await house.quiet()


def failures(house: House) -> int:
    return house.logs.getvalue().count(FAILED)


def gauge(house: House, name: str, **labels: str) -> float | None:
    return house.relevo.instruments.registry.get_sample_value(f"relevo_{name}", labels)
