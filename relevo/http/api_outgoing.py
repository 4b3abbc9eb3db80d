"""Messages out by the API: said now or at a time, cancelled, and how they stand."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from http import HTTPMethod
from typing import Annotated, Protocol

from pydantic import ConfigDict, Field

from relevo.clock import Clock
from relevo.http.api_endpoints import Asked, Endpoint
from relevo.http.api_ports import Transaction
from relevo.http.api_problems import Problem, invalid, not_found
from relevo.http.api_shapes import (
    ID_MAX,
    SEEN,
    CursorText,
    Fits,
    Given,
    Instant,
    Limit,
    Nothing,
    Taken,
    cursor,
    read_cursor,
)
from relevo.keys import Scope
from relevo.messages import Author, ConversationKey
from relevo.outgoing import WAITING_MAX, Draft, Outgoing, Refusal, Status
from relevo.prompt import OPERATOR_CHARACTERS_MAX, REPLY_PART_CHARACTERS_MAX

AHEAD_MAX = timedelta(days=366)
"""How long before its time something may be asked for."""

_CONFLICTS = {
    Refusal.NEVER_WROTE: "The customer has never written, and nobody may write first: wait.",
    Refusal.TOO_MUCH: f"{WAITING_MAX} messages wait here already; cancel some, or wait for them.",
    Refusal.NOT_SCHEDULED: "Only what is scheduled can be cancelled; see its `status`.",
}
Text = Annotated[
    str,
    Field(min_length=1, max_length=REPLY_PART_CHARACTERS_MAX),
    Fits(
        rf"[\x01-\x20\x7f-\xa0]*{SEEN}[^\x00]*",
        "should have something that can be seen, and no NUL",
    ),
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=OPERATOR_CHARACTERS_MAX),
    Fits(
        rf"[\x20\x80-\xa0]*{SEEN}[^\x00-\x1f\x7f]*",
        "should be a name on one line, without control characters",
    ),
]


class NewMessage(Taken):
    """What is to be said."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "Su mesa está lista.", "agent": "Ana"}]}
    )

    text: Text
    """Some lines take less than this; the problem says how much."""
    agent: Name | None = None
    """Who says it, if a person does: the AI is silent then, as after any colleague's message.

    Without one it is an automation's: a campaign, a reminder.
    """
    due_at: Instant | None = None
    """When; at once without it."""


class Page(Taken):
    """A page of a list, newest first."""

    cursor: CursorText | None = None
    limit: Limit = 50


class Sent(Given):
    """A message out. `status` and, if it is refused or failed, the word for why say how it stands.

    scheduled → queued → sending → sent → delivered → read; or cancelled, refused, failed.
    """

    id: int
    conversation_id: int
    author: Author
    name: str
    """The person's, if an agent."""
    text: str
    due_at: datetime
    created_at: datetime
    message_id: int | None
    """Its message in the thread, once its time has come."""
    status: Status
    reason: str
    sent_at: datetime | None


class SentList(Given):
    """Newest first; `next` is the cursor of the older ones."""

    outgoing: Sequence[Sent]
    next: str | None


class Sends(Protocol):
    """The business's messages out."""

    async def line_of(self, transaction: Transaction, key: ConversationKey, /) -> str | None:
        """Return the channel a customer is reached by; None: he has never written."""

    async def ask(
        self, transaction: Transaction, key: ConversationKey, draft: Draft, now: datetime, /
    ) -> int | Refusal:
        """Have something said; return its id."""

    async def cancel(
        self, transaction: Transaction, business_id: str, outgoing_id: int, now: datetime, /
    ) -> Refusal | None:
        """Have it never be said."""

    async def find(
        self, transaction: Transaction, business_id: str, outgoing_id: int, /
    ) -> Outgoing | None:
        """Return one as it stands."""

    async def page(
        self, transaction: Transaction, key: ConversationKey, before_id: int, limit: int, /
    ) -> Sequence[Outgoing] | None:
        """Return a conversation's with lower ids, newest first; None: it is not known."""


