"""What all who use one API key share: the client, and the brake for its rate limit.

* One call, one attempt: the SDK's own retries would store a turn twice (`max_retries=0`).
* The whole of a call is bounded; the SDK's time-outs bound single reads only.
* Base URL and key are the configured ones: no environment variable and no redirect moves a
  customer's words elsewhere.
* A client whose calls are lost many times in a row is made anew: its pool may be stuck
  (https://github.com/openai/openai-python/issues/2688). The old one is closed after its last call.

Facts about the API: openai 3.52.0 and https://platform.openai.com/docs/api-reference/responses.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

import aiohttp
import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient, OpenAIError

from relevo.clock import Clock
from relevo.events import AnswerFailure
from relevo.http.brake import Brake
from relevo.http.openai_failures import BRAKED, LINE_REASONS, RATE_LIMITED, UNREADABLE, classify
from relevo.http.ports import AssistantProbe
from relevo.outcomes import NoAnswer

LOG = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS: Final = 5.0
CONNECTIONS_MAX: Final = 512
KEEPALIVE_SECONDS: Final = 30.0
LOST_IN_A_ROW_MAX: Final = 20
RENEW_AFTER_SECONDS: Final = 60.0
"""A new client that loses its calls too is not renewed sooner: then it is not the client."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OpenAISettings:
    """How one business is answered. With memory `local` the thread is sent with every turn."""

    base_url: str
    api_key: str = field(repr=False)
    model: str
    instructions: str = field(repr=False)
    timeout_seconds: float = 90.0
    memory: Literal["openai", "local"] = "openai"
    business_id: str = ""


@dataclass(eq=False, slots=True)
class _Line:
    """A client and how many calls it is in."""

    client: AsyncOpenAI
    calls: int = 0


