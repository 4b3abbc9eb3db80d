"""The lines as they are configured, in the whole product."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from relevo.config import load
from relevo.http.session import open_session
from relevo.http.wati import RECALL_CALLS
from relevo.lines import OwnLine, ahead_of, open_channels
from relevo.messages import Address
from relevo.store.embedded import DatabaseUrls
from tests.fakes.clock import ManualClock, settle, until
from tests.fakes.wati import FakeWati
from tests.house import House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
FETCHES = "relevo_gap_history_fetches_total"
SECRETS = {"TOKEN": "wati-token", "OTHER": "Bearer wati-token", "SECRET": "a-made-up-secret"}
TWO_LINES = """
[[business]]
id = "hotel"
recall_timeout_seconds = 9

[[channel]]
id = "line-0"
business = "hotel"
kind = "wati"
base_url = "{first}"
token_env = "TOKEN"
webhook_secret_env = "SECRET"

[[channel]]
id = "line-1"
business = "hotel"
kind = "wati"
base_url = "{second}"
token_env = "OTHER"
webhook_secret_env = "SECRET"
"""
"""Two lines of one tenant, each with its own token."""


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON) as house:
        yield house


async def customer_writes(house: House, text: str = "Hola") -> None:
    said = house.wati.customer_message(PHONE, text, house.clock.now())
    assert await house.post(said.webhook()) == 200


async def time_runs_out(house: House) -> None:
    """The recall begins after 35 s, its adapter gives up 9.5 s later, and the turn goes on."""
    await house.advance(44.5)
    await until(lambda: house.wati.holding == 0)
    await house.advance(60)


async def test_what_was_read_before_a_recall_ran_out_of_time_counts(house: House) -> None:
    def only_the_first(number: int) -> None:
        house.wati.history.hang = number > 1

    house.wati.before_page = only_the_first
    for number in range(150):
        house.wati.broadcast(PHONE, f"oferta {number}", NOON - timedelta(seconds=1000 - number))
    await customer_writes(house, "Puedo cambiar?")
    house.wati.agent_message(PHONE, "Claro, al 14", NOON + timedelta(seconds=10), "Ana")
    await time_runs_out(house)
    [turn] = await house.why(PHONE)
    assert (turn["outcome"], turn["recall"]) == ("answered_by_human", "failed")
    assert turn["recalled"] > 0
    assert house.wati.texts_to(PHONE) == []


async def test_a_recall_that_ran_out_of_time_is_counted_as_that(house: House) -> None:
    house.wati.history.hang = True
    await customer_writes(house)
    await time_runs_out(house)
    metrics = await house.metrics()
    assert metrics[f'{FETCHES}{{outcome="timeout"}}'] == 1
    assert metrics.get(f'{FETCHES}{{outcome="cancelled"}}', 0) == 0
    assert house.wati.texts_to(PHONE) == ["ok"]


async def test_two_lines_of_one_tenant_share_its_limit(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    async with FakeWati(clock) as wati, open_session() as session:
        file = tmp_path / "relevo.toml"
        file.write_text(TWO_LINES.format(first=wati.base_url, second=f"{wati.base_url}/"))
        lines = open_channels(load(file, SECRETS), session, clock, OwnLine("", ""))
        async with asyncio.TaskGroup() as group:
            for number in range(14):
                line, person = lines[f"line-{number % 2}"], Address("phone", f"5037{number:07}")
                group.create_task(line.history(person, NOON, urgent=True))
            await until(lambda: len(wati.asked) == RECALL_CALLS)
            await settle()
            clock.advance_to(NOON + timedelta(seconds=9))
        assert [asked.at for asked in wati.asked] == [NOON] * RECALL_CALLS


@pytest.mark.parametrize(
    ("waits_seconds", "may_take_seconds"), [(0.2, 0.1), (1, 0.5), (10, 9.5), (90, 85.5)]
)
def test_an_adapter_gives_up_before_the_core_does(
    waits_seconds: float, may_take_seconds: float
) -> None:
    assert ahead_of(waits_seconds) == pytest.approx(may_take_seconds)
