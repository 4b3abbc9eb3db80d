"""`POST /webhooks/{channel}`: authenticate, parse, keep, answer.

| what comes | answer |
| --- | --- |
| a channel nobody configured | 404 |
| a missing or wrong secret | 401, nothing is stored |
| a body above 4 MiB, as it comes or decompressed | 413 |
| anything else from the provider, readable or not | 200, after everything in it is committed |
| the database is away, or too much waits for it | 503 with Retry-After, nothing is acknowledged |
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from relevo.clock import Clock
from relevo.errors import StoreUnavailableError
from relevo.http.channels import ChannelAdapter, WebhookRequest
from relevo.http.encodings import TooLargeError, decoded
from relevo.http.ports import Inbox, WebhookProbe
from relevo.messages import Delivery, Receipt, StatusUpdate

BODY_BYTES_MAX = 4 * 1024 * 1024
"""The largest payload any provider announces is 3 MB."""

RETRY_AFTER_SECONDS = "5"

_TOO_LARGE = "too_large"
_LARGER = f"the body is larger than {BODY_BYTES_MAX} bytes"


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The webhook route, for all channels."""

    channels: Mapping[str, ChannelAdapter]
    inbox: Inbox
    probe: WebhookProbe
    clock: Clock

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one webhook."""
        started = self.clock.monotonic()
        outcome = "error"
        try:
            outcome, response = await self._answer(request)
        finally:
            self.probe.webhook(outcome, self.clock.monotonic() - started)
        return response

    async def _answer(self, request: web.Request) -> tuple[str, web.Response]:
        channel = self.channels.get(request.match_info["channel"])
        if channel is None:
            return "unknown_channel", _said(404, "no such channel is configured")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _TOO_LARGE, _said(413, _LARGER)
        if not channel.authenticate(WebhookRequest(request.headers, request.query, body)):
            return "unauthorized", _said(401, "the secret is missing or wrong")
        try:
            body = decoded(body, request.headers.get("Content-Encoding", ""), BODY_BYTES_MAX)
        except TooLargeError:
            return _TOO_LARGE, _said(413, _LARGER)
        if self.inbox.full:
            return "overloaded", _later("too many deliveries wait for the database")
        delivery = Delivery(
            channel.business_id,
            channel.channel_id,
            channel.parse(body),
            body,
            self.clock.now(),
        )
        try:
            receipt = await self.inbox.deliver(delivery)
        except StoreUnavailableError:
            return "unavailable", _later("the database is away; nothing was stored")
        return self._observe(delivery, receipt), web.Response(text="ok")

    def _observe(self, delivery: Delivery, receipt: Receipt) -> str:
        for message in receipt.stored:
            delay_seconds = None
            if message.event_at is not None:
                delay_seconds = (delivery.received_at - message.event_at).total_seconds()
            self.probe.received(message, delay_seconds)
        if receipt.duplicates:
            self.probe.duplicates(receipt.duplicates)
        self._count(tuple(a for a in delivery.arrivals if isinstance(a, StatusUpdate)))
        for reason in receipt.quarantined:
            self.probe.quarantined(reason)
        if receipt.quarantined:
            return "malformed"
        return "duplicate" if receipt.duplicates and not receipt.stored else "accepted"

    def _count(self, statuses: tuple[StatusUpdate, ...]) -> None:
        if statuses:
            self.probe.statuses(len(statuses))
        for status in statuses:
            if status.status == "failed":
                self.probe.failed(status.detail)


def _said(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)


def _later(text: str) -> web.Response:
    return web.Response(status=503, text=text, headers={"Retry-After": RETRY_AFTER_SECONDS})
