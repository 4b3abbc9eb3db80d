"""What is configured, as the actors ask for it: rules, lines and the AI of each business."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from relevo.actors.ports import Assistant, Channel
from relevo.events import SendFailure
from relevo.messages import Address
from relevo.outcomes import Accepted, History, NotAccepted
from relevo.settings import Config
from relevo.turns import RecallStatus, Rules

LOG = logging.getLogger(__name__)


class ConfiguredBusinesses:
    """Looks things up in the configuration; the same rules are the same object, for memory."""

    def __init__(
        self, config: Config, channels: Mapping[str, Channel], assistants: Mapping[str, Assistant]
    ) -> None:
        self._config = config
        self._channels = channels
        self._assistants = assistants
        self._rules: dict[tuple[str, frozenset[str]], Rules] = {}
        self._tags = {b.id: frozenset(b.priority) for b in config.businesses}
        self._gone: set[str] = set()

    def serves(self, business_id: str) -> bool:
        """Tell whether a business is configured; of one that is not any more, the log says it once.

        Its customers are left alone, as they are, and go on when it is configured again.
        """
        if business_id in self._tags:
            return True
        if business_id not in self._gone:
            self._gone.add(business_id)
            LOG.warning(
                "business %s is not configured and has customers who wait; they are left alone",
                business_id,
            )
        return False

    def rules(self, business_id: str, tags: Sequence[str]) -> Rules:
        """Return the rules for a customer with these tags; several tags: the smallest value."""
        known = (business_id, self._tags[business_id].intersection(tags))
        if known not in self._rules:
            self._rules[known] = self._config.rules(business_id, sorted(known[1]))
        return self._rules[known]

    def channel(self, business_id: str, channel_id: str) -> Channel:
        """Return the line; a line that is no longer configured refuses everything."""
        del business_id
        return self._channels.get(channel_id) or _GoneChannel()

    def assistant(self, business_id: str) -> Assistant:
        """Return the business's AI."""
        return self._assistants[business_id]


class _GoneChannel:
    """A line that messages came by once and that is not configured any more."""

    async def history(
        self,
        address: Address,  # noqa: ARG002  (the port's signature)
        since: datetime,  # noqa: ARG002  (the same)
        *,
        urgent: bool,  # noqa: ARG002  (the same)
    ) -> History:
        """Know nothing."""
        return History(RecallStatus.UNAVAILABLE, reason="channel_gone")

    async def send(
        self,
        address: Address,  # noqa: ARG002  (the port's signature)
        text: str,  # noqa: ARG002  (the same)
        correlation_id: str,  # noqa: ARG002  (the same)
    ) -> Accepted | NotAccepted:
        """Refuse."""
        return NotAccepted(SendFailure.REJECTED, "channel_gone")
