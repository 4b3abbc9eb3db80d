"""WATI's adapter: one object a configured line.

* Nothing WATI sends is signed, so a webhook must carry our secret; without one set, none is let in.
* History is getMessages: pages from the newest on, without a filter for time. They are read until
  one reaches back past the asked instant, and may overlap. All recalls of a tenant share one pace
  (10 calls per 10 s), gap recalls before look-backs; recalls of one customer that wait for it
  share one reading.
* `recall_pages_max` and `recall_timeout_seconds` bound a recall. What was read until then is given
  back in any case; only a reading that came to its end is COMPLETE.
* There is no idempotent send: whatever happens once its first byte may have left is UNKNOWN, unless
  WATI answers. It leaves within `LEAVES_WITHIN_SECONDS` or not at all, also from a process that
  slept. Redirects are never followed, answers never read beyond `ANSWER_BYTES_MAX`.
* Everything expected is data, its reasons are fixed words, and none holds a text or a number.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import quote

import aiohttp

from relevo.clock import Clock
from relevo.errors import ProviderError
from relevo.http.abilities import Abilities
from relevo.http.channels import WebhookRequest
from relevo.http.fields import scrubbed
from relevo.http.line_gate import Line
from relevo.http.pace import Pace, Slots, within
from relevo.http.provider_api import (
    PAUSE_SECONDS_MAX,
    PAUSE_SECONDS_MIN,
    ProviderAnswer,
    ProviderCall,
    bare_token,
    called,
    sent_in_time,
)
from relevo.http.secrets import carries_secret
from relevo.http.wati_history import Page, history_page
from relevo.http.wati_reading import arrivals
from relevo.http.wati_recall import Recall
from relevo.http.wati_sending import send_answer
from relevo.messages import Address, Arrival
from relevo.outcomes import Accepted, History, NotAccepted
from relevo.turns import RecallStatus

RECALL_CALLS = 10
RECALL_CALLS_PERIOD_SECONDS = 10.0
"""getMessages' limit, for a whole tenant, on every plan (support article 11823158)."""
RECALL_CALLS_URGENT_ONLY = 3
PAUSE_SECONDS = 1.0
"""After a 429 that does not say how long; `Retry-After` is not always present."""


@dataclass(frozen=True, slots=True)
class WatiSettings:
    """A line at WATI. `base_url` is https://host/tenant, without /api; empty strings are "none"."""

    business_id: str
    channel_id: str
    base_url: str
    token: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    assistant_operator: str = ""
    """E-mail or name of the operator account that the AI sends as, if it has its own."""
    recall_pages_max: int = 10
    recall_timeout_seconds: float = 10
    send_timeout_seconds: float = 15
    page_size: int = 100


def tenant_pace(clock: Clock, slots: Slots) -> Pace:
    """Make the pace of all recalls of one tenant; all tenants share `slots`."""
    return Pace(
        clock,
        tokens=RECALL_CALLS,
        period_seconds=RECALL_CALLS_PERIOD_SECONDS,
        reserved=RECALL_CALLS_URGENT_ONLY,
        slots=slots,
    )


ABILITIES = Abilities(
    proof="our secret, in a header or the URL: nothing is signed",
    message_id="WhatsApp's and WATI's own; twins of one event are one message",
    clock="seconds",
    addresses=("phone", "bsuid", "wati"),
    changes="",
    moves="",
    history="pages, 10 calls in 10 s for a whole tenant",
    statuses="delivered, read, failed and why",
    colleagues="with the operator's name",
    echoes="under our id",
    found_by="our id, in an echo or the history; else its words",
    window="a sentence in the answer, or code 131047",
)


