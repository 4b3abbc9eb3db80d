"""What went wrong is made good, by the API: dead letters retried or dropped, bodies read again."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from http import HTTPMethod
from typing import Protocol

from relevo.clock import Clock
from relevo.http.api_endpoints import Asked, Endpoint
from relevo.http.api_ports import Transaction
from relevo.http.api_problems import Problem, not_found
from relevo.http.api_shapes import Given, Nothing
from relevo.keys import Scope

_WHY_NOT = {
    "closed": "It is closed already; see `closed_as`.",
    "of_a_send": "It is a message out, which answers nobody; have it said again instead.",
    "waits_for_nothing": "Its messages were answered, told or dropped since: nothing is left.",
    "under_way": "Its messages are in a turn that is under way; see how that ends.",
}
"""By what the store calls it."""


class Dealt(Given):
    """A dead letter that was retried or dropped."""

    turn_id: int
    conversation_id: int
    messages: int
    """How many of the customer's messages waited with it."""


class Replayed(Given):
    """A body that was read again: all of it, unless `reasons` say what still cannot be used."""

    id: int
    replayed: bool
    reasons: Sequence[str]


class DealtWith(Protocol):
    """What became of a letter."""

    @property
    def conversation_id(self) -> int:
        """Whose it was."""

    @property
    def messages(self) -> int:
        """How many waited with it."""


class Letters(Protocol):
    """The business's dead letters; both return why not, in a word, if so."""

    async def retry(
        self, transaction: Transaction, business_id: str, turn_id: int, now: datetime, /
    ) -> DealtWith | str:
        """Ask for an answer to what waits."""

    async def drop(
        self, transaction: Transaction, business_id: str, turn_id: int, now: datetime, /
    ) -> DealtWith | str:
        """Have its messages wait no longer."""


Replay = Callable[[Transaction, str, int, datetime], Awaitable[Sequence[str] | None]]
"""Reads a kept body again: why some of it still cannot be used; None: there is no such body."""


def repair_endpoints(letters: Letters, replay: Replay, clock: Clock) -> list[Endpoint]:
    """Return what can be done about dead letters and the quarantine."""

    async def retry(asked: Asked[Nothing, Nothing]) -> object:
        which = (asked.transaction, asked.business_id, asked.path["id"], clock.now())
        return _dealt(asked, await letters.retry(*which))

    async def drop(asked: Asked[Nothing, Nothing]) -> object:
        which = (asked.transaction, asked.business_id, asked.path["id"], clock.now())
        return _dealt(asked, await letters.drop(*which))

    async def read_again(asked: Asked[Nothing, Nothing]) -> object:
        kept_id = asked.path["id"]
        reasons = await replay(asked.transaction, asked.business_id, kept_id, clock.now())
        if reasons is None:
            raise not_found("body in the quarantine")
        return {"id": kept_id, "replayed": not reasons, "reasons": sorted(set(reasons))}

    return [
        Endpoint(
            name="retry_dead_letter",
            method=HTTPMethod.POST,
            path="/dead-letters/{id}/retry",
            scope=Scope.OPERATE,
            summary="Have its messages answered now; ends a hold.",
            handler=retry,
            answer=Dealt,
            status=202,
            problems=("conflict",),
        ),
        Endpoint(
            name="drop_dead_letter",
            method=HTTPMethod.POST,
            path="/dead-letters/{id}/drop",
            scope=Scope.OPERATE,
            summary="Never answer its messages by themselves.",
            handler=drop,
            answer=Dealt,
            problems=("conflict",),
        ),
        Endpoint(
            name="replay_quarantined",
            method=HTTPMethod.POST,
            path="/quarantine/{id}/replay",
            scope=Scope.OPERATE,
            summary="Read a body again and deliver it; what is known already stays as it is.",
            handler=read_again,
            answer=Replayed,
        ),
    ]


def _dealt(asked: Asked[Nothing, Nothing], dealt: DealtWith | str) -> object:
    if not isinstance(dealt, str):
        asked.wake(dealt.conversation_id)
        turn_id = asked.path["id"]
        return {
            "turn_id": turn_id,
            "conversation_id": dealt.conversation_id,
            "messages": dealt.messages,
        }
    if dealt not in _WHY_NOT:
        raise not_found("dead letter")
    raise Problem("conflict", _WHY_NOT[dealt])
