"""The protocol that every provider's adapter speaks: authenticate, parse, history, send, abilities.

One file a provider, one object a configured channel. Adding a provider is a recipe in CONTRIBUTING.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from relevo.http.abilities import Abilities
from relevo.messages import Address, Arrival
from relevo.outcomes import Accepted, History, NotAccepted


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """What an adapter may look at: header names are lower case or any, `body` is the raw bytes.

    `raw_query` is the query as it came: a signature may cover it.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    raw_query: str = ""


class ChannelAdapter(Protocol):
    """A business's line at a provider, both ways."""

    @property
    def business_id(self) -> str:
        """The business whose line this is."""

    @property
    def channel_id(self) -> str:
        """The id under which webhooks name this line."""

    @property
    def stopped(self) -> bool:
        """Tell whether the provider lets this line send nothing, as far as we know."""

    def authenticate(self, request: WebhookRequest) -> bool:
        """Tell whether the request comes from the provider; constant time, fails closed."""

    def parse(self, body: bytes) -> tuple[Arrival, ...]:
        """Read a body. Never raises: what cannot be read is `Unusable`, at least one entry."""

    async def history(self, address: Address, since: datetime, *, urgent: bool) -> History:
        """Ask what was said with this customer after `since`. Never raises for the provider."""

    async def send(
        self, address: Address, text: str, correlation_id: str
    ) -> Accepted | NotAccepted:
        """Give a text to the provider. Never raises for the provider."""

    @property
    def abilities(self) -> Abilities:
        """What this line can do, and what its provider never tells."""


@runtime_checkable
class Challenged(Protocol):
    """What an adapter offers too whose provider asks, by GET, whether a webhook's address is ours.

    `runtime_checkable`, so that the other adapters have nothing to say about it.
    """

    def challenge(self, query: Mapping[str, str]) -> str | None:
        """Return what the provider wants to hear back; None if it is not the provider."""