class OpenAIAccount:
    """One API key's way to the API; whoever made it closes it after the last call."""

    def __init__(self, settings: OpenAISettings, clock: Clock, probe: AssistantProbe) -> None:
        self._settings = settings
        self._clock = clock
        self._probe = probe
        self._brake = Brake(clock)
        self._line = _Line(open_client(settings))
        self._old: list[_Line] = []
        self._lost_in_a_row = 0
        self._renewed_at = -RENEW_AFTER_SECONDS

    async def close(self) -> None:
        """Close every connection."""
        for line in (self._line, *self._old):
            await line.client.close()

    async def post(
        self,
        path: str,
        body: Mapping[str, object],
        read: Callable[[dict[str, Any]], T | NoAnswer],
        timeout_seconds: float,
    ) -> T | NoAnswer:
        """Post JSON and return what `read` makes of the object that came back.

        The SDK's untyped call: its typed one takes almost three times the CPU for request and
        response models, and would not check the response either.
        """
        return await self._call(
            lambda client: client.post(path, cast_to=object, body=body), read, timeout_seconds
        )

    async def get(
        self,
        path: str,
        query: Mapping[str, object],
        read: Callable[[dict[str, Any]], T | NoAnswer],
        timeout_seconds: float,
    ) -> T | NoAnswer:
        """Get an object and return what `read` makes of it."""
        return await self._call(
            lambda client: client.get(path, cast_to=object, options={"params": query}),
            read,
            timeout_seconds,
        )

    async def delete(
        self, path: str, read: Callable[[dict[str, Any]], T | NoAnswer], timeout_seconds: float
    ) -> T | NoAnswer:
        """Delete, and return what `read` makes of the object that came back, perhaps an empty one.

        Not every deletion is answered with a body.
        """

        async def call(client: AsyncOpenAI) -> object:
            return await client.delete(path, cast_to=object) or {}

        return await self._call(call, read, timeout_seconds)

    async def _call(
        self,
        call: Callable[[AsyncOpenAI], Awaitable[object]],
        read: Callable[[dict[str, Any]], T | NoAnswer],
        timeout_seconds: float,
    ) -> T | NoAnswer:
        wait_seconds = self._brake.admit()
        if wait_seconds > 0:
            return NoAnswer(AnswerFailure.RATE_LIMITED, BRAKED, wait_seconds)
        closings = self._brake.closings
        async with self._calling() as line:
            outcome = await self._attempt(call(line.client), read, timeout_seconds)
            self._count(line, outcome)
        return self._slowed(outcome, closings)

    async def _attempt(
        self,
        reply: Awaitable[object],
        read: Callable[[dict[str, Any]], T | NoAnswer],
        timeout_seconds: float,
    ) -> T | NoAnswer:
        try:
            async with asyncio.timeout(timeout_seconds):
                body = await reply
        except (
            *(OpenAIError, aiohttp.ClientError),
            *(TimeoutError, ValueError, RecursionError),
        ) as error:
            return classify(error, self._clock.now())
        # A 200 that is not JSON comes back as a str, `null` as None.
        return read(body) if isinstance(body, dict) else UNREADABLE

    def _slowed(self, outcome: T | NoAnswer, closings: int) -> T | NoAnswer:
        """Close the brake or release it; who was told to slow down comes back with the others."""
        if not isinstance(outcome, NoAnswer):
            self._brake.went_well(closings)
            return outcome
        limited = outcome.failure is AnswerFailure.RATE_LIMITED
        if not limited and outcome.reason != RATE_LIMITED:
            return outcome
        closed_before = self._brake.closings
        wait_seconds = self._brake.limited(closings, outcome.retry_after_seconds)
        if self._brake.closings != closed_before:
            self._probe.assistant_braked()
            LOG.warning("assistant_braked: for %.1f s", wait_seconds)
        return replace(outcome, retry_after_seconds=wait_seconds or None) if limited else outcome

    def _count(self, line: _Line, outcome: object) -> None:
        """Make the client anew when it has lost many calls in a row."""
        if line is not self._line:
            return
        lost = isinstance(outcome, NoAnswer) and outcome.reason in LINE_REASONS
        self._lost_in_a_row = self._lost_in_a_row + 1 if lost else 0
        now = self._clock.monotonic()
        is_time = now - self._renewed_at >= RENEW_AFTER_SECONDS
        if self._lost_in_a_row < LOST_IN_A_ROW_MAX or not is_time:
            return
        self._old.append(line)
        self._line = _Line(open_client(self._settings))
        self._lost_in_a_row = 0
        self._renewed_at = now
        self._probe.assistant_client_renewed()
        LOG.warning("assistant_client_renewed: after %d lost calls", LOST_IN_A_ROW_MAX)

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[_Line]:
        """Keep the client open for a call, also if it is renewed meanwhile."""
        line = self._line
        line.calls += 1
        try:
            yield line
        finally:
            line.calls -= 1
            if line in self._old and not line.calls:
                await line.client.close()
                self._old.remove(line)


def open_client(settings: OpenAISettings) -> AsyncOpenAI:
    """Make a client for all businesses of this process; close it after the last call.

    Takes 20 ms (certificates) and connects to nothing yet.
    """
    timeout = httpx2.Timeout(
        settings.timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS, pool=CONNECT_TIMEOUT_SECONDS
    )
    limits = httpx2.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=KEEPALIVE_SECONDS)
    client = AsyncOpenAI(
        api_key=settings.api_key,
        base_url=settings.base_url,
        # Given here it wins over an Authorization in OPENAI_CUSTOM_HEADERS.
        default_headers={"Authorization": f"Bearer {settings.api_key}"},
        timeout=timeout,
        max_retries=0,
        # Nor does HTTP_PROXY, ALL_PROXY or a .netrc come between: the SDK's client heeds them.
        http_client=DefaultAioHttpClient(
            follow_redirects=False, limits=limits, timeout=timeout, trust_env=False
        ),
    )
    # The environment's would go with the configured key, and belong to another.
    client.organization = None
    client.project = None
    return client
