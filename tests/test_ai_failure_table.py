"""Each failure of the AI through the whole product: calls, the AI's memory, the end of the turn.

Rows are one message of one customer, and what became of it. In no row does a conversation at the
AI hold a message twice.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.fakes import openai_faults as fakes
from tests.fakes.openai_faults import Fault, after, dropped, error
from tests.house import House
from tests.openai_table import PHONE, ended, letters, remembers_once, says, shapes
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

TOTAL_SECONDS = 600
"""Longer than any turn may be about its answer."""


@dataclass(frozen=True, slots=True)
class Ends:
    """What became of a message: the turn's end, and what the AI was asked and remembers."""

    outcome: str
    reason: str = ""
    calls: int = 1
    looks: int = 0
    shapes: tuple[str, ...] = ("ua",)

    @property
    def replies(self) -> list[str]:
        return ["ok"] if self.outcome == "answered" else []


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON) as house:
        yield house


LOST = dropped()
GONE = error(404, None, "Conversation not found")
ROWS: list[tuple[str, list[Fault], Ends]] = [
    ("locked twice", [fakes.locked()] * 2, Ends("answered", calls=3)),
    ("locked long", [fakes.locked()] * 5, Ends("answered", calls=6, shapes=("", "ua"))),
    (
        "locked for ever",
        [fakes.locked()] * 50,
        Ends("failed", "conversation_locked", calls=10, shapes=("", "")),
    ),
    (
        "conversation missing",
        [GONE],
        Ends("answered", calls=2, shapes=("", "ua")),
    ),
    (
        "conversation missing again",
        [GONE] * 2,
        Ends("failed", "conversation_missing", calls=2, shapes=("", "")),
    ),
    (
        "conversation refused",
        [error(400, "invalid_value", "no", "conversation")],
        Ends("answered", calls=2, shapes=("", "ua")),
    ),
    (
        "history too long",
        [error(400, "context_length_exceeded")],
        Ends("answered", calls=2, shapes=("", "ua")),
    ),
    (
        "unfinished tool call",
        [error(400, None, "No tool output found for function call call_1.")],
        Ends("answered", calls=2, shapes=("", "ua")),
    ),
    (
        "duplicate item",
        [error(400, None, "Duplicate item found with id rs_1.")],
        Ends("answered", calls=2, shapes=("", "ua")),
    ),
    (
        "prompt refused",
        [error(400, "invalid_prompt")],
        Ends("failed", "invalid_prompt", shapes=("",)),
    ),
    (
        "answer filtered",
        [after("input", fakes.incomplete("content_filter"))],
        Ends("failed", "content_filter", shapes=("u",)),
    ),
    (
        "rate limited",
        [fakes.rate_limited(retry_after="5")] * 3,
        Ends("answered", calls=4),
    ),
    (
        "limited for ever",
        [fakes.rate_limited(retry_after="20")] * 50,
        Ends("failed", "rate_limited", 7, 0, ("",)),
    ),
    ("quota", [fakes.out_of_quota()], Ends("failed", "insufficient_quota", shapes=("",))),
    ("wrong key", [error(401)], Ends("failed", "http_401", shapes=("",))),
    ("500 twice", [error(500)] * 2, Ends("answered", calls=3)),
    ("409, then 408", [error(409), error(408)], Ends("answered", calls=3)),
    ("502 of a proxy", [fakes.html(502)] * 9, Ends("failed", "http_502", calls=3, shapes=("",))),
    ("lost answer", [dropped(stored=True)], Ends("answered", looks=1)),
    ("HTML instead", [after("turn", fakes.html())], Ends("answered", looks=1)),
    ("null instead", [after("turn", fakes.raw(b"null"))], Ends("answered", looks=1)),
    ("broken JSON", [after("turn", fakes.raw(b'{"status":'))], Ends("answered", looks=1)),
    (
        "failed, and stored",
        [after("turn", fakes.failed("server_error"))],
        Ends("answered", looks=1),
    ),
    (
        "failed, and only its input stored",
        [after("input", fakes.failed("server_error"))],
        Ends("answered", calls=2, looks=5, shapes=("u", "ua")),
    ),
    (
        "failed, nothing stored",
        [fakes.failed("server_error")],
        Ends("answered", "", 2, 3, ("", "ua")),
    ),
    ("lost question", [LOST], Ends("answered", calls=2, looks=3, shapes=("", "ua"))),
    ("lost twice", [LOST] * 2, Ends("failed", "unresolved", calls=2, looks=6, shapes=("", ""))),
    (
        "unknown parameter",
        [error(400, "unknown_parameter")],
        Ends("failed", "unknown_parameter", shapes=("",)),
    ),
    (
        "model gone",
        [error(404, "model_not_found")],
        Ends("failed", "model_not_found", shapes=("",)),
    ),
    ("422", [error(422)], Ends("failed", "http_422", shapes=("",))),
    (
        "too few tokens",
        [after("turn", fakes.incomplete("max_output_tokens"))],
        Ends("failed", "max_output_tokens"),
    ),
]


@pytest.mark.parametrize(
    ("faults", "ends"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
async def test_a_message_comes_to_its_end_however_the_ai_fails(
    house: House, faults: list[Fault], ends: Ends
) -> None:
    house.ai.faults.extend(faults)
    await says(house, "Tienen piscina?")
    await house.advance(TOTAL_SECONDS)

    assert await ended(house) == [(ends.outcome, ends.reason)]
    assert (house.ai.responses, house.ai.lists, shapes(house.ai)) == (
        *(ends.calls, ends.looks, ends.shapes),
    )
    assert remembers_once(house.ai)
    assert house.wati.texts_to(PHONE) == ends.replies
    assert await letters(house) == ([] if ends.replies else [(ends.reason, "open")])
    assert (await house.audit()).sound
