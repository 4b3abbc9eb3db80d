"""The conversations of a business as a person looks at them: listed, searched, looked up.

A list goes by who has spoken last. Without a wish that few fit it walks back through the newest
messages; with one (a search, a tag, a hold) it takes those that fit and sorts them. Either way the
work for a page is bounded: a page may end early, and then still says where the next one begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from relevo import identity
from relevo.clock import Clock
from relevo.store.inspection import conversations_of
from relevo.store.rows import Row
from relevo.store.sql import statements

if TYPE_CHECKING:
    from relevo.store.pools import Connection

ID_MAX = 2**63 - 1
FOUND_MAX = 500
"""Conversations that a search, a tag or a hold finds, at most; it says if there are more."""

WALKED_MAX = 5_000
"""Messages that one step of a walk looks at."""

STEPS_MAX = 4
"""Steps for one page."""

STEP_MIN = 100
TEXT_CHARACTERS = 500
"""As much of a conversation's last message as a list shows."""

_LAST = "\U0010ffff"
"""Sorts behind every other character, as bytes too."""

_LATEST = datetime(9999, 12, 31, tzinfo=UTC)

Place = tuple[datetime, datetime, int, int]
"""Where a list goes on: when it was begun; the time, the message's id and the conversation's id of
what was shown last."""


class Wanted(Protocol):
    """Which conversations a list is about; None: it does not matter."""

    @property
    def search(self) -> str | None:
        """How an address begins or ends, or a tag."""

    @property
    def tag(self) -> str | None:
        """A tag they have."""

    @property
    def closed(self) -> bool | None:
        """Whether they are closed."""

    @property
    def held(self) -> bool | None:
        """Whether a human has them."""

    @property
    def limit(self) -> int:
        """How many."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list."""

    conversations: Sequence[Mapping[str, Any]]
    next: Place | None
    """None: there is nothing more."""
    complete: bool
    """False: so many fit that not all were found; the wish should be narrower."""


@dataclass(frozen=True, slots=True)
class Custom:
    """What differs from business to business."""

    region: str
    human_hold_seconds: float


