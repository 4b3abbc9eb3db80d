"""Threads by the API: what was said, with what was missed and the gaps, and the turns behind it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPMethod
from typing import Annotated, Protocol

from pydantic import BeforeValidator, Field

from relevo.http.api_endpoints import Asked, Endpoint
from relevo.http.api_ports import Transaction
from relevo.http.api_problems import not_found
from relevo.http.api_shapes import (
    ID_MAX,
    CursorText,
    Given,
    Limit,
    Nothing,
    Taken,
    cursor,
    read_cursor,
    whole,
)
from relevo.http.api_turns import Turn
from relevo.keys import Scope
from relevo.messages import Author

Place = tuple[datetime, int]

TURNS_MAX = 20
"""A turn has the texts of up to two hundred messages with it: more at once would hold up others."""


class ThreadPage(Taken):
    """Which part of a thread: its end, or what is before a cursor, or after one, or between two."""

    before: CursorText | None = None
    """`older` of a page."""
    after: CursorText | None = None
    """`newer` of a page."""
    limit: Limit = 50


class TurnsPage(Taken):
    """A page of turns, newest first."""

    cursor: CursorText | None = None
    limit: Annotated[int, Field(ge=1, le=TURNS_MAX, strict=True), BeforeValidator(whole)] = (
        TURNS_MAX
    )


class Silence(Given):
    """Before this message the customer was silent for so long that it was a gap, or never there."""

    turn_id: int
    verdict: str
    silence_seconds: float | None
    threshold_seconds: float
    recall: str
    """How asking the provider for what happened meanwhile ended."""


class Message(Given):
    """Something that was said."""

    id: int
    author: Author
    name: str
    """The colleague's or the customer's, as the provider gives it."""
    kind: str
    text: str
    """Empty once it is revoked."""
    media: str
    channel_id: str
    source: str
    at: datetime
    """By the provider's clock; threads are in this order."""
    received_at: datetime
    edits: int | None
    """Of kind `edit`: the message whose text this is since. The AI had been told the old one."""
    edited_at: datetime | None
    revoked_at: datetime | None
    status: str
    """Of a message of ours, as the provider tells it: sent, delivered, read, failed; or nothing."""
    sending: str | None
    """Of a message of ours, where its sending stands."""
    reason: str
    """Why it was not sent, in a word."""
    fate: str | None
    """Of a customer's message, what became of it."""
    waits_as: str | None
    """Why the AI was not told of it yet; null: it was."""
    turn_id: int | None
    missed_by_turn_id: int | None
    """The AI had missed it, and was told by this turn."""
    silence: Silence | None


class Thread(Given):
    """A page of a thread, oldest first. `older` and `newer` are cursors for `before` and `after`.

    `older` is null at the beginning, and where there is no message. `newer` stays good: asked later
    it brings what was said since, but not what was said before and is found later.
    """

    messages: Sequence[Message]
    older: str | None
    newer: str | None


class Turns(Given):
    """Newest first; `next` is the cursor of the older ones."""

    turns: Sequence[Turn]
    next: str | None


class Threads(Protocol):
    """What was said, and why."""

    async def messages(
        self,
        transaction: Transaction,
        business_id: str,
        conversation_id: int,
        between: tuple[Place | None, Place | None],
        limit: int,
        /,
    ) -> tuple[Sequence[Mapping[str, object]], Place | None, Place | None] | None:
        """Return a page after one place and before another, and where older and newer go on."""

    async def turns(
        self,
        transaction: Transaction,
        business_id: str,
        conversation_id: int,
        before_id: int,
        limit: int,
        /,
    ) -> Sequence[Mapping[str, object]] | None:
        """Return turns of lower ids, newest first."""


def thread_endpoints(threads: Threads) -> list[Endpoint]:
    """Return what can be asked about threads."""
    asking = _Asking(threads)
    return [
        Endpoint(
            name="list_messages",
            method=HTTPMethod.GET,
            path="/conversations/{id}/messages",
            scope=Scope.READ,
            summary="What was said, in order; gaps and what the AI had missed are marked.",
            handler=asking.messages,
            query=ThreadPage,
            answer=Thread,
        ),
        Endpoint(
            name="list_turns",
            method=HTTPMethod.GET,
            path="/conversations/{id}/turns",
            scope=Scope.READ,
            summary="The turns with their evidence, newest first: why something was (not) said.",
            handler=asking.turns,
            query=TurnsPage,
            answer=Turns,
        ),
    ]


class _Asking:
    """The handlers."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    async def messages(self, asked: Asked[ThreadPage, Nothing]) -> object:
        which = (asked.transaction, asked.business_id, asked.path["id"])
        page = await self._threads.messages(*which, _between(asked.query), asked.query.limit)
        if page is None:
            raise not_found("conversation")
        messages, older, newer = page
        return {
            "messages": messages,
            "older": None if older is None else cursor(*older),
            "newer": None if newer is None else cursor(*newer),
        }

    async def turns(self, asked: Asked[TurnsPage, Nothing]) -> object:
        limit, before_id = asked.query.limit, ID_MAX
        if asked.query.cursor is not None:
            (before_id,) = read_cursor(asked.query.cursor, [int])
        which = (asked.transaction, asked.business_id, asked.path["id"])
        found = await self._threads.turns(*which, before_id, limit + 1)
        if found is None:
            raise not_found("conversation")
        older = cursor(found[limit - 1]["id"]) if len(found) > limit else None
        return {"turns": found[:limit], "next": older}


def _between(query: ThreadPage) -> tuple[Place | None, Place | None]:
    return _place(query.after), _place(query.before)


def _place(text: str | None) -> Place | None:
    if text is None:
        return None
    at, message_id = read_cursor(text, [datetime, int])
    return at, message_id
