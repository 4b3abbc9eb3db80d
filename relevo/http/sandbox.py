"""The sandbox channel's adapter: speaks to the simulated provider as to a foreign one.

The two share nothing but HTTP: webhooks come to `/webhooks/{channel}`; history is asked and replies
are sent at `/sandbox/api/…`. Both ways the secret of this process is the `X-Relevo-Secret` header.
A message has one format everywhere:

    {"event": "message", "id": "…", "phone": "+15550100001", "author": "customer", "name": "…",
     "text": "…", "at": "2026-11-30T12:00:00+00:00"}

`event` matters in webhooks only; `author` is customer, agent, assistant or automation; `at` is the
provider's clock in ISO 8601; what Relevo sent carries its `correlation_id` as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from relevo.clock import Clock
from relevo.errors import ProviderError
from relevo.events import SendFailure
from relevo.http.abilities import Abilities
from relevo.http.channels import WebhookRequest
from relevo.http.fields import id_of, instant_of, read_object, scrubbed, text_of, word_of
from relevo.http.pace import within
from relevo.http.provider_api import LEAVES_WITHIN_SECONDS
from relevo.http.secrets import secret_matches
from relevo.http.session import StartTooLateError, leaving_within
from relevo.identity import PHONE, phone
from relevo.messages import (
    Address,
    Arrival,
    Author,
    HistoryItem,
    Ignored,
    InboundMessage,
    Unusable,
    correlation_key,
)
from relevo.outcomes import Accepted, History, NotAccepted
from relevo.turns import RecallStatus

SECRET_HEADER = "X-Relevo-Secret"  # noqa: S105  (a header's name)
TEXT_CHARS_MAX = 4096
"""As long as a WhatsApp text may be."""

_HISTORY_BYTES_MAX = 16 * 1024 * 1024  # a full history of the longest texts in any script
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=3)
_AUTHORS = frozenset({Author.CUSTOMER, Author.AGENT, Author.ASSISTANT, Author.AUTOMATION})


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """A line at the simulated provider; `base_url` is the server's own address."""

    business_id: str
    channel_id: str
    base_url: str
    secret: str = field(repr=False)
    recall_timeout_seconds: float = 10
    send_timeout_seconds: float = 15


ABILITIES = Abilities(
    proof="a secret of the process itself",
    message_id="its own",
    clock="microseconds",
    addresses=("phone",),
    changes="",
    moves="",
    history="all that it keeps",
    statuses="",
    colleagues="with a name",
    echoes="under our id",
    found_by="our id, in an echo or the history",
    window="",
)


class SandboxChannel:
    """A business's line at the simulated provider; `session` is shared and not closed here."""

    abilities = ABILITIES

    def __init__(
        self, settings: SandboxSettings, session: aiohttp.ClientSession, clock: Clock
    ) -> None:
        self._settings = settings
        self._session = session
        self._clock = clock
        self._api = f"{settings.base_url.rstrip('/')}/sandbox/api"
        self._secret = settings.secret

    @property
    def business_id(self) -> str:
        """The business whose line this is."""
        return self._settings.business_id

    @property
    def channel_id(self) -> str:
        """The id under which webhooks name this line."""
        return self._settings.channel_id

    @property
    def stopped(self) -> bool:
        """Tell that this line may always send."""
        return False

    def authenticate(self, request: WebhookRequest) -> bool:
        """Tell whether the request names this process's secret."""
        return secret_matches(self._secret, request.headers.get(SECRET_HEADER.lower()))

    def parse(self, body: bytes) -> tuple[Arrival, ...]:
        """Read a webhook: exactly one entry."""
        event = read_object(body)
        if event is None:
            return (Unusable("no_object"),)
        if event.get("event") != "message":
            return (Ignored("other_event") if event.get("event") else Unusable("no_event"),)
        return (_read_message(event),)

    async def history(self, address: Address, since: datetime, *, urgent: bool) -> History:  # noqa: ARG002  (nothing is scarce here, so nothing is more urgent)
        """Ask what was said after `since`; TRUNCATED if the provider had to forget some of it."""
        if address.kind != PHONE:
            return History(RecallStatus.UNAVAILABLE, reason="no_phone")
        query = {"phone": address.value, "since": since.isoformat()}
        try:
            async with (
                within(self._clock, self._settings.recall_timeout_seconds),
                self._session.get(
                    f"{self._api}/history",
                    params=query,
                    headers=self._headers(),
                    timeout=_TIMEOUT,
                    allow_redirects=False,
                ) as response,
            ):
                return _read_history(await _read_answer(response))
        except ProviderError as error:
            return History(RecallStatus.FAILED, reason=error.reason)
        except TimeoutError:
            return History(RecallStatus.FAILED, reason="timeout")
        except aiohttp.ClientError:
            return History(RecallStatus.FAILED, reason="unreachable")

    async def send(
        self, address: Address, text: str, correlation_id: str
    ) -> Accepted | NotAccepted:
        """Give a text to the provider; accepted under its id and our correlation id."""
        if address.kind != PHONE:
            return NotAccepted(SendFailure.REJECTED, "no_phone")
        message = {"phone": address.value, "text": scrubbed(text), "correlation_id": correlation_id}
        with leaving_within(self._clock, LEAVES_WITHIN_SECONDS) as departure:
            try:
                async with within(self._clock, self._settings.send_timeout_seconds):
                    return await self._send(orjson.dumps(message), correlation_id)
            except (TimeoutError, StartTooLateError, aiohttp.ClientError) as error:
                failure = SendFailure.UNKNOWN if departure.left else SendFailure.NOT_SENT
                return NotAccepted(failure, "start_too_late" if departure.late else _why(error))

    async def _send(self, message: bytes, correlation_id: str) -> Accepted | NotAccepted:
        async with self._session.post(
            f"{self._api}/send",
            data=message,
            headers=self._headers() | {"Content-Type": "application/json"},
            timeout=_TIMEOUT,
            allow_redirects=False,
        ) as response:
            return await _read_receipt(response, correlation_id)

    def _headers(self) -> dict[str, str]:
        return {SECRET_HEADER: self._secret}


