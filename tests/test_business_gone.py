"""A business that is taken out of the configuration, or renamed, and what it has left behind."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relevo.errors import ConfigError
from relevo.store.embedded import DatabaseUrls
from tests.house import House

pytestmark = pytest.mark.postgres

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PHONE = "50370000101"


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON) as opened:
        await restarted(opened, bakery(opened))
        yield opened


async def test_its_customers_are_left_alone_and_go_on_when_it_is_back(house: House) -> None:
    hello = house.wati.customer_message(PHONE, "Tienen pan?", NOON)
    assert await house.post(hello.webhook(), channel="bakery-line") == 200
    await restarted(house, "")
    for _ in range(3):
        await house.relevo.supervisor.sweep()
        await house.advance(100)
    assert not house.wati.texts_to(PHONE)

    await restarted(house, bakery(house))
    assert house.logs.getvalue().count(b"business bakery is not configured") == 1
    assert b"KeyError" not in house.logs.getvalue()
    await house.advance(100)
    assert len(house.wati.texts_to(PHONE)) == 1


async def test_its_line_cannot_be_given_to_another_name(house: House) -> None:
    renamed = bakery(house).replace('"bakery"', '"patisserie"')
    with pytest.raises(ConfigError, match="channel bakery-line: it belonged to business bakery"):
        await restarted(house, renamed)


async def restarted(house: House, more_configuration: str) -> None:
    """Stop, and start with another configuration."""
    await house.stop()
    house.more_configuration = more_configuration
    await house.start()


def bakery(house: House) -> str:
    return (
        '[[business]]\nid = "bakery"\nregion = "SV"\n'
        '[[channel]]\nid = "bakery-line"\nbusiness = "bakery"\nkind = "wati"\n'
        f'base_url = "{house.wati.base_url}"\ntoken_env = "WATI_TOKEN"\n'
        'webhook_secret_env = "WATI_SECRET"\n'
    )
