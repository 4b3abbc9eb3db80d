"""What every provider writes of one person, under a phone, a second address, or both.

    async with every_house(database, folder, start, quiet_seconds=35) as lines:
        for line in lines:
            await line.hears("Hola", phone="0501234567")
            await line.echoes()              # our newest reply, told under the second address alone

The phone stands as it is given where a provider's own spelling leaves room for that.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from relevo.messages import Address
from relevo.store.embedded import DatabaseUrls
from relevo.store.inspection import why
from relevo.store.linking import link_lead
from relevo.store.merging import Fulfilled, Writer
from tests.every_line import PUBLIC_URL, configuration, named
from tests.fakes.cloud_api import FakeCloudApi, echo, signed, text, webhook
from tests.fakes.evolution import Chat, FakeEvolution, Said
from tests.fakes.manychat import SUBSCRIBER, FakeManyChat, full_contact
from tests.fakes.twilio import FakeTwilio
from tests.fakes.wati import FakeWati
from tests.house import SECRET, TOKEN, House

REGION = "IL"
PHONE = "+972501234567"
BSUID = Address("bsuid", "IL.13491208655302741918")


class Line(ABC):
    """A line in the house, and the provider that stands behind it."""

    kind: str
    second = BSUID
    """The address that this provider knows a person under besides the phone."""
    hides_phone = True
    """The second address may come without a phone."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.business = named(self.kind)
        self._numbers = itertools.count(1)

    @abstractmethod
    def says(self, said: str, *, phone: str = "", second: bool = False) -> bytes:
        """Return what the provider posts for a customer's message."""

    @abstractmethod
    def replies(self) -> list[str]:
        """Return what the customer got."""

    def echo(self) -> bytes:
        """Return what the provider posts of our newest reply, empty where it posts nothing."""
        return b""

    def headers(self, body: bytes) -> dict[str, str]:  # noqa: ARG002  (some sign it)
        """Return what proves that the provider has posted it."""
        return {"X-Relevo-Secret": SECRET}

    async def posts(self, body: bytes) -> int:
        url = f"{self.house.url}/webhooks/{self.business}"
        headers = self.headers(body)
        async with self.house.session.post(url, data=body, headers=headers) as response:
            return response.status

    async def hears(self, said: str, *, phone: str = "", second: bool = False) -> None:
        assert await self.posts(self.says(said, phone=phone, second=second)) == 200

    async def echoes(self) -> None:
        if body := self.echo():
            assert await self.posts(body) == 200

    async def is_lead(self, lead: str) -> None:
        """The CRM says who this is."""
        now = self.house.clock.now()
        writer = Writer(self.house.relevo.database.pools, REGION, incarnation=0)
        done = await link_lead(writer, self.business, ("phone", "", PHONE), lead, now)
        assert done.fulfilled is Fulfilled.LED

    async def told(self, address: str = PHONE) -> list[dict[str, Any]]:
        """Return the customer's turns, oldest first."""
        pools = self.house.relevo.database.pools
        found = await why(pools, self.business, address, REGION)
        return [turn for conversation in found for turn in reversed(conversation["turns"])]

    async def rows(self, statement: str) -> list[Any]:
        """Ask the database about this business, which is `$1`."""
        return await self.house.rows(statement, self.business)


class WatiLine(Line):
    kind = "wati"

    def __init__(self, house: House, provider: FakeWati) -> None:
        super().__init__(house)
        self.provider = provider

    def says(self, said: str, *, phone: str = "", second: bool = False) -> bytes:
        message = self.provider.customer_message(PHONE.lstrip("+"), said, self.house.clock.now())
        bsuid = self.second.value if second else None
        return orjson.dumps(message.webhook() | {"waId": phone or None, "bsuid": bsuid})

    def echo(self) -> bytes:
        sent = self.provider.sends[-1].said.webhook("_bsuid", waid=False)
        return orjson.dumps(sent | {"bsuid": self.second.value})

    def replies(self) -> list[str]:
        return [sent.text for sent in self.provider.sends]


class CloudApiLine(Line):
    kind = "cloud_api"

    def __init__(self, house: House, provider: FakeCloudApi) -> None:
        super().__init__(house)
        self.provider = provider

    def says(self, said: str, *, phone: str = "", second: bool = False) -> bytes:
        of_second = {"from_user_id": self.second.value} if second else {}
        number = f"wamid.{next(self._numbers)}"
        message = text(number, phone, said, self.house.clock.now(), **of_second)
        if not phone:
            del message["from"]
        return webhook(message)

    def echo(self) -> bytes:
        sent = self.provider.sends[-1]
        said = sent.message["text"]["body"]
        whole = orjson.loads(echo(sent.id, "", said, sent.at, to_user_id=self.second.value))
        del whole["entry"][0]["changes"][0]["value"]["message_echoes"][0]["to"]
        return orjson.dumps(whole)

    def replies(self) -> list[str]:
        return [sent.message["text"]["body"] for sent in self.provider.sends]

    def headers(self, body: bytes) -> dict[str, str]:
        return signed(body, SECRET)


