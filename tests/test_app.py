"""What the composition root joins: probes to those who tell them, audits to the gauge they feed."""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relevo.actors.ports import Probe
from relevo.app import AUDIT_SECONDS
from relevo.http.ports import WebhookProbe
from relevo.metrics.probe import MeteringProbe
from relevo.store.embedded import DatabaseUrls
from relevo.store.means import StoreProbe
from tests.fakes.clock import until
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
    await until(lambda: remainder(house) == 7)
    assert failures(house) == 2


def failures(house: House) -> int:
    return house.logs.getvalue().count(FAILED)


def remainder(house: House) -> float | None:
    registry = house.relevo.instruments.registry
    return registry.get_sample_value("relevo_conservation_remainder_messages")
