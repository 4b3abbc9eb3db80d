"""What the HTTP side needs from the shell. Declared by the caller; wired in `app.py`."""

from typing import Protocol

from relevo.messages import Delivery, InboundMessage, Receipt


class Inbox(Protocol):
    """Where deliveries are kept before they are answered."""

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Commit everything in one body; `StoreUnavailableError` if nothing is certain."""


class Admission(Protocol):
    """Whether there is room for what comes in. Asked for every webhook: it must be cheap."""

    def overloaded(self, business_id: str) -> bool:
        """Tell whether so much waits, or is in memory, that no more of a business is taken."""

    def turns_away(self, delivery: Delivery) -> bool:
        """Tell whether it is of somebody who has too much waiting already."""


class WebhookProbe(Protocol):
    """Observes what comes in."""

    def webhook(self, outcome: str, seconds: float) -> None:
        """A webhook was answered, this long after its head was read."""

    def received(self, message: InboundMessage, delay_seconds: float | None) -> None:
        """A message was new to us; `delay_seconds` since the provider's clock."""

    def duplicates(self, count: int) -> None:
        """So many messages were known already."""

    def statuses(self, count: int) -> None:
        """So many statuses were taken in."""

    def failed(self, reason: str) -> None:
        """A message was not delivered that the provider had taken; `reason` is a word."""

    def quarantined(self, reason: str) -> None:
        """Something could not be read or stored and was kept raw."""


class AssistantProbe(Protocol):
    """Observes how it stands with the AI as a whole."""

    def assistant_braked(self) -> None:
        """A rate limit stopped everybody who uses its key."""

    def assistant_client_renewed(self) -> None:
        """So many calls were lost in a row that the client was made anew."""

    def assistant_rejected(self, reason: str) -> None:
        """A question will never be taken as it is: a bug, or the configuration."""

    def assistant_circuit(self, before: str, after: str) -> None:
        """A business's circuit is open for another reason than before; empty: closed."""


class Readiness(Protocol):
    """Whether this process can do its work."""

    async def checks(self) -> dict[str, bool]:
        """Return every check by name; ready is when all hold."""
