"""What is configured of the bounds, and what the whole product does where one is met."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relevo.config import load
from relevo.errors import ConfigError
from relevo.settings import Config
from relevo.store.embedded import DatabaseUrls
from tests.fakes.clock import until
from tests.house import House
from tests.store_rig import NOON

FLOODS = "50370000101"
OTHER = "50370000102"
UNREAD_MAX = 100

TWO = """
[[business]]
id = "bakery"

[[channel]]
id = "bakery-sandbox"
business = "bakery"
kind = "sandbox"
"""


def read(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "relevo.toml"
    path.write_text(text)
    return load(path, {})


def hotel(keys: str = "") -> str:
    return (
        f'[[business]]\nid = "hotel"\n{keys}\n'
        '[[channel]]\nid = "line"\nbusiness = "hotel"\nkind = "sandbox"\n'
    )


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (hotel(), {"hotel": 512}),
        (hotel() + TWO, {"hotel": 384, "bakery": 384}),
        (hotel("concurrency_max = 500") + TWO, {"hotel": 500, "bakery": 384}),
        ("[assistant]\nconcurrency_max = 8\n" + hotel() + TWO, {"hotel": 6, "bakery": 6}),
        ("[assistant]\nconcurrency_max = 1\n" + hotel() + TWO, {"hotel": 1, "bakery": 1}),
    ],
    ids=["alone", "two", "its_own", "few", "one"],
)
def test_a_business_among_others_leaves_them_a_quarter_of_the_places(
    text: str, places: dict[str, int], tmp_path: Path
) -> None:
    config = read(tmp_path, text)
    assert {name: config.concurrency_max_of(name) for name in places} == places


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[server]\nmemory_max_mb = 100", r"server.memory_max_mb: should be 0 .*at least 128"),
        ("[server]\nunread_max = 5", "server.unread_max: should be greater than or equal to 100"),
        ("[assistant]\nconcurrency_max = 0", "assistant.concurrency_max: should be greater"),
        ("[assistant]\nconcurrency_max = 513", "assistant.concurrency_max: should be less"),
        (hotel("concurrency_max = -1"), 'business "hotel": concurrency_max: should be greater'),
    ],
)
def test_a_bound_that_makes_no_sense_stops_the_start(text: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=line):
        read(tmp_path, text)


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    house = House(database, tmp_path, NOON, first_contact_lookback_seconds=0)
    house.more_configuration = f"[server]\nunread_max = {UNREAD_MAX}\n"
    async with house:
        yield house


async def say(house: House, phone: str, text: str) -> int:
    return await house.post(house.wati.customer_message(phone, text, house.clock.now()).webhook())


async def swept(house: House) -> float | None:
    """Sweep, and return how many customers are turned away then."""
    await house.relevo.supervisor.sweep()
    return house.relevo.instruments.registry.get_sample_value("relevo_customers_crowded")


@pytest.mark.postgres
async def test_a_customer_who_floods_is_asked_to_come_later_and_nobody_else_is(
    house: House,
) -> None:
    bodies = [
        house.wati.customer_message(FLOODS, f"{number}", house.clock.now()).webhook()
        for number in range(UNREAD_MAX + 1)
    ]
    assert await house.post(bodies) == 200
    assert await swept(house) == 1
    assert await say(house, FLOODS, "one more") == 503
    assert await say(house, OTHER, "Hola") == 200
    metrics = await house.metrics()
    assert metrics['relevo_webhook_requests_total{outcome="crowded"}'] == 1
    await house.advance(60)
    assert (house.wati.texts_to(FLOODS), house.wati.texts_to(OTHER)) == (["ok"], ["ok"])
    assert await swept(house) == 0
    assert await say(house, FLOODS, "one more") == 200
    balance = await house.audit()
    assert (balance.sound, balance.accepted) == (True, UNREAD_MAX + 3)


@pytest.mark.postgres
async def test_a_loop_that_is_blocked_is_counted_and_logged_without_any_text(house: House) -> None:
    told = threading.Event()

    def look_into_the_log() -> None:
        while b"event_loop_blocked" not in house.logs.getvalue():
            told.wait(0.05)
        told.set()

    secret = "secreto-5037"
    looking = threading.Thread(target=look_into_the_log)
    looking.start()
    assert told.wait(20), secret  # this is the loop's own thread
    looking.join()
    await until(lambda: b"event_loop_runs_again" in house.logs.getvalue())
    assert (await house.metrics())["relevo_event_loop_blocked_total"] == 1
    [line] = [line for line in house.logs.getvalue().splitlines() if b"event_loop_blocked" in line]
    assert b"look_into_the_log" in line
    assert secret.encode() not in line