class Conversations:
    """Looks conversations up for whoever has a transaction of their business."""

    def __init__(self, customs: Mapping[str, Custom], clock: Clock) -> None:
        self._customs = customs
        self._clock = clock
        self._sql = statements("conversations")

    async def page(
        self, connection: "Connection", business_id: str, wanted: Wanted, place: Place | None
    ) -> Listed:
        """Return a page of a list, whoever has spoken last first."""
        found, complete = await self._candidates(connection, business_id, wanted)
        place = place or (self._clock.now(), _LATEST, ID_MAX, ID_MAX)
        shown: list[tuple[Place, Mapping[str, Any]]] = []
        step = max(wanted.limit + 1, STEP_MIN if _narrow(wanted) else 0)
        going_on: Place | None = place
        for _ in range(STEPS_MAX):
            heads, going_on = await self._heads(connection, business_id, found, place, step)
            shown += await self._shown(connection, business_id, wanted, place[0], heads)
            if len(shown) > wanted.limit or going_on is None:
                break
            place = going_on
        if len(shown) > wanted.limit:
            going_on = shown[wanted.limit - 1][0]
        rows = [row for _, row in shown[: wanted.limit]]
        return Listed(rows, going_on, complete)

    async def one(
        self, connection: "Connection", business_id: str, conversation_id: int
    ) -> Mapping[str, Any] | None:
        """Return a conversation; None: there is none."""
        found = await self._some(connection, business_id, [conversation_id])
        return found[0] if found else None

    async def by_address(
        self, connection: "Connection", business_id: str, address: str, kind: str | None
    ) -> Sequence[Mapping[str, Any]]:
        """Return the conversations that an address leads to, in any spelling."""
        region = self._custom(business_id).region
        rows = await conversations_of(connection, business_id, address, region)
        found = await self._some(connection, business_id, [row["id"] for row in rows])
        if kind is None:
            return found
        return [
            each
            for each in found
            if any(a["kind"] == kind for a in _leading(each, address, region))
        ]

    async def _some(
        self, connection: "Connection", business_id: str, ids: Sequence[int]
    ) -> list[Mapping[str, Any]]:
        place = (_LATEST, _LATEST, ID_MAX, ID_MAX)
        heads, _ = await self._heads(connection, business_id, ids, place, FOUND_MAX)
        shown = await self._shown(connection, business_id, _ANY, _LATEST, heads)
        return [row for _, row in shown]

    async def _candidates(
        self, connection: "Connection", business_id: str, wanted: Wanted
    ) -> tuple[Sequence[int] | None, bool]:
        """Return who may fit a wish that few fit, and whether these are all; None: no such wish."""
        if wanted.search is not None:
            found = await self._search(connection, business_id, wanted.search)
        elif wanted.tag is not None:
            found = await self._ids(connection, "tagged", business_id, wanted.tag)
        elif wanted.held:
            silence = self._custom(business_id).human_hold_seconds
            held = (business_id, self._clock.now(), silence)
            found = await self._ids(connection, "holding", *held)
        else:
            return None, True
        return found[:FOUND_MAX], len(found) <= FOUND_MAX

    async def _search(self, connection: "Connection", business_id: str, text: str) -> list[int]:
        region = self._custom(business_id).region
        first = [text, *identity.beginnings(text, region)]
        past = [each + _LAST for each in first]
        # A phone without what separates its digits; anything else as it stands.
        last = (first[1].removeprefix("+") if len(first) > 1 else text)[::-1]
        looked_for = (business_id, first, past, last, last + _LAST, text)
        return await self._ids(connection, "found", *looked_for)

    async def _ids(self, connection: "Connection", name: str, *arguments: Any) -> list[int]:
        rows = await connection.fetch(self._sql[name], *arguments, FOUND_MAX + 1)
        return [row[0] for row in rows]

    async def _heads(
        self,
        connection: "Connection",
        business_id: str,
        found: Sequence[int] | None,
        place: Place,
        limit: int,
    ) -> tuple[Sequence[Row], Place | None]:
        """Return the next newest messages of conversations, and where it goes on, if it does."""
        as_of, at, message_id, _ = place
        if found is not None:
            heads = await connection.fetch(self._sql["heads"], business_id, found, *place, limit)
            return heads, _place(as_of, heads[-1]) if len(heads) == limit else None
        which = (business_id, as_of, at, message_id)
        heads = await connection.fetch(self._sql["walk"], *which, limit, WALKED_MAX)
        if len(heads) == limit:
            return heads, _place(as_of, heads[-1])
        end = await connection.fetchrow(self._sql["walked_to"], *which, WALKED_MAX)
        return heads, None if end is None else (as_of, end["at"], end["id"], 0)

    async def _shown(
        self,
        connection: "Connection",
        business_id: str,
        wanted: Wanted,
        as_of: datetime,
        heads: Sequence[Row],
    ) -> list[tuple[Place, Mapping[str, Any]]]:
        ids = [head["conversation_id"] for head in heads]
        messages = [head["message_id"] for head in heads]
        silence = self._custom(business_id).human_hold_seconds
        which = (business_id, ids, messages, self._clock.now(), silence)
        filters = (wanted.closed, TEXT_CHARACTERS, wanted.tag, wanted.held)
        rows = await connection.fetch(self._sql["shown"], *which, *filters)
        return [(_place(as_of, heads[row["n"] - 1]), _told(row)) for row in rows]

    def _custom(self, business_id: str) -> Custom:
        # A business may be configured no longer while its keys still work.
        return self._customs.get(business_id, Custom("", 0))


@dataclass(frozen=True, slots=True)
class _Any:
    search: None = None
    tag: None = None
    closed: None = None
    held: None = None
    limit: int = FOUND_MAX


_ANY = _Any()


def _narrow(wanted: Wanted) -> bool:
    return (wanted.closed, wanted.held, wanted.tag) != (None, None, None)


def _place(as_of: datetime, head: Row) -> Place:
    return (as_of, head["at"], head["message_id"], head["conversation_id"])


def _leading(told: Mapping[str, Any], address: str, region: str) -> list[Mapping[str, str]]:
    spelled = {address, identity.phone(address, region)}
    return [each for each in told["addresses"] if each["value"] in spelled]


def _told(row: Row) -> dict[str, Any]:
    said = None
    if row["message_id"] is not None:
        said = {
            "id": row["message_id"],
            "author": row["author"],
            "name": row["author_name"],
            "kind": row["kind"],
            "text": row["body"],
            "at": row["event_at"],
            "revoked_at": row["revoked_at"],
        }
    return {
        "id": row["id"],
        "canonical_key": row["canonical_key"],
        "version": row["version"],
        "addresses": orjson.loads(row["addresses"]),
        "tags": list(row["tags"]),
        "closed": row["closed"],
        "hold": {"until": row["until"]} if row["held"] else None,
        "waiting": row["waiting"],
        "last_message": said,
        "created_at": row["created_at"],
        "last_customer_at": row["last_customer_at"],
        "last_assistant_at": row["last_assistant_at"],
        "last_agent_at": row["last_agent_at"],
    }
