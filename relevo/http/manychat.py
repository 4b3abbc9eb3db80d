"""ManyChat's adapter: one object a configured line.

* A flow's External Request brings what a customer says, with our secret as a header or in the URL;
  nothing is signed. What else happens in the chat is told by nobody: not what colleagues write in
  Live Chat, not what became of a message, and there is no history to ask.
* While a flow runs ManyChat may leave out texts that come in quick succession; nothing here can
  know of them.
* Replies leave by sendContent. It gives no id and has no idempotent call: whatever happens once its
  first byte may have left is UNKNOWN, unless ManyChat answers. sendFlow takes no text of ours.
* A contact is written to by the subscriber's number. Where only a phone is known (one that another
  line had, or the first of two bodies that came together) it is asked for first.
* Everything expected is data, its reasons are fixed words, and none holds a text or a number.
"""

from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus

import aiohttp

from relevo.clock import Clock
from relevo.errors import ProviderError
from relevo.events import SendFailure
from relevo.http.abilities import Abilities
from relevo.http.channels import WebhookRequest
from relevo.http.fields import read_object
from relevo.http.line_gate import Line, LinePass
from relevo.http.manychat_reading import SUBSCRIBER, arrivals, subscriber_of
from relevo.http.manychat_sending import send_answer, send_body
from relevo.http.pace import within
from relevo.http.provider_api import (
    LEAVES_WITHIN_SECONDS,
    PAUSE_SECONDS_MAX,
    ProviderAnswer,
    ProviderCall,
    bare_token,
    called,
    sent_in_time,
)
from relevo.http.secrets import carries_secret
from relevo.messages import Address, Arrival
from relevo.outcomes import Accepted, History, NotAccepted
from relevo.turns import RecallStatus

ANSWER_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ManyChatSettings:
    """A line at ManyChat. `base_url` is without /fb; `token` is page:key, as ManyChat shows it."""

    business_id: str
    channel_id: str
    base_url: str
    token: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    send_timeout_seconds: float = 15


ABILITIES = Abilities(
    proof="our secret, in a header or the URL",
    message_id="none: made of subscriber, text and `last_interaction` (see below)",
    clock="`last_interaction`, if it has an offset; else ours",
    addresses=("subscriber", "phone", "bsuid"),
    changes="",
    moves="",
    history="",
    statuses="",
    colleagues="",
    echoes="",
    found_by="",
    window="code 3011",
)


class ManyChatChannel(Line):
    """A business's line at ManyChat, both ways. The session is shared and stays its owner's."""

    abilities = ABILITIES

    def __init__(
        self, settings: ManyChatSettings, session: aiohttp.ClientSession, clock: Clock
    ) -> None:
        super().__init__(settings.business_id, settings.channel_id, clock)
        self._settings = settings
        self._session = session
        self._clock = clock

    def authenticate(self, request: WebhookRequest) -> bool:
        """Tell whether the request carries our secret, as a header or in the URL."""
        return carries_secret(self._settings.webhook_secret, request)

    def parse(self, body: bytes) -> tuple[Arrival, ...]:
        """Read a body. Never raises: what cannot be read is `Unusable`, at least one entry."""
        return arrivals(body, self._clock.now())

    async def history(
        self,
        address: Address,  # noqa: ARG002  (the protocol's signature)
        since: datetime,  # noqa: ARG002  (the same)
        *,
        urgent: bool,  # noqa: ARG002  (the same)
    ) -> History:
        """Say that nobody can be asked."""
        return History(RecallStatus.UNAVAILABLE, reason="no_history")

    async def send(
        self, address: Address, text: str, correlation_id: str
    ) -> Accepted | NotAccepted:
        """Give a text to ManyChat; success means that it took it, not that it was delivered."""
        given = self._gate.admit()
        if isinstance(given, NotAccepted):
            return given
        begun_at = self._clock.monotonic()
        subscriber = await self._subscriber(address, given)
        if isinstance(subscriber, NotAccepted):
            return subscriber
        taken_seconds = self._clock.monotonic() - begun_at
        body = send_body(subscriber, text)
        answer = await sent_in_time(
            self._clock,
            lambda: self._ask("POST", "sending/sendContent", body=body),
            self._settings.send_timeout_seconds,
            taken_seconds,
        )
        if isinstance(answer, NotAccepted):
            return answer
        outcome = send_answer(answer.status, answer.body, correlation_id)
        return self._gate.judged(given, outcome, _asked_pause(answer.retry_after))

    async def _subscriber(self, address: Address, given: LinePass) -> str | NotAccepted:
        """Return whom to write to. Nothing has left yet, whatever goes wrong here."""
        if address.kind == SUBSCRIBER:
            return subscriber_of(address.value) or NotAccepted(
                SendFailure.REJECTED, "no_subscriber"
            )
        if address.kind != "phone":
            return NotAccepted(SendFailure.REJECTED, "no_subscriber")
        try:
            async with within(self._clock, LEAVES_WITHIN_SECONDS):
                phone = {"phone": address.value}
                answer = await self._ask("GET", "subscriber/findBySystemField", query=phone)
        except (TimeoutError, ProviderError) as error:
            reason = error.reason if isinstance(error, ProviderError) else "timeout"
            return NotAccepted(SendFailure.NOT_SENT, reason)
        if answer.status == HTTPStatus.OK:
            return _found(answer.body) or NotAccepted(SendFailure.REJECTED, "no_subscriber")
        outcome = send_answer(answer.status, answer.body, "")
        if isinstance(outcome, Accepted):  # another 2xx than 200, which names nobody
            return NotAccepted(SendFailure.REJECTED, "no_subscriber")
        refused = self._gate.refused(given, outcome, _asked_pause(answer.retry_after))
        if refused.failure is SendFailure.UNKNOWN:
            return NotAccepted(SendFailure.NOT_SENT, refused.reason)
        return refused

    async def _ask(
        self, method: str, name: str, *, query: dict[str, str] | None = None, body: bytes = b""
    ) -> ProviderAnswer:
        url = f"{self._settings.base_url.rstrip('/')}/fb/{name}"
        headers = {"Authorization": f"Bearer {bare_token(self._settings.token)}"}
        if body:
            headers["Content-Type"] = "application/json"
        call = ProviderCall(method, url, headers, query, body or None, ANSWER_BYTES_MAX)
        return await called(self._session, call)


def _found(body: bytes) -> str:
    """Return the number of the one contact with a phone; empty if there is none, or several."""
    data = (read_object(body) or {}).get("data")
    contacts = data if isinstance(data, list) else [data]
    found = {subscriber_of(each.get("id")) for each in contacts if isinstance(each, dict)}
    return found.pop() if len(found) == 1 else ""


def _asked_pause(retry_after: str) -> float | None:
    """Read a Retry-After in seconds, within bounds; None if there is none to read."""
    if not (retry_after.isascii() and retry_after.isdigit()):
        return None
    return float(min(max(int(retry_after[:9]), 1), PAUSE_SECONDS_MAX))
