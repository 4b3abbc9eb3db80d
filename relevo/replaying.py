"""Bodies that were set aside go their way again: read by their line, delivered to the inbox."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from relevo.http.channels import ChannelAdapter
from relevo.store import quarantined
from relevo.store.inbox import Inbox

if TYPE_CHECKING:
    from relevo.store.pools import Connection

NOT_CONFIGURED = "its channel is not configured any more"


class Replayer:
    """What it takes to replay: the lines that read a body, and where it is delivered."""

    def __init__(self, channels: Mapping[str, ChannelAdapter], inbox: Inbox) -> None:
        """`inbox` sets nothing aside itself: what still cannot be read is kept already."""
        self._channels = channels
        self._inbox = inbox

    async def replay(
        self, connection: "Connection", business_id: str, kept_id: int, now: datetime
    ) -> list[str] | None:
        """Deliver a body again; why some of it still cannot be, if so. None: there is no such one.

        What was stored before is a duplicate, so one that was replayed already changes nothing.
        """
        found = await quarantined.kept(connection, business_id, kept_id)
        if found is None:
            return None
        aside, raw = found
        channel = self._channels.get(aside.channel_id)
        if channel is None:
            return [NOT_CONFIGURED]
        return await quarantined.replay(connection, self._inbox, found, channel.parse(raw), now)
