"""Asks the API of a house, as a program of a business does."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from relevo.keys import CHANCE_BYTES, Scope
from relevo.store.api_keys import NewKey, create
from tests.house import House


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered; `word` is a problem's."""

    status: int
    headers: Any
    body: Any

    @property
    def word(self) -> str:
        return str(self.body["type"].rpartition(":")[2])


class Client:
    """A program that has a key."""

    def __init__(self, house: House, key: str) -> None:
        self._house = house
        self.key = key

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask for a path below /v1; headers are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Authorization", f"Bearer {self.key}")
        given = None
        if body is not None:
            given = orjson.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        async with self._house.session.request(
            method, f"{self._house.url}/v1{path}", data=given, headers=sent
        ) as response:
            raw = await response.read()
            return Answer(response.status, response.headers, orjson.loads(raw))

    async def get(self, path: str, status: int = 200, **parameters: Any) -> Any:
        """Return the body of an answer with this status."""
        answer = await self.ask("GET", f"{path}{_query(parameters)}")
        assert answer.status == status, answer
        return answer.body

    async def post(self, path: str, body: Any = None, status: int = 202, **headers: str) -> Any:
        """Return the body of an answer with this status."""
        answer = await self.ask("POST", path, body, **headers)
        assert answer.status == status, answer
        return answer.body


async def client(
    house: House, business_id: str = "hotel", scopes: Iterable[Scope] = Scope, number: int = 1
) -> Client:
    """Make a key in the house's database; each of a business needs a number of its own."""
    chance = f"{business_id}{number}".encode().rjust(CHANCE_BYTES, b"\1")[-CHANCE_BYTES:]
    chance = chance[::-1]
    new = NewKey(f"test {number}", list(scopes), None)
    pools = house.relevo.database.pools
    text, refusal = await create(pools, business_id, new, chance, house.clock.now())
    assert refusal is None
    return Client(house, text)


def _query(parameters: dict[str, Any]) -> str:
    given = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in parameters.items()
        if value is not None
    }
    return f"?{urlencode(given)}" if given else ""