class WatiChannel(Line):
    """A business's line at WATI, both ways. The session is shared and stays its owner's."""

    abilities = ABILITIES

    def __init__(
        self, settings: WatiSettings, session: aiohttp.ClientSession, clock: Clock, pace: Pace
    ) -> None:
        """`pace` is the tenant's: lines of one tenant are given the same one."""
        super().__init__(settings.business_id, settings.channel_id, clock)
        self._settings = settings
        self._session = session
        self._clock = clock
        self._pace = pace
        self._recalls: dict[Address, Recall] = {}

    def authenticate(self, request: WebhookRequest) -> bool:
        """Tell whether the request carries our secret, as a header or in the URL we gave WATI."""
        return carries_secret(self._settings.webhook_secret, request)

    def parse(self, body: bytes) -> tuple[Arrival, ...]:
        """Read a body. Never raises: what cannot be read is `Unusable`, at least one entry."""
        return arrivals(body, self._settings.assistant_operator)

    async def history(self, address: Address, since: datetime, *, urgent: bool) -> History:
        """Ask what was said with this customer after `since`, or share with who is about to ask."""
        ends_at = self._clock.monotonic() + self._settings.recall_timeout_seconds
        recall = Recall(since, urgent, ends_at)
        try:
            async with within(self._clock, self._settings.recall_timeout_seconds):
                while (running := self._recalls.get(address)) and running.serves(recall):
                    shared = await asyncio.shield(running.shared)
                    if shared is not None:
                        return shared
                return await self._recall(address, recall)
        except TimeoutError:
            return recall.ended(RecallStatus.FAILED, recall.waits_for)

    async def send(
        self, address: Address, text: str, correlation_id: str
    ) -> Accepted | NotAccepted:
        """Give a text to WATI; a 200 means that it took it, not that it was delivered."""
        given = self._gate.admit()
        if isinstance(given, NotAccepted):
            return given
        query = {"messageText": scrubbed(text), "localMessageId": correlation_id}
        answer = await sent_in_time(
            self._clock,
            lambda: self._ask("POST", "sendSessionMessage", address, query),
            self._settings.send_timeout_seconds,
        )
        if isinstance(answer, NotAccepted):
            return answer
        outcome = send_answer(answer.status, answer.body, correlation_id)
        pause_seconds = _asked_pause(answer.retry_after, self._clock.now())
        return self._gate.judged(given, outcome, pause_seconds)

    async def _recall(self, address: Address, recall: Recall) -> History:
        """Read pages on behalf of all who ask the same; None tells them that nobody reads now."""
        self._recalls[address] = recall
        try:
            history = await self._read_pages(address, recall)
            recall.shared.set_result(history)
            return history
        finally:
            if not recall.shared.done():
                recall.shared.set_result(None)
            if self._recalls.get(address) is recall:
                del self._recalls[address]

    async def _read_pages(self, address: Address, recall: Recall) -> History:
        for number in range(1, self._settings.recall_pages_max + 1):
            try:
                page = await self._page(address, number, recall)
            except ProviderError as error:
                return recall.ended(RecallStatus.FAILED, error.reason)
            if status := recall.take(page, self._settings.page_size):
                return recall.ended(status, "pages" if status is RecallStatus.TRUNCATED else "")
        return recall.ended(RecallStatus.TRUNCATED, "pages")

    async def _page(self, address: Address, number: int, recall: Recall) -> Page:
        query = {"pageSize": str(self._settings.page_size), "pageNumber": str(number)}
        while True:
            left_seconds = recall.ends_at - self._clock.monotonic()
            recall.waits_for = "rate_limited"
            pace = self._pace.call(urgent=recall.urgent, timeout_seconds=left_seconds)
            async with pace as granted:
                if not granted:
                    raise ProviderError("rate_limited")
                recall.waits_for, recall.begun = "timeout", True
                answer = await self._ask("GET", "getMessages", address, query)
            if answer.status == HTTPStatus.OK:
                return history_page(answer.body, self._settings.assistant_operator)
            if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise ProviderError(f"http_{answer.status}")
            # The limit is the tenant's: whoever hears of it slows everybody down.
            self._pace.pause(_asked_pause(answer.retry_after, self._clock.now()) or PAUSE_SECONDS)

    async def _ask(
        self, method: str, name: str, address: Address, query: Mapping[str, str]
    ) -> ProviderAnswer:
        url = f"{self._settings.base_url.rstrip('/')}/api/v1/{name}/{_target(address)}"
        proof = {"Authorization": f"Bearer {bare_token(self._settings.token)}"}
        return await called(self._session, ProviderCall(method, url, proof, query))


def _target(address: Address) -> str:
    """Return the path's last part: getMessages and sends take a phone's digits or either id."""
    value = address.value.lstrip("+") if address.kind == "phone" else address.value
    return quote(scrubbed(value), safe="")


def _asked_pause(retry_after: str, now: datetime) -> float | None:
    """Read a Retry-After, seconds or a date, within bounds; None if there is none to read."""
    if retry_after.isascii() and retry_after.isdigit():
        seconds = float(retry_after)
    else:
        try:
            seconds = (parsedate_to_datetime(retry_after) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
