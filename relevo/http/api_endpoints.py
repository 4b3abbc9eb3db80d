"""What an endpoint of the API is declared by, and what its handler is asked."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPMethod
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from relevo.http.api_ports import Transaction
from relevo.http.api_shapes import Nothing
from relevo.keys import Caller, Scope

Q = TypeVar("Q", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Asked(Generic[Q, B]):
    """What an endpoint is asked: everything is read and checked, and the transaction is open."""

    caller: Caller
    transaction: Transaction
    path: Mapping[str, Any]
    """By the name in the route: `id` is a whole number, everything else a text."""
    query: Q
    body: B
    _woken: list[int] = field(default_factory=list)
    _after: list[Callable[[], None]] = field(default_factory=list)

    @property
    def business_id(self) -> str:
        """Return whose business it is."""
        return self.caller.business_id

    def wake(self, conversation_id: int) -> None:
        """Have a customer's actor look at the rows, once they are committed."""
        self._woken.append(conversation_id)

    def after(self, deed: Callable[[], None]) -> None:
        """Have something done once what was asked is committed."""
        self._after.append(deed)


Handler = Callable[[Asked[Any, Any]], Awaitable[object]]
"""Does what was asked and returns what `answer` can be made of; raises Problem to do nothing."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that can be asked of the API. GETs see a snapshot; everything else may write."""

    name: str
    """For programs that are made from the document."""
    method: HTTPMethod
    path: str
    """Below the prefix, in aiohttp's way of writing a route."""
    scope: Scope
    summary: str
    handler: Handler
    answer: type[BaseModel]
    query: type[BaseModel] = Nothing
    body: type[BaseModel] = Nothing
    """May be missing if every field of it may."""
    status: int = 200
    problems: tuple[str, ...] = ()
    """Words of the problems that only this one has."""

    @property
    def of_conversation(self) -> bool:
        """Tell whether it is about the conversation that its path names."""
        return self.path.startswith("/conversations/{id}")

    @property
    def writes(self) -> bool:
        """Tell whether it may change anything."""
        return self.method is not HTTPMethod.GET
