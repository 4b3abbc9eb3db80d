"""Two businesses with the same customer, through the API: neither learns anything of the other."""

from dataclasses import dataclass
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
    "/outgoing": "SELECT id FROM outgoing WHERE business_id = $1",
}
"""What `{id}` stands for, by how a path begins."""


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
    await house.rows(
        "INSERT INTO outgoing (business_id, conversation_id, author, body, due_at, state,"
        " created_at) SELECT business_id, id, 'agent', 'a secret of the ' || business_id,"
        " created_at + interval '1 year', 'scheduled', created_at FROM conversation"
    )


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that can be asked, as the document has it."""

    method: str
    path: str
    body: Any

    @property
    def names_a_thing(self) -> bool:
        return "{id}" in self.path


async def operations(api: Client) -> list[Operation]:
    document = await api.get("/openapi.json")
    return [
        Operation(method.upper(), path.removeprefix("/v1"), body_of(how, document))
        for path, methods in sorted(document["paths"].items())
        for method, how in sorted(methods.items())
    ]


def body_of(how: Any, document: Any) -> Any:
    """Return the least that a body may be; None for what takes none."""
    if "requestBody" not in how:
        return None
    return least(how["requestBody"]["content"]["application/json"]["schema"], document)


def least(schema: Any, document: Any) -> Any:
    """Return the smallest thing that a schema allows."""
    if "$ref" in schema:
        return least(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "anyOf" in schema or "enum" in schema or "const" in schema:
        first = schema.get("anyOf", [None])[0]
        return least(first, document) if first else schema.get("const") or schema["enum"][0]
    match schema["type"]:
        case "object":
            needed = schema.get("required", ())
            return {name: least(schema["properties"][name], document) for name in needed}
        case "array":
            return []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case _:
            return "x" * schema.get("minLength", 1)


async def asked(house: House, api: Client, operation: Operation, whose: str) -> Answer:
    """Ask for a thing that a business has, by the key of whoever asks."""
    path = operation.path.replace("{address}", f"+{PHONE}")
    if operation.names_a_thing:
        statement = next(each for start, each in ID_OF.items() if path.startswith(start))
        [row] = await house.rows(statement, whose)
        path = path.replace("{id}", str(row[0]))
    return await api.ask(operation.method, path, operation.body)


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
            if operation.names_a_thing:
                assert (answer.status, answer.word) == (404, "not_found"), operation
        after = {table: rows.get(THEIRS) for table, rows in (await everything(database)).items()}
        assert after == theirs
        # What is one's own is there, by the same requests.
        for operation in (each for each in everyone if each.method == "GET"):
            answer = await asked(house, api, operation, MINE)
            assert answer.status < 300, (operation, answer)
            assert THEIRS not in str(answer.body), operation
