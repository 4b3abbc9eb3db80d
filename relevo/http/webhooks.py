"""`POST /webhooks/{channel}`: authenticate, parse, keep, answer.

| what comes | answer |
| --- | --- |
| a channel nobody configured | 404 |
| a missing or wrong secret | 401, nothing is stored |
| a body above 4 MiB, as it comes or decompressed | 413 |
| a body whose rest does not come within 30 s | 408 |
| anything else from the provider, readable or not | 200, after everything in it is committed |
| the database is away, or too much waits for it | 503 with Retry-After, nothing is acknowledged |
| this process has no memory for more | the same |
| a customer's message who has too much unread | the same, 30 s later |

`GET` of the same address answers the challenge of a provider that sends one: 403 if it proves
nothing, 405 where the channel's provider has no such thing.
"""

from collections.abc import Mapping

from aiohttp import web

from relevo.clock import Clock
from relevo.errors import StoreUnavailableError
from relevo.http.bodies import BODY_BYTES_MAX, Bodies, TooMuchError
from relevo.http.channels import Challenged, ChannelAdapter, WebhookRequest
from relevo.http.encodings import TooLargeError, decoded
from relevo.http.ports import Admission, Inbox, WebhookProbe
from relevo.messages import Delivery, Receipt, StatusUpdate

RETRY_AFTER_SECONDS = 5
CROWDED_RETRY_AFTER_SECONDS = 30
"""About as long as it takes until a burst has been answered."""

Answer = tuple[str, web.Response]
"""The word it is counted under, and what is sent."""

_OVERLOADED = "overloaded"
_NO_CHANNEL = "no such channel is configured"


class Webhooks:
    """The webhook route, for all channels."""

    def __init__(
        self,
        channels: Mapping[str, ChannelAdapter],
        inbox: Inbox,
        admission: Admission,
        probe: WebhookProbe,
        clock: Clock,
    ) -> None:
        self._channels = channels
        self._inbox = inbox
        self._admission = admission
        self._probe = probe
        self._clock = clock
        self._bodies = Bodies(clock)

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one webhook."""
        started = self._clock.monotonic()
        outcome = "error"
        try:
            outcome, response = await self._answer(request)
        finally:
            self._probe.webhook(outcome, self._clock.monotonic() - started)
        return response

    async def challenge(self, request: web.Request) -> web.Response:
        """Tell a provider that the address is ours, if it proves that it is the provider."""
        channel = self._channels.get(request.match_info["channel"])
        if channel is None:
            return _said(404, _NO_CHANNEL)
        if not isinstance(channel, Challenged):
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        answer = channel.challenge(request.query)
        if answer is None:
            return _said(403, "the verify token is missing or wrong")
        return web.Response(text=answer)

    async def _answer(self, request: web.Request) -> Answer:
        channel = self._channels.get(request.match_info["channel"])
        if channel is None:
            return "unknown_channel", _said(404, _NO_CHANNEL)
        body = await self._body(request, channel)
        if not isinstance(body, bytes):
            return body
        if self._admission.overloaded(channel.business_id):
            return _OVERLOADED, _later("too much waits here already; nothing was stored")
        delivery = Delivery(
            channel.business_id,
            channel.channel_id,
            channel.parse(body),
            body,
            self._clock.now(),
        )
        if self._admission.turns_away(delivery):
            why = "too much of this customer waits; nothing was stored"
            return "crowded", _later(why, CROWDED_RETRY_AFTER_SECONDS)
        try:
            receipt = await self._inbox.deliver(delivery)
        except StoreUnavailableError:
            return "unavailable", _later("the database is away; nothing was stored")
        # Empty: Twilio tells the customer whatever it is answered as text.
        return self._observe(delivery, receipt), web.Response(text="")

    async def _body(self, request: web.Request, channel: ChannelAdapter) -> bytes | Answer:
        """Return the provider's body, decoded, or what whoever sent it is answered."""
        try:
            body = await self._bodies.read(request)
            raw_query = request.raw_path.partition("?")[2]
            asked = WebhookRequest(request.headers, request.query, body, raw_query)
            if not channel.authenticate(asked):
                return "unauthorized", _said(401, "the secret is missing or wrong")
            return decoded(body, request.headers.get("Content-Encoding", ""), BODY_BYTES_MAX)
        except TooLargeError:
            return "too_large", _said(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
        except TooMuchError:
            return _OVERLOADED, _later("too many bodies are half read")
        except TimeoutError:
            return "too_slow", _said(408, "the rest of the body did not come")

    def _observe(self, delivery: Delivery, receipt: Receipt) -> str:
        for message in receipt.stored:
            delay_seconds = None
            if message.event_at is not None:
                delay_seconds = (delivery.received_at - message.event_at).total_seconds()
            self._probe.received(message, delay_seconds)
        if receipt.duplicates:
            self._probe.duplicates(receipt.duplicates)
        self._count(tuple(a for a in delivery.arrivals if isinstance(a, StatusUpdate)))
        for reason in receipt.quarantined:
            self._probe.quarantined(reason)
        if receipt.quarantined:
            return "malformed"
        return "duplicate" if receipt.duplicates and not receipt.stored else "accepted"

    def _count(self, statuses: tuple[StatusUpdate, ...]) -> None:
        if statuses:
            self._probe.statuses(len(statuses))
        for status in statuses:
            if status.status == "failed":
                self._probe.failed(status.detail)


def _said(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)


def _later(text: str, seconds: int = RETRY_AFTER_SECONDS) -> web.Response:
    return web.Response(status=503, text=text, headers={"Retry-After": str(seconds)})
