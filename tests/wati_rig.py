"""What the tests of the WATI channel share. Phones and secrets are made up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from relevo.http.channels import ChannelAdapter
from relevo.http.pace import Slots
from relevo.http.session import open_session
from relevo.http.wati import WatiChannel, WatiSettings, tenant_pace
from relevo.messages import Address
from relevo.outcomes import History
from tests.fakes.clock import ManualClock
from tests.fakes.wati import FakeWati

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
PHONE = "15550101234"
ANA = Address("phone", PHONE)


class Line:
    """A channel, seen through its port, with a WATI behind it, at ten o'clock."""

    channel: ChannelAdapter

    def __init__(self, clock: ManualClock, wati: FakeWati, session: aiohttp.ClientSession) -> None:
        self.clock, self.wati, self.session = clock, wati, session
        self.settings = WatiSettings(
            business_id="hotel",
            channel_id="hotel-wati",
            base_url=wati.base_url,
            token=f"Bearer {wati.token}",
            webhook_secret="s3cret",
            page_size=5,
            recall_pages_max=4,
        )
        self.configure()

    def configure(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)
        pace = tenant_pace(self.clock, Slots(99))
        self.channel = WatiChannel(self.settings, self.session, self.clock, pace)

    def agent_says(self, *texts: str, seconds_ago: int = 60) -> None:
        """A colleague writes, a second after another."""
        begun_at = self.clock.now() - timedelta(seconds=seconds_ago)
        for number, text in enumerate(texts):
            self.wati.agent_message(PHONE, text, begun_at + timedelta(seconds=number), "Maria")

    async def recall(
        self, seconds: float = 3600, *, urgent: bool = True, address: Address = ANA
    ) -> History:
        since = NOW - timedelta(seconds=seconds)
        return await self.channel.history(address, since, urgent=urgent)

    def advance(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))


@asynccontextmanager
async def opened_line() -> AsyncIterator[Line]:
    clock = ManualClock(NOW)
    async with FakeWati(clock) as wati, open_session() as session:
        yield Line(clock, wati, session)


def texts(history: History) -> list[str]:
    return [item.body for item in history.items]
