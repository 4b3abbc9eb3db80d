"""Who a customer is, by the API: a lead of the CRM, or another address that is his too.

A link is a wish that is stored with the request and carried out right after it. If both are known
to be different customers so far, their conversations become one within seconds, or when what is
being sent has left; one of the two ids leads to the other then.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPMethod
from typing import Protocol

from pydantic import ConfigDict

from relevo.clock import Clock
from relevo.http.api_conversations import Conversation
from relevo.http.api_endpoints import Asked, Endpoint
from relevo.http.api_ports import Transaction
from relevo.http.api_problems import Problem, not_found
from relevo.http.api_shapes import Label, Line, Nothing, Taken
from relevo.keys import Scope
from relevo.messages import ConversationKey

ADDRESSES_MAX = 50
"""Of one customer; more are not linked by the API. No program's mistake makes him a thousand."""


class Lead(Taken):
    """A customer's id in the CRM."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"lead": "L-7"}]})

    lead: Label


class OtherAddress(Taken):
    """A phone in any spelling, or another address that is known."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"address": "+503 7000-0101"}]})

    address: Line


class Told(Protocol):
    """How a conversation stands, as the store tells it."""

    async def one(
        self, transaction: Transaction, business_id: str, conversation_id: int, /
    ) -> Mapping[str, object] | None:
        """Return one."""


class Links(Protocol):
    """Wishes that two addresses lead to one conversation."""

    async def to_lead(
        self, transaction: Transaction, key: ConversationKey, lead: str, now: datetime, /
    ) -> bool:
        """Wish for a lead; False: there is no such conversation."""

    async def to_address(
        self, transaction: Transaction, key: ConversationKey, text: str, now: datetime, /
    ) -> bool | int:
        """Wish for an address if it names one customer; how many it names, or False as above."""


class _Desk:
    """Stores links."""

    def __init__(self, told: Told, links: Links, clock: Clock, merge: Callable[[], None]) -> None:
        self._told = told
        self._links = links
        self._clock = clock
        self._merge = merge

    async def lead(self, asked: Asked[Nothing, Lead]) -> object:
        """Link the customer to a lead."""
        key, lead = ConversationKey(asked.business_id, asked.path["id"]), asked.body.lead
        if not await self._links.to_lead(asked.transaction, key, lead, self._clock.now()):
            raise not_found("conversation")
        return await self._linked(asked, key)

    async def address(self, asked: Asked[Nothing, OtherAddress]) -> object:
        """Link the customer to another address of his."""
        key, text = ConversationKey(asked.business_id, asked.path["id"]), asked.body.address
        named = await self._links.to_address(asked.transaction, key, text, self._clock.now())
        if named is False:
            raise not_found("conversation")
        if named == 0:
            detail = "Nobody is known under this address, and it is no phone; give his phone."
            raise Problem("conflict", detail)
        if named > 1:
            detail = "This is the address of several customers; give another one of his."
            raise Problem("conflict", detail)
        return await self._linked(asked, key)

    async def _linked(
        self, asked: Asked[Nothing, Lead] | Asked[Nothing, OtherAddress], key: ConversationKey
    ) -> object:
        told = Conversation.model_validate(await self._told.one(asked.transaction, *key))
        if len(told.addresses) >= ADDRESSES_MAX:
            detail = f"This customer has {ADDRESSES_MAX} addresses already; nothing was linked."
            raise Problem("conflict", detail)
        asked.after(self._merge)
        return told


def link_endpoints(
    told: Told, links: Links, clock: Clock, merge: Callable[[], None]
) -> list[Endpoint]:
    """Return what can be said of who a customer is; `merge` hears that there is a link."""
    desk = _Desk(told, links, clock, merge)
    return [
        Endpoint(
            name="link_lead",
            method=HTTPMethod.PUT,
            path="/conversations/{id}/lead",
            scope=Scope.MANAGE,
            summary="Say which lead of the CRM a customer is; two customers may become one.",
            handler=desk.lead,
            body=Lead,
            answer=Conversation,
            status=202,
            problems=("conflict",),
        ),
        Endpoint(
            name="link_address",
            method=HTTPMethod.POST,
            path="/conversations/{id}/addresses",
            scope=Scope.MANAGE,
            summary="Say that an address is the customer's too; two customers may become one.",
            handler=desk.address,
            body=OtherAddress,
            answer=Conversation,
            status=202,
            problems=("conflict",),
        ),
    ]
