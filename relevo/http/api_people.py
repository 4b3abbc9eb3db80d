"""What people do with a chat, by the API: hold it, give it back, want an answer, tag, close."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPMethod
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, ConfigDict, Field

from relevo.clock import Clock
from relevo.http.api_conversations import Conversation
from relevo.http.api_endpoints import Asked, Endpoint
from relevo.http.api_ports import Transaction
from relevo.http.api_problems import Problem, not_found
from relevo.http.api_shapes import Instant, Label, Nothing, Taken, integer
from relevo.keys import Scope
from relevo.messages import ConversationKey

HOLD_MINUTES_MAX = 366 * 24 * 60
TAGS_MAX = 50


Minutes = Annotated[int, Field(ge=1, le=HOLD_MINUTES_MAX, strict=True), BeforeValidator(integer)]


class NewHold(Taken):
    """How long: so many minutes, until an instant, or what of both is longer.

    Neither: until somebody gives the chat back.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"minutes": 30}]})

    minutes: Minutes | None = None
    until: Instant | None = None


class Tags(Taken):
    """All tags that a customer is to have; each lowers what the configuration says of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tags": ["vip"]}]})

    tags: Annotated[list[Label], Field(max_length=TAGS_MAX)]


Deed = Callable[[Asked[Any, Any], ConversationKey], Awaitable[object]]


class Told(Protocol):
    """How a conversation stands, as the store tells it."""

    async def one(
        self, transaction: Transaction, business_id: str, conversation_id: int, /
    ) -> Mapping[str, object] | None:
        """Return one."""


class Holding(Protocol):
    """Holds, and answers that are asked for."""

    UNTIL_RESUMED: datetime

    async def put_hold(
        self, transaction: Transaction, key: ConversationKey, until: datetime, /
    ) -> bool:
        """Stay silent until then; False: there is no such conversation."""

    async def end_hold(
        self, transaction: Transaction, key: ConversationKey, now: datetime, /
    ) -> object | None:
        """Stay silent no longer; None: there is no such conversation."""

    async def ask(
        self, transaction: Transaction, key: ConversationKey, word: str, now: datetime, /
    ) -> int:
        """Have what waits answered; return how many messages."""


class Chats(Protocol):
    """What is noted about chats."""

    async def tag(
        self, transaction: Transaction, key: ConversationKey, tags: Sequence[str], /
    ) -> bool:
        """Give a chat these tags; False: there is no such conversation."""

    async def close(
        self, transaction: Transaction, key: ConversationKey, at: datetime | None, /
    ) -> bool:
        """Close it, or open it (None); False: there is no such conversation."""


class _Desk:
    """Does what people want; each deed returns nothing true if there is no such conversation."""

    def __init__(self, told: Told, holding: Holding, chats: Chats, clock: Clock) -> None:
        self._told = told
        self._holding = holding
        self._chats = chats
        self._clock = clock

    async def hold(self, asked: Asked[Nothing, NewHold], key: ConversationKey) -> object:
        until = _hold_ends_at(asked.body, self._clock.now()) or self._holding.UNTIL_RESUMED
        return await self._holding.put_hold(asked.transaction, key, until)

    async def resume(self, asked: Asked[Nothing, Nothing], key: ConversationKey) -> object:
        return await self._holding.end_hold(asked.transaction, key, self._clock.now())

    async def answer(self, asked: Asked[Nothing, Nothing], key: ConversationKey) -> object:
        now = self._clock.now()
        if await self._told.one(asked.transaction, *key) is None:
            return False
        if not await self._holding.ask(asked.transaction, key, "answer", now):
            raise Problem("conflict", "Nothing waits for an answer here; nothing was changed.")
        return True

    async def tag(self, asked: Asked[Nothing, Tags], key: ConversationKey) -> object:
        return await self._chats.tag(asked.transaction, key, sorted(set(asked.body.tags)))

    async def close(self, asked: Asked[Nothing, Nothing], key: ConversationKey) -> object:
        return await self._chats.close(asked.transaction, key, self._clock.now())

    async def reopen(self, asked: Asked[Nothing, Nothing], key: ConversationKey) -> object:
        return await self._chats.close(asked.transaction, key, None)

    def endpoint(self, summary: str, path: str, deed: Deed, **more: Any) -> Endpoint:
        """Return what does it, and answers how the conversation stands then."""

        async def handler(asked: Asked[Any, Any]) -> object:
            key = ConversationKey(asked.business_id, asked.path["id"])
            if not await deed(asked, key):
                raise not_found("conversation")
            asked.wake(key.conversation_id)
            return await self._told.one(asked.transaction, *key)

        declared = {"name": f"{path}_conversation", "method": HTTPMethod.POST}
        return Endpoint(
            path=f"/conversations/{{id}}/{path}",
            scope=Scope.MANAGE,
            summary=summary,
            handler=handler,
            answer=Conversation,
            **{**declared, **more},
        )


def people_endpoints(told: Told, holding: Holding, chats: Chats, clock: Clock) -> list[Endpoint]:
    """Return what can be done with a chat."""
    desk = _Desk(told, holding, chats, clock)
    now = {"status": 202, "problems": ("conflict",)}
    tags = {"name": "tag_conversation", "method": HTTPMethod.PUT, "body": Tags}
    return [
        desk.endpoint(
            "Have the AI stay silent: a human has the chat.",
            "hold",
            desk.hold,
            body=NewHold,
            problems=("conflict",),
        ),
        desk.endpoint(
            "Give the chat back to the AI; what came stays unanswered.", "resume", desk.resume
        ),
        desk.endpoint(
            "Have the AI answer now what waits; ends a hold.", "answer", desk.answer, **now
        ),
        desk.endpoint("Close the chat, until somebody writes again.", "close", desk.close),
        desk.endpoint("Open the chat again.", "reopen", desk.reopen),
        desk.endpoint(
            "Give the customer these tags instead of all others.", "tags", desk.tag, **tags
        ),
    ]


def _hold_ends_at(asked: NewHold, now: datetime) -> datetime | None:
    most = now + timedelta(minutes=HOLD_MINUTES_MAX)
    if asked.until is not None and not now < asked.until <= most:
        detail = "`until` has passed, or is more than 366 days ahead; give another,"
        raise Problem("conflict", f"{detail} or leave it out to hold the chat until it is resumed.")
    for_long = None if asked.minutes is None else now + timedelta(minutes=asked.minutes)
    return max((at for at in (for_long, asked.until) if at is not None), default=None)
