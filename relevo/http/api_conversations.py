"""Conversations by the API: listed by who has spoken last, searched, looked up."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPMethod
from typing import Annotated, Protocol

from pydantic import Field

from relevo.http.api_endpoints import Asked, Endpoint
from relevo.http.api_ports import Transaction
from relevo.http.api_problems import Problem, not_found
from relevo.http.api_shapes import (
    CursorText,
    Given,
    Limit,
    Line,
    Nothing,
    Switch,
    Taken,
    cursor,
    read_cursor,
)
from relevo.keys import Scope
from relevo.messages import Author

Place = tuple[datetime, datetime, int, int]

SEARCH_CHARACTERS_MIN = 2


class Wanted(Taken):
    """Which conversations; everything that is given has to fit."""

    cursor: CursorText | None = None
    """`next` of the page before; the other parameters as they were."""
    limit: Limit = 50
    search: Annotated[Line, Field(min_length=SEARCH_CHARACTERS_MIN)] | None = None
    """How a phone (in any spelling), a lead or another address begins or ends, or a whole tag."""
    tag: Line | None = None
    """A whole tag."""
    closed: Switch | None = None
    held: Switch | None = None
    """Whether a human has the chat."""


class ByAddress(Taken):
    """What kind of address it is, should two of different kinds read the same."""

    kind: Line | None = None


class Address(Given):
    """Where the customer is reached; `scope` is the channel or portfolio it belongs to."""

    kind: str
    scope: str
    value: str


class Hold(Given):
    """A human has the chat. `until` is null if only a person ends it."""

    until: datetime | None


class LastMessage(Given):
    """What was said last: the first 500 characters. What was revoked has no text any more."""

    id: int
    author: Author
    name: str
    kind: str
    text: str
    at: datetime
    revoked_at: datetime | None


class Conversation(Given):
    """One person at this business."""

    id: int
    canonical_key: str
    """Whom it is with, by the best of the addresses; changes when a better one is learned."""
    version: int
    """Rises with whatever is changed, but not with each message that comes."""
    addresses: Sequence[Address]
    tags: Sequence[str]
    closed: bool
    """Until the customer or a colleague writes again."""
    hold: Hold | None
    waiting: int
    """Messages of the customer that nobody has answered."""
    last_message: LastMessage | None
    created_at: datetime
    last_customer_at: datetime | None
    """As of the last turn."""
    last_assistant_at: datetime | None
    """As of the last turn."""
    last_agent_at: datetime | None
    """As of the last turn."""


class ConversationList(Given):
    """A page, whoever has spoken last first. `next` is null at the end; a page may be short."""

    conversations: Sequence[Conversation]
    next: str | None
    complete: bool
    """False: so many fit that some are not in the list; ask more narrowly."""


class Page(Protocol):
    """What the store gives."""

    @property
    def conversations(self) -> Sequence[Mapping[str, object]]:
        """The conversations."""

    @property
    def next(self) -> Place | None:
        """Where it goes on."""

    @property
    def complete(self) -> bool:
        """Whether these are all there are."""


class Conversations(Protocol):
    """The business's conversations."""

    async def page(
        self, transaction: Transaction, business_id: str, wanted: Wanted, place: Place | None, /
    ) -> Page:
        """Return a page of the list."""

    async def one(
        self, transaction: Transaction, business_id: str, conversation_id: int, /
    ) -> Mapping[str, object] | None:
        """Return one."""

    async def by_address(
        self, transaction: Transaction, business_id: str, address: str, kind: str | None, /
    ) -> Sequence[Mapping[str, object]]:
        """Return those that an address leads to."""


def conversation_endpoints(conversations: Conversations) -> list[Endpoint]:
    """Return what can be asked about conversations."""
    asking = _Asking(conversations)
    return [
        Endpoint(
            name="list_conversations",
            method=HTTPMethod.GET,
            path="/conversations",
            scope=Scope.READ,
            summary="Conversations, whoever has spoken last first.",
            handler=asking.page,
            query=Wanted,
            answer=ConversationList,
        ),
        Endpoint(
            name="get_conversation_by_address",
            method=HTTPMethod.GET,
            path="/conversations/by-address/{address:.+}",
            scope=Scope.READ,
            summary="The conversation that a phone (in any spelling) or another address leads to.",
            handler=asking.by_address,
            query=ByAddress,
            answer=Conversation,
            problems=("conflict",),
        ),
        Endpoint(
            name="get_conversation",
            method=HTTPMethod.GET,
            path="/conversations/{id}",
            scope=Scope.READ,
            summary="One conversation.",
            handler=asking.one,
            answer=Conversation,
        ),
    ]


class _Asking:
    """The handlers."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    async def page(self, asked: Asked[Wanted, Nothing]) -> object:
        place = None
        if asked.query.cursor is not None:
            as_of, at, message_id, conversation_id = read_cursor(
                asked.query.cursor, [datetime, datetime, int, int]
            )
            place = (as_of, at, message_id, conversation_id)
        found = await self._conversations.page(
            asked.transaction, asked.business_id, asked.query, place
        )
        return {
            "conversations": found.conversations,
            "next": None if found.next is None else cursor(*found.next),
            "complete": found.complete,
        }

    async def by_address(self, asked: Asked[ByAddress, Nothing]) -> object:
        which = (asked.path["address"], asked.query.kind)
        found = await self._conversations.by_address(asked.transaction, asked.business_id, *which)
        if not found:
            raise not_found("conversation")
        if len(found) > 1:
            ids = ", ".join(str(each["id"]) for each in found)
            raise Problem(
                "conflict",
                f"This leads to conversations {ids}; say which `kind` of address it is, or take "
                "one of these ids.",
            )
        return found[0]

    async def one(self, asked: Asked[Nothing, Nothing]) -> object:
        which = (asked.transaction, asked.business_id, asked.path["id"])
        found = await self._conversations.one(*which)
        if found is None:
            raise not_found("conversation")
        return found
