"""A send leaves in time or not at all, also from a process that has slept."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from relevo.events import SendFailure
from relevo.http.channels import ChannelAdapter
from relevo.http.cloud_api import CloudApiChannel, CloudApiSettings
from relevo.http.evolution import EvolutionChannel, EvolutionSettings, gateway_pace
from relevo.http.pace import Slots
from relevo.http.provider_api import LEAVES_WITHIN_SECONDS
from relevo.http.sandbox import SandboxChannel, SandboxSettings
from relevo.http.session import Session, StartTooLateError, fence, leaving_within, open_session
from relevo.http.twilio import TwilioChannel, TwilioSettings, account_pace
from relevo.http.wati import WatiChannel, WatiSettings, tenant_pace
from relevo.messages import Address
from relevo.outcomes import NotAccepted
from tests.fakes.clock import ManualClock, until
from tests.wati_rig import NOW

ANA = Address("phone", "+15550101234")
ADAPTERS = ("wati", "cloud_api", "360dialog", "evolution", "twilio", "sandbox")
TOO_LATE = NotAccepted(SendFailure.NOT_SENT, "start_too_late")


class Stalled(AbstractResolver):
    """Finds the provider only when the test lets it: so long nobody is connected."""

    def __init__(self, port: int) -> None:
        self.asked, self.found = asyncio.Event(), asyncio.Event()
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del port
        self.asked.set()
        await self.found.wait()
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=self._port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Hold on to nothing."""


@dataclass
class Provider:
    """Takes bytes and answers nothing."""

    port: int
    heard: bytearray = field(default_factory=bytearray)
    ends: list[str] = field(default_factory=list)
    """How each connection ended: closed, or reset."""


@asynccontextmanager
async def silent_provider() -> AsyncIterator[Provider]:
    provider = Provider(0)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while read := await reader.read(65536):
                provider.heard += read
            provider.ends.append("closed")
        except ConnectionResetError:
            provider.ends.append("reset")
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        provider.port = server.sockets[0].getsockname()[1]
        yield provider


def adapter(kind: str, url: str, session: Session, clock: ManualClock) -> ChannelAdapter:
    if kind == "sandbox":
        return SandboxChannel(SandboxSettings("hotel", "box", url, "s"), session, clock)
    if kind == "cloud_api":
        meta = CloudApiSettings("hotel", "line", "cloud_api", url, "token", "s", "1")
        return CloudApiChannel(meta, session, clock)
    if kind == "360dialog":
        meta = CloudApiSettings("hotel", "line", "360dialog", url, "token", "s")
        return CloudApiChannel(meta, session, clock)
    if kind == "evolution":
        evolution = EvolutionSettings("hotel", "line", url, "shop", "key", "s")
        return EvolutionChannel(evolution, session, clock, gateway_pace(clock, Slots(1)))
    if kind == "twilio":
        twilio = TwilioSettings("hotel", "line", "AC1", "+15550783881", url, "token", url)
        return TwilioChannel(twilio, session, clock, account_pace(clock, Slots(1)))
    settings = WatiSettings("hotel", "line", url, "token", "s")
    return WatiChannel(settings, session, clock, tenant_pace(clock, Slots(1)))


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("late_seconds", [0.001, 9.9, 3600])
async def test_a_send_that_was_stalled_too_long_is_not_written(
    kind: str, late_seconds: float
) -> None:
    clock = ManualClock(NOW)
    async with silent_provider() as provider:
        resolver = Stalled(provider.port)
        connector = aiohttp.TCPConnector(resolver=resolver)
        async with (
            aiohttp.ClientSession(connector=connector, trace_configs=[fence()]) as session,
            asyncio.TaskGroup() as group,
        ):
            channel = adapter(kind, "http://provider.test", session, clock)
            sending = group.create_task(channel.send(ANA, "hello", "relevo-1"))
            await resolver.asked.wait()
            # Awake again, what was waited for is there in the same moment as its time-out.
            resolver.found.set()
            clock.advance_to(NOW + timedelta(seconds=LEAVES_WITHIN_SECONDS + late_seconds))
        answer = sending.result()
        assert isinstance(answer, NotAccepted)
        assert answer.failure is SendFailure.NOT_SENT
        assert answer.reason == ("timeout" if late_seconds > 10 else "start_too_late")
        assert provider.heard == b""


@pytest.mark.parametrize("kind", ADAPTERS)
async def test_a_sleep_between_two_lines_of_a_send_is_noticed_before_it_is_written(
    kind: str,
) -> None:
    class Sleepy(ManualClock):
        """A minute goes by after it was asked once, which is when a send begins."""

        asked = 0

        def monotonic(self) -> float:
            self.asked += 1
            return super().monotonic() + (60 if self.asked > 1 else 0)

    clock = Sleepy(NOW)
    async with silent_provider() as provider, open_session() as session:
        url = f"http://127.0.0.1:{provider.port}"
        channel = adapter(kind, url, session, clock)
        clock.asked = 0
        assert await channel.send(ANA, "hello", "relevo-1") == TOO_LATE
        assert provider.heard == b""


@pytest.mark.parametrize("kind", ADAPTERS)
async def test_a_send_that_was_given_up_is_taken_out_of_the_kernel_s_hands(kind: str) -> None:
    clock = ManualClock(NOW)
    async with silent_provider() as provider, open_session() as session:
        channel = adapter(kind, f"http://127.0.0.1:{provider.port}", session, clock)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(channel.send(ANA, "hello", "relevo-1"))
            await until(lambda: b"hello" in provider.heard)
            clock.advance_to(NOW + timedelta(seconds=14.9))
            assert not sending.done()
            clock.advance_to(NOW + timedelta(seconds=15))
        assert sending.result() == NotAccepted(SendFailure.UNKNOWN, "timeout")
        await until(lambda: bool(provider.ends))
        assert provider.ends == ["reset"]


@pytest.mark.parametrize("body", [None, b"short", b"long" * 100_000])
async def test_nothing_of_a_request_is_written_that_comes_too_late(body: bytes | None) -> None:
    clock = ManualClock(NOW)
    async with silent_provider() as provider, open_session() as session:
        with leaving_within(clock, 5) as departure:
            clock.advance_to(NOW + timedelta(seconds=6))
            with pytest.raises(StartTooLateError):
                await session.post(f"http://127.0.0.1:{provider.port}", data=body)
        assert (departure.left, departure.late, bytes(provider.heard)) == (False, True, b"")


async def test_a_body_that_comes_too_late_takes_its_head_along() -> None:
    clock = ManualClock(NOW)

    async def body() -> AsyncIterator[bytes]:
        clock.advance_to(NOW + timedelta(seconds=6))
        yield b"hello"

    async with silent_provider() as provider, open_session() as session:
        with leaving_within(clock, 5) as departure, pytest.raises(aiohttp.ClientError):
            await session.post(f"http://127.0.0.1:{provider.port}", data=body())
        assert (departure.left, departure.late, bytes(provider.heard)) == (False, True, b"")


@pytest.mark.parametrize("kind", ADAPTERS)
async def test_a_session_without_a_fence_never_claims_that_nothing_left(kind: str) -> None:
    clock = ManualClock(NOW)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with aiohttp.ClientSession() as session:
        channel = adapter(kind, f"http://127.0.0.1:{port}", session, clock)
        answer = await channel.send(ANA, "hello", "relevo-1")
    assert isinstance(answer, NotAccepted)
    assert answer.failure is SendFailure.UNKNOWN
