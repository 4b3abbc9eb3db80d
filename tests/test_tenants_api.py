"""Two businesses with the same customer, through the API: neither learns anything of the other."""

from pathlib import Path
from typing import Any

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.api_rig import Answer, Client, client
from tests.fakes.wati import FakeWati
from tests.house import House
from tests.store_rig import NOON
from tests.test_tenants import MINE, PHONE, THEIRS, bakery, everything, second_business

pytestmark = pytest.mark.postgres

LINES = {MINE: "line", THEIRS: "bakery-line"}
ID_OF = {
    "/conversations": "SELECT id FROM conversation WHERE business_id = $1",
    "/dead-letters": "SELECT turn_id FROM dead_letter WHERE business_id = $1",
    "/quarantine": "SELECT id FROM quarantine WHERE business_id = $1",
}
"""What `{id}` stands for, by how a path begins."""

BODIES: dict[str, Any] = {}
"""What an endpoint that takes something takes, by its operation."""


async def lived_in(house: House, other: FakeWati) -> None:
    """Give each business the same customer, a turn, a dead letter, and a body nobody can read."""
    for name, wati in ((MINE, house.wati), (THEIRS, other)):
        line = LINES[name]
        said = wati.customer_message(PHONE, f"a secret of the {name}", NOON)
        assert await house.post(said.webhook(), channel=line) == 200
        assert await house.post(b"a secret of the " + name.encode(), channel=line) == 200
    await house.advance(100)
    await house.rows(
        "INSERT INTO dead_letter SELECT business_id, id, conversation_id, 'answering',"
        " 'a secret of the ' || business_id, closed_at FROM turn"
    )


async def operations(api: Client) -> list[tuple[str, str, str | None]]:
    """Return method and path of everything that can be asked, and its name if it takes a body."""
    described = (await api.get("/openapi.json"))["paths"]
    return [
        (method.upper(), path.removeprefix("/v1"), how["operationId"] if takes(how) else None)
        for path, methods in sorted(described.items())
        for method, how in sorted(methods.items())
    ]


def takes(how: dict[str, Any]) -> bool:
    return bool(how.get("requestBody", {}).get("required"))


async def asked(
    house: House, api: Client, operation: tuple[str, str, str | None], whose: str
) -> Answer:
    """Ask for a thing that a business has, by the key of whoever asks."""
    method, path, name = operation
    path = path.replace("{address}", f"+{PHONE}")
    if "{id}" in path:
        statement = next(each for start, each in ID_OF.items() if path.startswith(start))
        [row] = await house.rows(statement, whose)
        path = path.replace("{id}", str(row[0]))
    return await api.ask(method, path, None if name is None else BODIES[name])


async def test_no_endpoint_tells_or_does_anything_of_another_business(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    async with House(database, tmp_path, NOON) as house, bakery(house) as other:
        await house.stop()
        house.more_configuration = second_business(other)
        await house.start()
        await lived_in(house, other)
        api = await client(house, MINE)
        everyone = await operations(api)
        assert len(everyone) > 8
        theirs = {table: rows.get(THEIRS) for table, rows in (await everything(database)).items()}
        for operation in everyone:
            answer = await asked(house, api, operation, THEIRS)
            assert THEIRS not in str(answer.body), operation
            if "{id}" in operation[1]:
                assert (answer.status, answer.word) == (404, "not_found"), operation
        after = {table: rows.get(THEIRS) for table, rows in (await everything(database)).items()}
        assert after == theirs
        # What is one's own is there, by the same requests.
        for operation in everyone:
            answer = await asked(house, api, operation, MINE)
            assert answer.status < 300, (operation, answer)
            assert THEIRS not in str(answer.body), operation