class _Desk:
    """Answers what is asked about messages out."""

    def __init__(
        self,
        sends: Sends,
        clock: Clock,
        expect: Callable[[datetime], None],
        characters_max: Callable[[str], int],
    ) -> None:
        self._sends = sends
        self._clock = clock
        self._expect = expect
        self._characters_max = characters_max

    async def say(self, asked: Asked[Nothing, NewMessage]) -> object:
        """Have something said."""
        now, body = self._clock.now(), asked.body
        _refuse_other_times(body.due_at, now)
        key = ConversationKey(asked.business_id, asked.path["id"])
        line = await self._sends.line_of(asked.transaction, key)
        if line is not None and len(body.text) > (most := self._characters_max(line)):
            raise invalid("body.text", f"Should have at most {most} characters on this line.")
        author = Author.AUTOMATION if body.agent is None else Author.AGENT
        draft = Draft(body.text, author, body.agent or "", body.due_at, asked.caller.key_id)
        sent = await self._sends.ask(asked.transaction, key, draft, now)
        if isinstance(sent, Refusal):
            raise _why_not(sent, "conversation")
        stands = await self._sends.find(asked.transaction, asked.business_id, sent)
        if body.due_at is not None:
            asked.after(partial(self._expect, body.due_at))
        elif stands is not None:
            asked.wake(stands.conversation_id)  # which may be another one's by now
        return stands

    async def cancel(self, asked: Asked[Nothing, Nothing]) -> object:
        """Have it never be said."""
        which = (asked.transaction, asked.business_id, asked.path["id"])
        refusal = await self._sends.cancel(*which, self._clock.now())
        if refusal is not None:
            raise _why_not(refusal, "message out")
        return await self._sends.find(*which)

    async def one(self, asked: Asked[Nothing, Nothing]) -> object:
        """Tell how one stands."""
        sent = await self._sends.find(asked.transaction, asked.business_id, asked.path["id"])
        if sent is None:
            raise not_found("message out")
        return sent

    async def page(self, asked: Asked[Page, Nothing]) -> object:
        """Tell how those of a conversation stand."""
        limit, before_id = asked.query.limit, ID_MAX
        if asked.query.cursor is not None:
            (before_id,) = read_cursor(asked.query.cursor, [int])
        key = ConversationKey(asked.business_id, asked.path["id"])
        found = await self._sends.page(asked.transaction, key, before_id, limit + 1)
        if found is None:
            raise not_found("conversation")
        next_ = cursor(found[limit - 1].id) if len(found) > limit else None
        return {"outgoing": found[:limit], "next": next_}


def outgoing_endpoints(
    sends: Sends,
    clock: Clock,
    expect: Callable[[datetime], None],
    characters_max: Callable[[str], int],
) -> list[Endpoint]:
    """Return what can be asked about messages out.

    `expect` hears when something will be due, `characters_max` says how long a text a line takes.
    """
    desk = _Desk(sends, clock, expect, characters_max)
    return [
        Endpoint(
            name="send_message",
            method=HTTPMethod.POST,
            path="/conversations/{id}/messages",
            scope=Scope.SEND,
            summary="Have something said in a conversation, now or at a time.",
            handler=desk.say,
            body=NewMessage,
            answer=Sent,
            status=202,
            problems=("conflict",),
        ),
        Endpoint(
            name="list_outgoing",
            method=HTTPMethod.GET,
            path="/conversations/{id}/outgoing",
            scope=Scope.READ,
            summary="What was asked to be said in a conversation, newest first, as it stands.",
            handler=desk.page,
            query=Page,
            answer=SentList,
        ),
        Endpoint(
            name="get_outgoing",
            method=HTTPMethod.GET,
            path="/outgoing/{id}",
            scope=Scope.READ,
            summary="One message out, as it stands.",
            handler=desk.one,
            answer=Sent,
        ),
        Endpoint(
            name="cancel_outgoing",
            method=HTTPMethod.POST,
            path="/outgoing/{id}/cancel",
            scope=Scope.SEND,
            summary="Have a scheduled message never be sent.",
            handler=desk.cancel,
            answer=Sent,
            problems=("conflict",),
        ),
    ]


def _refuse_other_times(due_at: datetime | None, now: datetime) -> None:
    if due_at is not None and not now < due_at <= now + AHEAD_MAX:
        detail = f"`due_at` has passed, or is more than {AHEAD_MAX.days} days ahead; give another,"
        raise Problem("conflict", f"{detail} or leave it out to have it said now.")


def _why_not(refusal: Refusal, what: str) -> Problem:
    if refusal is Refusal.UNKNOWN:
        return not_found(what)
    return Problem("conflict", _CONFLICTS[refusal])