def _why(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return "unreachable"
        case TimeoutError():
            return "timeout"
        case _:
            return "connection_lost"


def phone_number(value: object) -> str | None:
    """Return a phone in E.164, or None; the sandbox writes all of its phones with a country."""
    return phone(word_of(value), "US")


def _read_message(entry: Mapping[str, Any]) -> InboundMessage | Unusable:
    message_id = id_of(entry.get("id"))
    number = phone_number(entry.get("phone"))
    author = word_of(entry.get("author"))
    text = entry.get("text")
    if not message_id:
        return Unusable("bad_id")
    if number is None:
        return Unusable("bad_phone")
    if author not in _AUTHORS:
        return Unusable("bad_author")
    if not isinstance(text, str):
        return Unusable("no_text")
    ours = id_of(entry.get("correlation_id"))
    return InboundMessage(
        keys=(message_id, correlation_key(ours)) if ours else (message_id,),
        addresses=(Address(PHONE, number),),
        author=Author(author),
        kind="text",
        body=text_of(text),
        event_at=instant_of(entry.get("at")),
        author_name=word_of(entry.get("name")),
    )


def _read_history(answer: Mapping[str, Any]) -> History:
    entries = answer.get("messages")
    if not isinstance(entries, list):
        return History(RecallStatus.FAILED, reason="unreadable")
    items: dict[str, HistoryItem] = {}
    unreadable = 0
    for entry in entries:
        item = _read_item(entry)
        if item is None:
            unreadable += 1
        else:
            items.setdefault(item.keys[0], item)
    if unreadable:
        return History(RecallStatus.TRUNCATED, tuple(items.values()), "unreadable")
    if answer.get("complete") is not True:
        return History(RecallStatus.TRUNCATED, tuple(items.values()), "forgotten")
    return History(RecallStatus.COMPLETE, tuple(items.values()))


def _read_item(entry: object) -> HistoryItem | None:
    message = _read_message(entry) if isinstance(entry, dict) else None
    if not isinstance(message, InboundMessage):
        return None
    return HistoryItem(
        id=0,
        author=message.author,
        kind=message.kind,
        body=message.body,
        event_at=message.event_at,
        keys=message.keys,
        author_name=message.author_name,
    )


async def _read_receipt(
    response: aiohttp.ClientResponse, correlation_id: str
) -> Accepted | NotAccepted:
    reason = f"http_{response.status}"
    if response.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        return NotAccepted(SendFailure.NOT_SENT, reason)
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return NotAccepted(SendFailure.UNKNOWN, reason)
    if response.status != HTTPStatus.OK:
        return NotAccepted(SendFailure.REJECTED, reason)
    try:
        message_id = id_of((await _read_answer(response)).get("id"))
    except ProviderError as error:
        return NotAccepted(SendFailure.UNKNOWN, error.reason)
    if not message_id:
        return NotAccepted(SendFailure.UNKNOWN, "unreadable")
    return Accepted((message_id, correlation_key(correlation_id)))


async def _read_answer(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """Return the JSON object of a 200; anything else is a `ProviderError`."""
    if response.status != HTTPStatus.OK:
        raise ProviderError(f"http_{response.status}")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _HISTORY_BYTES_MAX:
            raise ProviderError("too_large")
    answer = read_object(bytes(body))
    if answer is None:
        raise ProviderError("unreadable")
    return answer
