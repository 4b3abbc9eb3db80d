"""The simulated provider: customers, their messages, and webhooks that really go through HTTP.

It knows nothing of Relevo but the URL that webhooks go to. The business's side gives webhooks only
while `agent_webhooks` is on; what was written while it was off is known to the history alone, as
with a provider that lost a delivery.

The history lives in memory and is bounded: the customer who was quiet longest and a customer's
oldest messages go first, and a history that reaches back to what is gone says so. A webhook is
tried again while the server answers 5xx or 429 or is away; then it is given up.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus

import aiohttp
import orjson

from relevo.clock import Clock, sleep
from relevo.http.sandbox import SECRET_HEADER
from relevo.messages import Author
from relevo.tasks import Tasks

FIRST_NUMBER = 15_550_100_001  # 555-01xx belongs to made-up people
NAMES = ("Ana", "Diego", "Lucía", "Mateo", "Elena", "Tomás", "Carmen", "Bruno", "Inés", "Rafael")

_ATTEMPTS_MAX = 12
_BACKOFF_SECONDS_MAX = 30.0  # with 12 attempts: given up after about four minutes
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class Delivery(StrEnum):
    """What became of a message's webhook; `NONE` for what Relevo sent itself."""

    NONE = "none"
    OFF = "off"
    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class SandboxMessage:
    """A message as the simulated provider keeps it."""

    id: str
    phone: str
    author: Author
    name: str
    text: str
    at: datetime
    correlation_id: str = ""
    delivery: Delivery = Delivery.NONE

    def wire(self) -> dict[str, str]:
        """Return it in the format that webhooks and history share."""
        message = {
            "id": self.id,
            "phone": self.phone,
            "author": self.author.value,
            "name": self.name,
            "text": self.text,
            "at": self.at.isoformat(),
        }
        return message | ({"correlation_id": self.correlation_id} if self.correlation_id else {})


@dataclass(slots=True)
class Chat:
    """One customer at the provider; `messages` by id, oldest first."""

    phone: str
    name: str
    messages: dict[str, SandboxMessage] = field(default_factory=dict)
    forgotten_to: datetime | None = None
    """When the newest message was written that had to go."""


