"""Where a history ends: what servers may claim of their pages, and what is believed of it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from relevo.turns import RecallStatus
from tests.wati_rig import NOW, Line, opened_line

COMPLETE = (RecallStatus.COMPLETE, "")
TRUNCATED = (RecallStatus.TRUNCATED, "pages")


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        opened.configure(page_size=100)
        yield opened


class Server:
    """Has so many messages, a second apart, and its own idea of pages."""

    def __init__(self, line: Line, count: int, size: int, *, turns: bool = True) -> None:
        self.line, self.count, self.size, self.turns = line, count, size, turns
        self.inside: dict[str, Any] = {}
        self.outside: dict[str, Any] = {}
        line.wati.before_page = self.show

    def show(self, number: int) -> None:
        start = (number - 1) * self.size if self.turns else 0
        items = [item(n) for n in range(start, min(start + self.size, self.count))]
        messages = {"items": items, **self.inside}
        answer = {"result": "success", "messages": messages, **self.outside}
        self.line.wati.history.body = orjson.dumps(answer)

    async def read(self, seconds: float = 3600) -> tuple[tuple[RecallStatus, str], int, int]:
        """Return how a recall ended, how many messages it found, and for how many calls."""
        history = await self.line.recall(seconds)
        return (history.status, history.reason), len(history.items), len(self.line.wati.asked)


def item(number: int) -> dict[str, Any]:
    at = NOW - timedelta(seconds=number)
    said = {"eventType": "message", "owner": True, "operatorName": "Ana", "text": "x"}
    return {"id": f"i{number}", "timestamp": str(int(at.timestamp())), **said}


@pytest.mark.parametrize("size", [50, "50", " 50 "], ids=repr)
async def test_a_server_that_gives_smaller_pages_and_says_so_is_read_on(
    line: Line, size: object
) -> None:
    server = Server(line, 120, 50)
    server.inside = {"pageSize": size}
    assert await server.read() == (COMPLETE, 120, 3)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"grandTotal": 120}, {}),
        ({"grandTotal": "120", "pageSize": 100}, {}),
        ({"total": 120}, {}),
        ({}, {"totalCount": "120"}),
        ({}, {"link": {"grandTotal": 120}}),
    ],
)
async def test_a_total_that_was_not_reached_is_read_on(
    line: Line, inside: dict[str, Any], outside: dict[str, Any]
) -> None:
    server = Server(line, 120, 50)
    server.inside, server.outside = inside, outside
    assert await server.read() == (COMPLETE, 120, 3)


async def test_a_next_page_that_is_named_is_asked_for(line: Line) -> None:
    server = Server(line, 60, 50)
    server.outside = {"link": {"nextPage": "https://elsewhere.example/?pageNumber=2"}}
    assert await server.read() == (COMPLETE, 60, 3)


async def test_a_server_that_claims_nothing_is_read_on_until_a_page_is_shorter(line: Line) -> None:
    assert await Server(line, 120, 50).read() == (COMPLETE, 120, 3)


async def test_a_few_messages_without_a_claim_cost_one_call(line: Line) -> None:
    assert await Server(line, 9, 50).read() == (COMPLETE, 9, 1)


async def test_a_history_that_was_counted_costs_no_call_more(line: Line) -> None:
    server = Server(line, 30, 50)
    server.inside = {"grandTotal": 30}
    assert await server.read() == (COMPLETE, 30, 1)


async def test_a_page_that_reaches_back_far_enough_ends_it_whatever_is_claimed(line: Line) -> None:
    server = Server(line, 120, 50)
    server.inside = {"grandTotal": 412, "nextPage": 2}
    assert await server.read(seconds=20) == (COMPLETE, 21, 1)


@pytest.mark.parametrize(
    "inside", [{"pageSize": "50"}, {}, {"grandTotal": 412}, {"grandTotal": 90}], ids=repr
)
async def test_a_server_that_turns_no_pages_does_not_pass_for_complete(
    line: Line, inside: dict[str, Any]
) -> None:
    server = Server(line, 120, 50, turns=False)
    server.inside = inside
    assert await server.read() == (TRUNCATED, 50, 2)


async def test_a_total_that_counts_something_else_ends_with_an_empty_page(line: Line) -> None:
    server = Server(line, 60, 50)
    server.inside = {"grandTotal": 9000}
    assert await server.read() == (COMPLETE, 60, 3)


@pytest.mark.parametrize("claim", [True, -50, "many", [50], None, 1.5, "9" * 400], ids=str)
async def test_a_claim_that_is_no_count_is_none(line: Line, claim: object) -> None:
    server = Server(line, 9, 50)
    server.inside = {"pageSize": claim, "grandTotal": claim, "nextPage": None}
    assert await server.read() == (COMPLETE, 9, 1)
