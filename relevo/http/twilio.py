"""Twilio's adapter: one object a configured WhatsApp sender of an account.

* A webhook is signed with the account's token, over the public address that Twilio calls; without a
  token and an address, none is let in.
* A customer is asked for by lists of messages, both directions, page by page. Every direction may
  have `recall_pages_max` pages; what was read until a bound is given back in any case, and only a
  reading that came to its end is COMPLETE. The calls of an account share one pace.
* There is no idempotent send and no correlation: whatever happens once its first byte may have left
  is UNKNOWN, unless Twilio answers. It leaves within `LEAVES_WITHIN_SECONDS` or not at all.
* Every send asks for its statuses at the public address.
* Redirects are never followed, answers never read beyond `ANSWER_BYTES_MAX`, and no page is asked
  for at a path that is not this account's list: each call carries the token.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from relevo.clock import Clock
from relevo.errors import ProviderError
from relevo.events import SendFailure
from relevo.http.abilities import Abilities
from relevo.http.channels import WebhookRequest
from relevo.http.fields import scrubbed
from relevo.http.line_gate import Line
from relevo.http.pace import Pace, Slots, within
from relevo.http.provider_api import ProviderAnswer, ProviderCall, called, pause_of, sent_in_time
from relevo.http.twilio_fields import bare_address, written
from relevo.http.twilio_history import Page, Reading, history_page, queries
from relevo.http.twilio_reading import arrivals
from relevo.http.twilio_sending import send_answer
from relevo.http.twilio_signature import HEADER, is_signed, urls_of
from relevo.messages import Address, Arrival
from relevo.outcomes import Accepted, History, NotAccepted
from relevo.turns import RecallStatus

BASE_URL = "https://api.twilio.com"
PAUSE_SECONDS = 1.0
"""After a 429 that does not say how long."""
TEXT_CHARACTERS_MAX = 1500
"""Twilio takes 1600, and does not say how it counts what needs two units of UTF-16."""
RECALL_CALLS_PER_SECOND = 20
"""Of one account. Twilio documents no number, but answers 429 to many calls at once."""
RECALL_CALLS_URGENT_ONLY = 5


@dataclass(frozen=True, slots=True)
class TwilioSettings:
    """A sender at Twilio. `sender` is its phone, `public_url` the address of its webhooks."""

    business_id: str
    channel_id: str
    account_sid: str
    sender: str
    public_url: str
    token: str = field(repr=False)
    base_url: str = BASE_URL
    recall_pages_max: int = 10
    recall_timeout_seconds: float = 10
    send_timeout_seconds: float = 15


def account_pace(clock: Clock, slots: Slots) -> Pace:
    """Make the pace of all recalls of one account; all accounts share `slots`."""
    return Pace(
        clock,
        tokens=RECALL_CALLS_PER_SECOND,
        period_seconds=1.0,
        reserved=RECALL_CALLS_URGENT_ONLY,
        slots=slots,
    )


ABILITIES = Abilities(
    proof="HMAC-SHA1 over the public address and every parameter",
    message_id="`MessageSid`",
    clock="",
    addresses=("phone", "bsuid"),
    changes="",
    moves="",
    history="lists of both directions, by day",
    statuses="sent, delivered, read, failed and why",
    colleagues="only in the history, without a name",
    echoes="",
    found_by="its words, in the history",
    window="code 63016",
)


class TwilioChannel(Line):
    """A business's WhatsApp sender, both ways. The session is shared and stays its owner's."""

    abilities = ABILITIES

    def __init__(
        self, settings: TwilioSettings, session: aiohttp.ClientSession, clock: Clock, pace: Pace
    ) -> None:
        """`pace` is the account's: lines of one account are given the same one."""
        super().__init__(settings.business_id, settings.channel_id, clock)
        self._settings = settings
        self._session = session
        self._clock = clock
        self._pace = pace
        self._path = f"/2010-04-01/Accounts/{settings.account_sid}/Messages.json"
        self._headers = {
            "Authorization": aiohttp.encode_basic_auth(settings.account_sid, settings.token),
        }
        self._own = bare_address(settings.sender)
        self._sender = written(self._own) if self._own is not None else settings.sender

    @property
    def text_characters_max(self) -> int:
        """Return how long one text may be."""
        return TEXT_CHARACTERS_MAX

    def authenticate(self, request: WebhookRequest) -> bool:
        """Tell whether the request is signed with the account's token."""
        if not self._settings.public_url:
            return False
        return is_signed(
            self._settings.token,
            urls_of(self._settings.public_url, request.raw_query),
            request.body,
            request.query.get("bodySHA256", ""),
            request.headers.get(HEADER, ""),
        )

    def parse(self, body: bytes) -> tuple[Arrival, ...]:
        """Read a body. Never raises: what cannot be read is `Unusable`; exactly one entry."""
        return arrivals(body, self._own)

    async def history(self, address: Address, since: datetime, *, urgent: bool) -> History:
        """Ask what was said with this customer after `since`, in both directions."""
        customer = written(address)
        if not customer:
            return History(RecallStatus.UNAVAILABLE, reason="no_address")
        reading = Reading(since)
        ends_at = self._clock.monotonic() + self._settings.recall_timeout_seconds
        try:
            async with within(self._clock, self._settings.recall_timeout_seconds):
                return await self._read(reading, customer, urgent=urgent, ends_at=ends_at)
        except ProviderError as error:
            return reading.ended(RecallStatus.FAILED, error.reason)
        except TimeoutError:
            return reading.ended(RecallStatus.FAILED, "timeout")

    async def send(
        self, address: Address, text: str, correlation_id: str
    ) -> Accepted | NotAccepted:
        """Give a text to Twilio; a 201 means that it is queued, not that it was delivered."""
        customer = written(address)
        if not customer:
            return NotAccepted(SendFailure.REJECTED, "no_address")
        given = self._gate.admit()
        if isinstance(given, NotAccepted):
            return given
        form = {
            "From": self._sender,
            "To": customer,
            "Body": scrubbed(text),
            "StatusCallback": self._settings.public_url,
        }
        answer = await sent_in_time(
            self._clock,
            lambda: self._ask("POST", self._path, urlencode(form).encode()),
            self._settings.send_timeout_seconds,
        )
        if isinstance(answer, NotAccepted):
            return answer
        outcome = send_answer(answer.status, answer.body, correlation_id)
        return self._gate.judged(given, outcome, pause_of(answer.retry_after))

    async def _read(
        self, reading: Reading, customer: str, *, urgent: bool, ends_at: float
    ) -> History:
        """Read the lists by turns, so that a long one does not keep the others from being read."""
        both_and_queue = queries(customer, self._sender, reading.since)
        waiting = deque(
            (f"{self._path}?{urlencode(query)}", 1, query is not both_and_queue[-1])
            for query in both_and_queue
        )
        status = RecallStatus.COMPLETE
        while waiting:
            path, number, goes_on = waiting.popleft()
            page = await self._page(path, urgent=urgent, ends_at=ends_at)
            reading.take(page)
            if not page.next_path or not goes_on:
                continue
            if number >= self._settings.recall_pages_max:
                status = RecallStatus.TRUNCATED
            elif page.next_path.startswith(f"{self._path}?"):
                waiting.append((page.next_path, number + 1, True))
            else:
                raise ProviderError("unreadable")
        return reading.ended(status, "pages" if status is RecallStatus.TRUNCATED else "")

    async def _page(self, path: str, *, urgent: bool, ends_at: float) -> Page:
        while True:
            left_seconds = ends_at - self._clock.monotonic()
            async with self._pace.call(urgent=urgent, timeout_seconds=left_seconds) as granted:
                if not granted:
                    raise ProviderError("rate_limited")
                answer = await self._ask("GET", path)
            if answer.status == HTTPStatus.OK:
                return history_page(answer.body)
            if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise ProviderError(f"http_{answer.status}")
            # The limit is the account's: whoever hears of it slows everybody down.
            self._pace.pause(pause_of(answer.retry_after) or PAUSE_SECONDS)

    async def _ask(self, method: str, path: str, form: bytes | None = None) -> ProviderAnswer:
        headers = self._headers if form is None else self._headers | _FORM
        url = URL(f"{self._settings.base_url.rstrip('/')}{path}", encoded=True)
        return await called(self._session, ProviderCall(method, url, headers, body=form))


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