class D360Line(CloudApiLine):
    kind = "360dialog"

    def headers(self, body: bytes) -> dict[str, str]:
        return Line.headers(self, body)


class EvolutionLine(Line):
    kind = "evolution"
    second = Address("lid", "88001122334455")

    def __init__(self, house: House, provider: FakeEvolution) -> None:
        super().__init__(house)
        self.provider = provider

    def says(self, said: str, *, phone: str = "", second: bool = False) -> bytes:
        chat = Chat(phone.lstrip("+"), self.second.value if second else "")
        return orjson.dumps(self.provider.say(chat, said, self.house.clock.now()).webhook())

    def echo(self) -> bytes:
        sent = self.provider.said[-1]
        assert sent.from_me
        moved = Said(sent.id, Chat(lid=self.second.value), True, sent.content, sent.at)  # noqa: FBT003  (from us)
        return orjson.dumps(moved.webhook("send.message"))

    def replies(self) -> list[str]:
        return [said for _, said in self.provider.sends]


class TwilioLine(Line):
    kind = "twilio"

    def __init__(self, house: House, provider: FakeTwilio) -> None:
        super().__init__(house)
        self.provider = provider

    def says(self, said: str, *, phone: str = "", second: bool = False) -> bytes:
        message = self.provider.say(PHONE, "customer", said, self.house.clock.now())
        bsuid = f"whatsapp:{self.second.value}" if second else ""
        sender = f"whatsapp:{phone}" if phone else bsuid
        more = {"From": sender, "WaId": phone.lstrip("+"), "ExternalUserId": bsuid}
        return FakeTwilio.webhook(message, **more)

    def echo(self) -> bytes:
        sent = self.provider.said[-1]
        to = f"whatsapp:{self.second.value}"
        return FakeTwilio.status(sent.sid, "delivered", To=to, ExternalUserId=to)

    def replies(self) -> list[str]:
        return [sent["Body"] for sent in self.provider.sends]

    def headers(self, body: bytes) -> dict[str, str]:
        return FakeTwilio.signed(f"{PUBLIC_URL}/twilio", body, TOKEN)


class ManyChatLine(Line):
    """The subscriber is in every message, so it is a phone that is second here."""

    kind = "manychat"
    second = Address("subscriber", str(SUBSCRIBER))
    hides_phone = False

    def __init__(self, house: House, provider: FakeManyChat) -> None:
        super().__init__(house)
        self.provider = provider

    def says(self, said: str, *, phone: str = "", second: bool = False) -> bytes:  # noqa: ARG002  (it always is)
        contact = full_contact(said, self.house.clock.now(), whatsapp_phone=phone or None)
        return orjson.dumps(contact)

    def replies(self) -> list[str]:
        return self.provider.texts()


@asynccontextmanager
async def every_house(
    database: DatabaseUrls, folder: Path, start: datetime, **settings: Any
) -> AsyncIterator[tuple[House, tuple[Line, ...]]]:
    """Open a house with a line at every provider; each is another business's."""
    house = House(database, folder, start)
    async with AsyncExitStack() as stack:
        meta = await stack.enter_async_context(FakeCloudApi(house.clock, token=TOKEN))
        d360 = await stack.enter_async_context(FakeCloudApi(house.clock, token=TOKEN))
        gateway = await stack.enter_async_context(FakeEvolution(house.clock, key=TOKEN))
        twilio = await stack.enter_async_context(FakeTwilio(house.clock, token=TOKEN))
        manychat = await stack.enter_async_context(FakeManyChat(house.clock, token=TOKEN))
        wati = await stack.enter_async_context(FakeWati(house.clock, token=TOKEN))
        urls = {
            "wati": wati.base_url,
            "cloud_api": meta.base_url,
            "360dialog": d360.root,
            "evolution": gateway.base_url,
            "twilio": twilio.base_url,
            "manychat": manychat.base_url,
        }
        house.more_configuration = configuration(urls, REGION, urls, **settings)
        lines = (
            WatiLine(house, wati),
            CloudApiLine(house, meta),
            D360Line(house, d360),
            EvolutionLine(house, gateway),
            TwilioLine(house, twilio),
            ManyChatLine(house, manychat),
        )
        async with house:
            yield house, lines
