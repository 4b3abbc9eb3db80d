from datetime import UTC, datetime
from pathlib import Path

from relevo.store.embedded import DatabaseUrls
from tests.house import House

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PHONE = "50370000101"


async def test_a_message_is_answered(database: DatabaseUrls, tmp_path: Path) -> None:
    async with House(database, tmp_path, NOON) as house:
        said = house.wati.customer_message(PHONE, "Hola", NOON)
        assert await house.post(said.webhook()) == 200
        await house.advance(40)
        assert house.wati.texts_to(PHONE) == ["ok"]
        turns = await house.why(PHONE)
        assert [t["outcome"] for t in turns] == ["answered"]
        assert (await house.audit()).sound
