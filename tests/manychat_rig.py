"""What the tests of the ManyChat channel share. Phones and secrets are made up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson

from relevo.http.channels import ChannelAdapter
from relevo.http.manychat import ManyChatChannel, ManyChatSettings
from relevo.http.session import open_session
from relevo.messages import Address, Arrival, InboundMessage
from tests.fakes.clock import ManualClock
from tests.fakes.manychat import SUBSCRIBER, FakeManyChat

NOW = datetime(2026, 8, 11, 15, 4, 13, tzinfo=UTC)
ANA = Address("subscriber", str(SUBSCRIBER))


class Line:
    """A channel, seen through its port, with a ManyChat behind it."""

    channel: ChannelAdapter

    def __init__(
        self, clock: ManualClock, manychat: FakeManyChat, session: aiohttp.ClientSession
    ) -> None:
        self.clock, self.manychat, self.session = clock, manychat, session
        self.settings = ManyChatSettings(
            business_id="hotel",
            channel_id="hotel-manychat",
            base_url=f"{manychat.base_url}/",
            token=f"Bearer {manychat.token}",
            webhook_secret="s3cret",
        )
        self.configure()

    def configure(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)
        self.channel = ManyChatChannel(self.settings, self.session, self.clock)

    def advance(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))

    def parsed(self, body: object) -> Arrival:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        (arrival,) = self.channel.parse(raw)
        return arrival

    def message(self, body: object) -> InboundMessage:
        arrival = self.parsed(body)
        assert isinstance(arrival, InboundMessage), arrival
        return arrival


@asynccontextmanager
async def opened_line() -> AsyncIterator[Line]:
    clock = ManualClock(NOW)
    async with FakeManyChat(clock) as manychat, open_session() as session:
        yield Line(clock, manychat, session)
