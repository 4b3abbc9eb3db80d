"""Evolution API's adapter: one object a configured line, which is an instance of the gateway.

* Nothing Evolution sends is signed, so a webhook must carry our secret; without one set, none is
  let in. It never sends again what was answered 400, 401, 403, 404 or 422, and may append an
  event's name to the URL (`webhookByEvents`).
* History is findMessages, which has what the gateway was set to keep (`DATABASE_SAVE_DATA_*`).
* There is no idempotent send and no correlation id: whatever happens once its first byte may have
  left is UNKNOWN, unless Evolution says that it came before the send. It leaves within
  `LEAVES_WITHIN_SECONDS` or not at all. Redirects are never followed, answers never read beyond
  `ANSWER_BYTES_MAX`.
* Everything expected is data, its reasons are fixed words, and none holds a text or a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from relevo.clock import Clock
from relevo.errors import ProviderError
from relevo.events import SendFailure
from relevo.http.abilities import Abilities
from relevo.http.channels import WebhookRequest
from relevo.http.evolution_fields import jid_of
from relevo.http.evolution_history import Page, Reading, bare, history_page
from relevo.http.evolution_reading import arrivals
from relevo.http.evolution_sending import send_answer
from relevo.http.fields import scrubbed
from relevo.http.line_gate import Line
from relevo.http.pace import Pace, Slots, within
from relevo.http.provider_api import ProviderAnswer, ProviderCall, called, pause_of, sent_in_time
from relevo.http.secrets import carries_secret
from relevo.messages import Address, Arrival, InboundMessage
from relevo.outcomes import Accepted, History, NotAccepted
from relevo.turns import RecallStatus

CALLS = 20
CALLS_PERIOD_SECONDS = 1.0
"""The gateway has no limit of its own, but it is one process, with one database."""
CALLS_URGENT_ONLY = 5
ADDRESSES_REMEMBERED_MAX = 20_000


@dataclass(frozen=True, slots=True)
class EvolutionSettings:
    """A line at Evolution. `base_url` is the gateway's, `api_key` its own or the instance's."""

    business_id: str
    channel_id: str
    base_url: str
    instance: str
    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    recall_pages_max: int = 10
    recall_timeout_seconds: float = 10
    send_timeout_seconds: float = 15
    page_size: int = 50


def gateway_pace(clock: Clock, slots: Slots) -> Pace:
    """Make the pace of all recalls of one gateway; all providers share `slots`."""
    return Pace(
        clock,
        tokens=CALLS,
        period_seconds=CALLS_PERIOD_SECONDS,
        reserved=CALLS_URGENT_ONLY,
        slots=slots,
    )


ABILITIES = Abilities(
    proof="our secret, in a header or the URL",
    message_id="WhatsApp's",
    clock="seconds",
    addresses=("phone", "lid"),
    changes="both sides'",
    moves="",
    history="as far as the gateway keeps it",
    statuses="sent, delivered, read, failed without a reason",
    colleagues="without a name",
    echoes="under WhatsApp's id",
    found_by="its words, in an echo or the history",
    window="",
)


class EvolutionChannel(Line):
    """A business's line at Evolution, both ways. The session is shared and stays its owner's."""

    abilities = ABILITIES

    def __init__(
        self, settings: EvolutionSettings, session: aiohttp.ClientSession, clock: Clock, pace: Pace
    ) -> None:
        """`pace` is the gateway's: its lines are given the same one."""
        super().__init__(settings.business_id, settings.channel_id, clock)
        self._settings = settings
        self._session = session
        self._clock = clock
        self._pace = pace
        self._known_as: dict[Address, tuple[Address, ...]] = {}

    def authenticate(self, request: WebhookRequest) -> bool:
        """Tell whether the request carries our secret, as a header or in the webhook's URL.

        A gateway that is set to name events appends a name to whatever the URL ends with.
        """
        query = {"secret": request.query.get("secret", "").rpartition("/")[0]}
        return any(
            carries_secret(self._settings.webhook_secret, each)
            for each in (request, replace(request, query=query))
        )

    def parse(self, body: bytes) -> tuple[Arrival, ...]:
        """Read a body. Never raises: what cannot be read is `Unusable`, at least one entry."""
        found = arrivals(body, self._settings.instance)
        for arrival in found:
            if isinstance(arrival, InboundMessage) and len(arrival.addresses) > 1:
                self._remember(arrival.addresses)
        return found

    async def history(self, address: Address, since: datetime, *, urgent: bool) -> History:
        """Ask what was said with this customer after `since`; `recall_pages_max` calls at most."""
        reading = Reading(address, since, self._known_as.get(bare(address), ()))
        if (question := reading.question) is None:
            return reading.ended(RecallStatus.FAILED, "no_address")
        timeout_seconds = self._settings.recall_timeout_seconds
        ends_at = self._clock.monotonic() + timeout_seconds
        try:
            async with within(self._clock, timeout_seconds):
                for _ in range(self._settings.recall_pages_max):
                    left_seconds = ends_at - self._clock.monotonic()
                    asked = question.body(self._settings.page_size)
                    page = await self._page(asked, left_seconds, urgent=urgent)
                    if (question := reading.take(page, self._settings.page_size)) is None:
                        return reading.ended(RecallStatus.COMPLETE)
        except TimeoutError:
            return reading.ended(RecallStatus.FAILED, "timeout")
        except ProviderError as error:
            return reading.ended(RecallStatus.FAILED, error.reason)
        return reading.ended(RecallStatus.TRUNCATED, "pages")

    async def send(
        self,
        address: Address,
        text: str,
        correlation_id: str,  # noqa: ARG002  (Evolution has no place for it)
    ) -> Accepted | NotAccepted:
        """Give a text to Evolution; its answer means that it went to WhatsApp, not further."""
        if not (number := _number(address)):
            return NotAccepted(SendFailure.REJECTED, "no_address")
        given = self._gate.admit()
        if isinstance(given, NotAccepted):
            return given
        content = {"number": number, "text": scrubbed(text)}
        answer = await sent_in_time(
            self._clock,
            lambda: self._ask("message/sendText", content),
            self._settings.send_timeout_seconds,
        )
        if isinstance(answer, NotAccepted):
            return answer
        outcome = send_answer(answer.status, answer.body)
        return self._gate.judged(given, outcome, pause_of(answer.retry_after))

    def _remember(self, addresses: tuple[Address, ...]) -> None:
        """Keep what one person is called; a message that opens a turn has just told it."""
        for address in addresses:
            self._known_as.pop(address, None)
            self._known_as[address] = addresses
        while len(self._known_as) > ADDRESSES_REMEMBERED_MAX:
            del self._known_as[next(iter(self._known_as))]

    async def _page(
        self, question: Mapping[str, Any], left_seconds: float, *, urgent: bool
    ) -> Page:
        async with self._pace.call(urgent=urgent, timeout_seconds=left_seconds) as granted:
            if not granted:
                raise ProviderError("rate_limited")
            answer = await self._ask("chat/findMessages", question)
        if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise ProviderError(f"http_{answer.status}")
        return history_page(answer.body)

    async def _ask(self, name: str, content: Mapping[str, Any]) -> ProviderAnswer:
        instance = quote(self._settings.instance, safe="")
        url = f"{self._settings.base_url.rstrip('/')}/{name}/{instance}"
        headers = {"apikey": self._settings.api_key, "Content-Type": "application/json"}
        call = ProviderCall("POST", url, headers, body=orjson.dumps(content))
        return await called(self._session, call)


def _number(address: Address) -> str:
    """Return `number` as a send takes it: a phone's digits, or a lid's JID; empty: neither."""
    return address.value.lstrip("+") if address.kind == "phone" else jid_of(address)
