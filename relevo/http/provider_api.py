"""One call to a provider's API, and a send by one: what every adapter does alike.

Redirects are never followed: they would take a customer's words and our token elsewhere. Answers
are never read beyond a bound. What has left is told from what has not by the session's fence.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from relevo import __version__
from relevo.clock import Clock
from relevo.errors import ProviderError
from relevo.events import SendFailure
from relevo.http.fields import count_of
from relevo.http.pace import within
from relevo.http.session import Session, StartTooLateError, leaving_within
from relevo.outcomes import NotAccepted

USER_AGENT = f"relevo/{__version__}"
"""Always sent: without any, WATI has answered 403."""

ANSWER_BYTES_MAX = 4 * 1024 * 1024
CONNECT_SECONDS_MAX = 5.0
PAUSE_SECONDS_MIN = 1.0
PAUSE_SECONDS_MAX = 60.0
"""However long a provider asks to be left alone, it is asked again after this."""

LEAVES_WITHIN_SECONDS = 5.0
"""After a send was begun; together with the 5 s that the core gives it to begin, half of its time
to the deadline after which it is looked for."""


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """What is asked of a provider. `headers` are what proves who asks, and the body's type."""

    method: str
    url: str | URL
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)
    answer_bytes_max: int = ANSWER_BYTES_MAX


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """A whole answer, whatever it says."""

    status: int
    retry_after: str
    body: bytes


async def called(session: Session, call: ProviderCall) -> ProviderAnswer:
    """Call the API once. Raises `ProviderError` if there is no whole answer."""
    try:
        async with session.request(
            call.method,
            call.url,
            params=call.query,
            data=call.body,
            headers={**call.headers, "User-Agent": USER_AGENT},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS_MAX),
        ) as response:
            body = await _read(response, call.answer_bytes_max)
            return ProviderAnswer(response.status, response.headers.get("Retry-After", ""), body)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise ProviderError("no_connection") from None
    except (aiohttp.ClientError, OSError):
        raise ProviderError("disconnected") from None


async def sent_in_time(
    clock: Clock,
    send: Callable[[], Awaitable[ProviderAnswer]],
    timeout_seconds: float,
    taken_seconds: float = 0,
) -> ProviderAnswer | NotAccepted:
    """Send, so that its first byte leaves soon or never; say what an end without answer means.

    `taken_seconds` have been spent on it before: they count for both times.
    """
    with leaving_within(clock, LEAVES_WITHIN_SECONDS - taken_seconds) as departure:
        try:
            async with within(clock, timeout_seconds - taken_seconds):
                return await send()
        except (TimeoutError, StartTooLateError, ProviderError) as error:
            failure = SendFailure.UNKNOWN if departure.left else SendFailure.NOT_SENT
            reason = error.reason if isinstance(error, ProviderError) else "timeout"
            return NotAccepted(failure, "start_too_late" if departure.late else reason)


def pause_of(retry_after: str) -> float | None:
    """Read the seconds of a Retry-After, within bounds; None if it says none."""
    if seconds := count_of(retry_after):
        return min(max(float(seconds), PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
    return None


def bare_token(token: str) -> str:
    """Return a token without "Bearer", which a copy button may have included."""
    scheme, _, rest = token.strip().partition(" ")
    return rest.strip() if scheme.casefold() == "bearer" else token.strip()


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > bytes_max:
            raise ProviderError("too_large")
    return bytes(body)
