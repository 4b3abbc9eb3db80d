"""What the tests of the Twilio channel share. Phones and secrets are made up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from relevo.http.channels import ChannelAdapter
from relevo.http.pace import Slots
from relevo.http.session import open_session
from relevo.http.twilio import TwilioChannel, TwilioSettings, account_pace
from relevo.messages import Address
from relevo.outcomes import History
from tests.fakes.clock import ManualClock
from tests.fakes.twilio import ACCOUNT, SENDER, TOKEN, FakeTwilio

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
PHONE = "+15550101234"
ANA = Address("phone", PHONE)
URL = "https://relevo.example.com/webhooks/hotel-twilio"


class Line:
    """A channel, seen through its port, with a Twilio behind it, at ten o'clock."""

    channel: ChannelAdapter

    def __init__(
        self, clock: ManualClock, twilio: FakeTwilio, session: aiohttp.ClientSession
    ) -> None:
        self.clock, self.twilio, self.session = clock, twilio, session
        self.settings = TwilioSettings(
            business_id="hotel",
            channel_id="hotel-twilio",
            account_sid=ACCOUNT,
            sender=SENDER,
            public_url=URL,
            token=TOKEN,
            base_url=twilio.base_url,
            recall_pages_max=4,
        )
        self.configure()

    def configure(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)
        pace = account_pace(self.clock, Slots(99))
        self.channel = TwilioChannel(self.settings, self.session, self.clock, pace)

    async def recall(self, seconds: float = 3600, *, address: Address = ANA) -> History:
        since = NOW - timedelta(seconds=seconds)
        return await self.channel.history(address, since, urgent=True)

    def ago(self, seconds: float) -> datetime:
        return NOW - timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))


@asynccontextmanager
async def opened_line() -> AsyncIterator[Line]:
    clock = ManualClock(NOW)
    async with FakeTwilio(clock) as twilio, open_session() as session:
        yield Line(clock, twilio, session)
