"""What the tests of the Evolution channel share. Phones and secrets are made up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from relevo.http.channels import ChannelAdapter
from relevo.http.evolution import EvolutionChannel, EvolutionSettings, gateway_pace
from relevo.http.pace import Slots
from relevo.http.session import open_session
from relevo.messages import Address
from relevo.outcomes import History
from tests.fakes.clock import ManualClock
from tests.fakes.evolution import INSTANCE, Chat, FakeEvolution

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
PHONE = "15550101234"
LID = "88001122334455"
CHAT = Chat(PHONE, LID)
ANA = Address("phone", PHONE)
ANA_LID = Address("lid", LID)


class Line:
    """A channel, seen through its port, with an Evolution behind it, at ten o'clock."""

    channel: ChannelAdapter

    def __init__(
        self, clock: ManualClock, evolution: FakeEvolution, session: aiohttp.ClientSession
    ) -> None:
        self.clock, self.evolution, self.session = clock, evolution, session
        self.settings = EvolutionSettings(
            business_id="shop",
            channel_id="shop-evolution",
            base_url=f"{evolution.base_url}/",
            instance=INSTANCE,
            api_key=evolution.key,
            webhook_secret="s3cret",
            page_size=5,
        )
        self.configure()

    def configure(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)
        pace = gateway_pace(self.clock, Slots(99))
        self.channel = EvolutionChannel(self.settings, self.session, self.clock, pace)

    def says(self, *texts: str, chat: Chat = CHAT, seconds_ago: int = 60, **more: Any) -> None:
        """Somebody writes, a second after another."""
        begun_at = self.clock.now() - timedelta(seconds=seconds_ago)
        for number, text in enumerate(texts):
            self.evolution.say(chat, text, begun_at + timedelta(seconds=number), **more)

    async def recall(self, seconds: float = 3600, *, address: Address = ANA) -> History:
        return await self.channel.history(address, NOW - timedelta(seconds=seconds), urgent=True)

    def advance(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))


@asynccontextmanager
async def opened_line() -> AsyncIterator[Line]:
    clock = ManualClock(NOW)
    async with FakeEvolution(clock) as evolution, open_session() as session:
        yield Line(clock, evolution, session)


def texts(history: History) -> list[str]:
    return [item.body for item in history.items]
