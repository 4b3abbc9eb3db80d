"""What the tests of the Cloud API's channels share. Phones and secrets are made up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from relevo.http.cloud_api import CloudApiChannel, CloudApiSettings
from relevo.http.session import open_session
from relevo.messages import Address
from relevo.outcomes import Accepted, NotAccepted
from tests.fakes.clock import ManualClock
from tests.fakes.cloud_api import LINE, FakeCloudApi, Sending

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
PHONE = "16505551234"
ANA = Address("phone", f"+{PHONE}")
ANA_BSUID = Address("bsuid", "US.13491208655302741918")
APP_SECRET = "made-up-app-secret"
VERIFY_TOKEN = "made-up-verify-token"


class Line:
    """A channel with a Cloud API behind it, at ten o'clock."""

    channel: CloudApiChannel

    def __init__(
        self, clock: ManualClock, meta: FakeCloudApi, session: aiohttp.ClientSession
    ) -> None:
        self.clock, self.meta, self.session = clock, meta, session
        self.settings = CloudApiSettings(
            business_id="hotel",
            channel_id="hotel-meta",
            kind="cloud_api",
            base_url=meta.base_url,
            token=meta.token,
            webhook_secret=APP_SECRET,
            phone_number_id=LINE,
            verify_token=VERIFY_TOKEN,
        )
        self.configure()

    def configure(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)
        self.channel = CloudApiChannel(self.settings, self.session, self.clock)

    def by_360dialog(self) -> None:
        self.configure(kind="360dialog", base_url=self.meta.root, phone_number_id="")

    async def send(self, *sendings: Sending, to: Address = ANA) -> Accepted | NotAccepted:
        self.meta.send_next(*sendings)
        return await self.channel.send(to, "hello", "relevo-1")

    def advance(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))


@asynccontextmanager
async def opened_line() -> AsyncIterator[Line]:
    clock = ManualClock(NOW)
    async with FakeCloudApi(clock) as meta, open_session() as session:
        yield Line(clock, meta, session)
