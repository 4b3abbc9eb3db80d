"""Meta's WhatsApp Cloud API, and 360dialog, which passes it on: one object a configured line.

* Meta signs every webhook over its exact bytes with the app's secret. 360dialog signs nothing, so
  there a webhook must carry our secret, as a header or in the URL. Without one nothing is let in.
* Meta asks once, by GET, whether the address is ours: it names our verify token and is given its
  challenge back.
* Meta has no history, and 360dialog's inbox, which knows only itself, is not asked. What colleagues
  write in the phone's app comes as a webhook; what they write in another vendor's inbox is seen
  only as the statuses of messages we never sent.
* There is no idempotent send: whatever happens once its first byte may have left is UNKNOWN, unless
  there is an answer. It leaves within `LEAVES_WITHIN_SECONDS` or not at all, also from a process
  that slept. Redirects are never followed, answers never read beyond `ANSWER_BYTES_MAX`.
* Everything expected is data, its reasons are fixed words, and none holds a text or a number.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import aiohttp

from relevo.clock import Clock
from relevo.events import SendFailure
from relevo.http.abilities import Abilities
from relevo.http.channels import WebhookRequest
from relevo.http.cloud_api_reading import arrivals
from relevo.http.cloud_api_sending import message_for, send_answer
from relevo.http.line_gate import Line
from relevo.http.provider_api import ProviderAnswer, ProviderCall, called, pause_of, sent_in_time
from relevo.http.secrets import carries_secret, secret_matches
from relevo.messages import Address, Arrival
from relevo.outcomes import Accepted, History, NotAccepted
from relevo.turns import RecallStatus

ANSWER_BYTES_MAX = 256 * 1024
CHALLENGE_CHARACTERS_MAX = 256

SIGNATURE_HEADER = "x-hub-signature-256"
_SIGNATURE_PREFIX = "sha256="


@dataclass(frozen=True, slots=True)
class CloudApiSettings:
    """A line. `base_url` has no slash at its end; empty strings are "none"."""

    business_id: str
    channel_id: str
    kind: Literal["cloud_api", "360dialog"]
    base_url: str
    """With Meta's API version and without the line; 360dialog's as it is."""
    token: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    """Meta: the app's secret, which signs. 360dialog: a secret that webhooks carry."""
    phone_number_id: str = ""
    """Meta's id of the line; what names another one is not read as ours."""
    verify_token: str = field(default="", repr=False)
    send_timeout_seconds: float = 15


ABILITIES = Abilities(
    proof="Meta's HMAC-SHA256 over the exact bytes; the verify token by GET, once",
    message_id="WhatsApp's",
    clock="seconds",
    addresses=("phone", "bsuid"),
    changes="the customer's, and those of the phone's own app",
    moves="with the new phone or BSUID",
    history="",
    statuses="sent, delivered, read, failed and why",
    colleagues="only from the phone's own app, without a name",
    echoes="",
    found_by="our id, in a status",
    window="code 131047",
)
ABILITIES_AT_360DIALOG = replace(ABILITIES, proof="our secret, in a header or the URL")


class CloudApiChannel(Line):
    """A business's line, both ways. The session is shared and stays its owner's."""

    def __init__(
        self, settings: CloudApiSettings, session: aiohttp.ClientSession, clock: Clock
    ) -> None:
        super().__init__(settings.business_id, settings.channel_id, clock)
        self._settings = settings
        self._session = session
        self._clock = clock

    @property
    def abilities(self) -> Abilities:
        """What this line can do."""
        return ABILITIES if self._settings.kind == "cloud_api" else ABILITIES_AT_360DIALOG

    def authenticate(self, request: WebhookRequest) -> bool:
        """Tell whether Meta has signed these bytes, or whether 360dialog carries our secret."""
        secret = self._settings.webhook_secret
        if self._settings.kind == "360dialog":
            return carries_secret(secret, request)
        if not secret:
            return False
        signature = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
        return secret_matches(_SIGNATURE_PREFIX + signature, request.headers.get(SIGNATURE_HEADER))

    def challenge(self, query: Mapping[str, str]) -> str | None:
        """Return what Meta wants to hear back, once, from whoever knows the verify token."""
        if query.get("hub.mode") != "subscribe":
            return None
        if not secret_matches(self._settings.verify_token, query.get("hub.verify_token")):
            return None
        challenge = query.get("hub.challenge", "")
        fits = len(challenge) <= CHALLENGE_CHARACTERS_MAX and challenge.isascii()
        return challenge if fits and challenge.isalnum() else None

    def parse(self, body: bytes) -> tuple[Arrival, ...]:
        """Read a body. Never raises: what cannot be read is `Unusable`, at least one entry."""
        return arrivals(body, self._settings.phone_number_id)

    async def history(self, address: Address, since: datetime, *, urgent: bool) -> History:  # noqa: ARG002  (there is none to ask, whatever is asked for)
        """Say that there is none: only our own thread knows what was said."""
        return History(RecallStatus.UNAVAILABLE)

    async def send(
        self, address: Address, text: str, correlation_id: str
    ) -> Accepted | NotAccepted:
        """Give a text to the provider; a 200 means that it took it, not that it was delivered."""
        message = message_for(address, text, correlation_id)
        if message is None:
            return NotAccepted(SendFailure.REJECTED, "no_address")
        given = self._gate.admit()
        if isinstance(given, NotAccepted):
            return given
        answer = await sent_in_time(
            self._clock, lambda: self._post(message), self._settings.send_timeout_seconds
        )
        if isinstance(answer, NotAccepted):
            return answer
        outcome = send_answer(answer.status, answer.body, correlation_id)
        return self._gate.judged(given, outcome, pause_of(answer.retry_after))

    async def _post(self, message: bytes) -> ProviderAnswer:
        call = ProviderCall(
            "POST",
            self._target(),
            self._headers(),
            body=message,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        return await called(self._session, call)

    def _target(self) -> str:
        settings = self._settings
        line = [settings.phone_number_id] if settings.kind == "cloud_api" else []
        return "/".join((settings.base_url, *line, "messages"))

    def _headers(self) -> Mapping[str, str]:
        token = self._settings.token
        proof = (
            {"D360-API-KEY": token}
            if self._settings.kind == "360dialog"
            else {"Authorization": f"Bearer {token}"}
        )
        return {**proof, "Content-Type": "application/json"}
