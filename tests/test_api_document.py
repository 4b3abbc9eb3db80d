"""The OpenAPI document that is served, against the server that serves it."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from relevo.http.api_limits import Limits
from relevo.store.embedded import DatabaseUrls
from tests.api_rig import client
from tests.house import House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
ROOT = str(Path(__file__).parent.parent)
EXAMPLES = 5
"""Of each endpoint and each way of trying it."""


async def lived_in(house: House) -> None:
    """Have something of everything: a conversation, a dead letter, a body that cannot be read."""
    message = house.wati.customer_message(PHONE, "Hola", house.clock.now())
    assert await house.post(message.webhook()) == 200
    assert await house.post(b"not JSON") == 200
    await house.advance(60)
    await house.rows(
        "INSERT INTO dead_letter SELECT business_id, id, conversation_id, 'answering', 'made_up',"
        " closed_at FROM turn"
    )


def complete(document: dict[str, Any]) -> None:
    """What schemathesis does not look for, and whoever makes a client of the document needs."""
    schemas = document["components"]["schemas"]
    assert not [name for name in schemas if "-" in name], "two models of one name"
    taken = [schema for schema in schemas.values() if schema.get("additionalProperties") is False]
    assert [schema["title"] for schema in taken if "examples" not in schema] == ["Nothing"]
    assert set(schemas["Sent"]["properties"]["status"]) == {"$ref"}
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert all(
        {"401", "403", "422", "429", "503"} <= each["responses"].keys() for each in operations
    )
    [search] = [each for each in operations[0]["parameters"] if each["name"] == "search"]
    assert "in any spelling" in search["description"]
    assert "Retry-After" in document["components"]["responses"]["429"]["headers"]


async def test_the_server_does_what_its_document_says(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    house = House(database, tmp_path, NOON)
    house.api_limits = Limits(burst=1_000_000)
    async with house:
        await lived_in(house)
        api = await client(house)
        complete(await api.get("/openapi.json"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{house.url}/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {api.key}"),
            *("--max-examples", f"{EXAMPLES}", "--seed", "1", "--workers", "1", "--checks", "all"),
            *("--phases", "examples,coverage,fuzzing", "--no-color"),
            cwd=tmp_path,
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks",
                "PYTHONPATH": ROOT,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
        assert process.returncode == 0, told.decode()