@dataclass(frozen=True, slots=True)
class AgentWebhooks:
    """The switch was set."""

    on: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The provider is gone: no more changes."""


Change = SandboxMessage | AgentWebhooks | Closed
Deliver = Callable[[bytes], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """How much the provider keeps: enough for a long afternoon, too little to fill a memory."""

    customers_max: int = 200
    messages_per_customer_max: int = 500
    deliveries_max: int = 1000


class SandboxProvider:
    """The simulated provider. `deliver` posts a webhook's body and tells whether it was taken."""

    def __init__(
        self,
        clock: Clock,
        deliver: Deliver,
        tasks: Tasks,
        limits: SandboxLimits | None = None,
        first_number: int = FIRST_NUMBER,
    ) -> None:
        """`first_number` is the phone of the first customer made up; the others follow it."""
        self.agent_webhooks = True
        self._first_number = first_number
        self._clock = clock
        self._deliver = deliver
        self._tasks = tasks
        self._limits = limits or SandboxLimits()
        self._chats: dict[str, Chat] = {}  # the one who was quiet longest first
        self._forgotten_to: datetime | None = None
        self._watchers: list[Callable[[Change], None]] = []
        # Ids must differ from those of earlier processes: the service has them stored.
        self._ids_prefix = f"sandbox-{int(clock.now().timestamp() * 1000):x}"
        self._written_count = 0
        self._newcomers_count = 0
        self._delivering_count = 0
        self.new_customer()

    def new_customer(self) -> Chat:
        """Make up a customer that nobody has heard of in this process."""
        phone = f"+{self._first_number + self._newcomers_count}"
        while phone in self._chats:
            self._newcomers_count += 1
            phone = f"+{self._first_number + self._newcomers_count}"
        chat = self._chat(phone)
        chat.forgotten_to = None
        chat.name = NAMES[self._newcomers_count % len(NAMES)]
        self._newcomers_count += 1
        return chat

    def write(
        self, phone: str, author: Author, text: str, *, name: str = "", correlation_id: str = ""
    ) -> SandboxMessage:
        """Keep a message, and start its webhook if this author's messages give one."""
        chat = self._chat(phone)
        self._written_count += 1
        message = SandboxMessage(
            id=f"{self._ids_prefix}-{self._written_count}",
            phone=phone,
            author=author,
            name=chat.name if author is Author.CUSTOMER else name,
            text=text,
            at=self.now(),
            correlation_id=correlation_id,
            delivery=self._delivery_of(author),
        )
        self._keep(chat, message)
        if message.delivery is Delivery.WAITING:
            self._delivering_count += 1
            self._tasks.spawn(self._post(message), name="sandbox webhook")
        return message

    def set_agent_webhooks(self, *, on: bool) -> None:
        """Let the business's side give webhooks, or not, from now on."""
        self.agent_webhooks = on
        self._tell(AgentWebhooks(on))

    def now(self) -> datetime:
        """Return the provider's own time."""
        return self._clock.now().astimezone(UTC)

    def knows(self, phone: str) -> bool:
        """Tell whether this is one of the provider's customers."""
        return phone in self._chats

    def customers(self) -> tuple[Chat, ...]:
        """Return all customers, the latest first."""
        return tuple(reversed(self._chats.values()))

    def thread(self, phone: str) -> tuple[SandboxMessage, ...]:
        """Return everything kept of a customer, oldest first."""
        return tuple(self._chats[phone].messages.values()) if phone in self._chats else ()

    def history(self, phone: str, since: datetime) -> tuple[tuple[SandboxMessage, ...], bool]:
        """Return what was said after `since`, oldest first, and whether that is all of it."""
        chat = self._chats.get(phone)
        forgotten_to = chat.forgotten_to if chat else self._forgotten_to
        complete = forgotten_to is None or forgotten_to <= since
        return tuple(message for message in self.thread(phone) if message.at > since), complete

    def watch(self, watcher: Callable[[Change], None]) -> None:
        """Tell `watcher` every change from now on."""
        self._watchers.append(watcher)

    def close(self) -> None:
        """Tell the watchers that it is over. Deliveries end with the tasks they were given to."""
        self._tell(Closed())

    def _chat(self, phone: str) -> Chat:
        """Return the customer as the latest of all, making room for a new one."""
        chat = self._chats.pop(phone, None)
        if chat is None:
            if len(self._chats) >= self._limits.customers_max:
                self._forget(self._chats.pop(next(iter(self._chats))))
            chat = Chat(phone, name="Customer", forgotten_to=self._forgotten_to)
        self._chats[phone] = chat
        return chat

    def _forget(self, chat: Chat) -> None:
        gone = [message.at for message in chat.messages.values()]
        known = [at for at in (self._forgotten_to, chat.forgotten_to) if at is not None]
        self._forgotten_to = max(gone + known, default=None)

    def _keep(self, chat: Chat, message: SandboxMessage) -> None:
        chat.messages[message.id] = message
        if len(chat.messages) > self._limits.messages_per_customer_max:
            oldest = chat.messages.pop(next(iter(chat.messages)))
            chat.forgotten_to = oldest.at
        self._tell(message)

    def _delivery_of(self, author: Author) -> Delivery:
        if author is Author.ASSISTANT:
            return Delivery.NONE
        if author is not Author.CUSTOMER and not self.agent_webhooks:
            return Delivery.OFF
        if self._delivering_count >= self._limits.deliveries_max:
            return Delivery.GIVEN_UP
        return Delivery.WAITING

    async def _post(self, message: SandboxMessage) -> None:
        try:
            taken = await self._deliver(orjson.dumps({"event": "message"} | message.wire()))
        finally:
            self._delivering_count -= 1
        chat = self._chats.get(message.phone)
        if chat is None or message.id not in chat.messages:
            return
        ended = replace(message, delivery=Delivery.DELIVERED if taken else Delivery.GIVEN_UP)
        chat.messages[message.id] = ended
        self._tell(ended)

    def _tell(self, change: Change) -> None:
        for watcher in self._watchers:
            watcher(change)


class WebhookDelivery:
    """Posts webhooks to one URL over HTTP, again and again while the server cannot take them."""

    def __init__(self, clock: Clock, session: aiohttp.ClientSession, url: str, secret: str) -> None:
        self._clock = clock
        self._session = session
        self._url = url
        self._headers = {SECRET_HEADER: secret, "Content-Type": "application/json"}

    async def __call__(self, body: bytes) -> bool:
        """Post a body until the server takes it (True), or refuses it or time is up (False)."""
        for attempt in range(_ATTEMPTS_MAX):
            if attempt:
                await sleep(self._clock, min(0.5 * 2 ** (attempt - 1), _BACKOFF_SECONDS_MAX))
            taken = await self._post(body)
            if taken is not None:
                return taken
        return False

    async def _post(self, body: bytes) -> bool | None:
        """Return whether the server took it; None if it may do so later."""
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers=self._headers,
                timeout=_TIMEOUT,
                allow_redirects=False,
            ) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            return None
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return None
        return status == HTTPStatus.OK
