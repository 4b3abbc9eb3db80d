"""What went wrong, by the API: dead letters, and bodies that could not be read or stored."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPMethod
from typing import Annotated, Protocol

from pydantic import PlainSerializer

from relevo.http.api_endpoints import Asked, Endpoint
from relevo.http.api_ports import Transaction
from relevo.http.api_problems import not_found
from relevo.http.api_shapes import (
    ID_MAX,
    CursorText,
    Given,
    Limit,
    Nothing,
    Switch,
    Taken,
    cursor,
    read_cursor,
)
from relevo.http.api_turns import Turn
from relevo.keys import Scope

Body = Annotated[
    bytes,
    PlainSerializer(lambda raw: base64.b64encode(raw).decode(), return_type=str),
]


class Page(Taken):
    """A page of a list, newest first."""

    cursor: CursorText | None = None
    limit: Limit = 50
    all: Switch = False
    """Also what is dealt with."""


class DeadLetter(Given):
    """A turn that was given up. Its id is the turn's."""

    turn_id: int
    conversation_id: int
    canonical_key: str
    stage: str
    reason: str
    purpose: str
    created_at: datetime
    closed_at: datetime | None
    closed_as: str | None
    waiting: int
    """Messages of it that nobody has answered or been told."""
    under_way: bool
    """Some of them are in an open turn."""


class DeadLetters(Given):
    """Newest first; `next` is the cursor of the older ones."""

    dead_letters: Sequence[DeadLetter]
    next: str | None


class Quarantined(Given):
    """A delivered body that was set aside."""

    id: int
    channel_id: str
    reason: str
    received_at: datetime
    size_bytes: int
    replayed_at: datetime | None


class QuarantinedBody(Quarantined):
    """The same with the body, in base64."""

    body: Body


class Quarantine(Given):
    """Newest first; `next` is the cursor of the older ones."""

    quarantine: Sequence[Quarantined]
    next: str | None


class DeadLetterTurn(DeadLetter):
    """A dead letter with its turn: messages, verdict, recall, missed, outbox."""

    turn: Turn


class Letters(Protocol):
    """The business's dead letters."""

    async def page(
        self,
        transaction: Transaction,
        business_id: str,
        before_id: int,
        limit: int,
        /,
        *,
        closed: bool,
    ) -> Sequence[object]:
        """Return those with lower ids, newest first."""

    async def told(
        self, transaction: Transaction, business_id: str, turn_id: int, /
    ) -> Mapping[str, object] | None:
        """Return one with its `turn`."""


class Bodies(Protocol):
    """What the business has set aside."""

    async def page(
        self,
        transaction: Transaction,
        business_id: str,
        before_id: int,
        limit: int,
        /,
        *,
        replayed: bool,
    ) -> Sequence[object]:
        """Return those with lower ids, newest first."""

    async def told(
        self, transaction: Transaction, business_id: str, kept_id: int, /
    ) -> Mapping[str, object] | None:
        """Return one with its `body`."""


def letter_endpoints(letters: Letters, bodies: Bodies) -> list[Endpoint]:
    """Return what can be asked about dead letters and the quarantine."""
    asking = _Asking(letters, bodies)
    return [
        Endpoint(
            name="list_dead_letters",
            method=HTTPMethod.GET,
            path="/dead-letters",
            scope=Scope.OPERATE,
            summary="Turns that were given up, newest first.",
            handler=asking.letters,
            query=Page,
            answer=DeadLetters,
        ),
        Endpoint(
            name="get_dead_letter",
            method=HTTPMethod.GET,
            path="/dead-letters/{id}",
            scope=Scope.OPERATE,
            summary="One of them with its turn, messages and evidence.",
            handler=asking.letter,
            answer=DeadLetterTurn,
        ),
        Endpoint(
            name="list_quarantine",
            method=HTTPMethod.GET,
            path="/quarantine",
            scope=Scope.OPERATE,
            summary="Bodies that could not be read or stored, newest first, without the bodies.",
            handler=asking.bodies,
            query=Page,
            answer=Quarantine,
        ),
        Endpoint(
            name="get_quarantined",
            method=HTTPMethod.GET,
            path="/quarantine/{id}",
            scope=Scope.OPERATE,
            summary="One of them with its body.",
            handler=asking.body,
            answer=QuarantinedBody,
        ),
    ]


class _Asking:
    """The handlers."""

    def __init__(self, letters: Letters, bodies: Bodies) -> None:
        self._letters = letters
        self._bodies = bodies

    async def letters(self, asked: Asked[Page, Nothing]) -> object:
        limit = asked.query.limit
        which = (asked.transaction, asked.business_id, _before(asked.query), limit + 1)
        rows = await self._letters.page(*which, closed=asked.query.all)
        found = [DeadLetter.model_validate(row) for row in rows]
        older = cursor(found[limit - 1].turn_id) if len(found) > limit else None
        return {"dead_letters": found[:limit], "next": older}

    async def letter(self, asked: Asked[Nothing, Nothing]) -> object:
        which = (asked.transaction, asked.business_id, asked.path["id"])
        told = await self._letters.told(*which)
        if told is None:
            raise not_found("dead letter")
        return told

    async def bodies(self, asked: Asked[Page, Nothing]) -> object:
        limit = asked.query.limit
        which = (asked.transaction, asked.business_id, _before(asked.query), limit + 1)
        rows = await self._bodies.page(*which, replayed=asked.query.all)
        found = [Quarantined.model_validate(row) for row in rows]
        older = cursor(found[limit - 1].id) if len(found) > limit else None
        return {"quarantine": found[:limit], "next": older}

    async def body(self, asked: Asked[Nothing, Nothing]) -> object:
        which = (asked.transaction, asked.business_id, asked.path["id"])
        told = await self._bodies.told(*which)
        if told is None:
            raise not_found("body in the quarantine")
        return told


def _before(query: Page) -> int:
    """Return below which id a page begins."""
    if query.cursor is None:
        return ID_MAX
    (before_id,) = read_cursor(query.cursor, [int])
    return int(before_id)
