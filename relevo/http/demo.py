"""Plays a true story into a running server's sandbox, in real time, and tells what happens.

The story is that of the customer who asks for a table, is answered by the AI, then by a colleague
whom no webhook tells of, and comes back after a silence. The server's own times apply.
"""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from relevo.clock import Clock, sleep
from relevo.errors import ProviderError

POLL_SECONDS = 0.25
REPLY_WITHIN_SECONDS = 60.0
"""Beyond the quiet time; a slow AI is slow, not lost."""

GAP_MARGIN_SECONDS = 3.0
"""Waited beyond the gap, so that rounding of the provider's clock cannot close it."""

_TIMES = {"quiet_seconds", "gap_seconds", "agent_webhooks"}
_NOT_FOUND = 404
_STRANGE = (aiohttp.ClientResponseError, aiohttp.NonHttpUrlClientError, ValueError)
_TIMEOUT = aiohttp.ClientTimeout(total=10)

Tell = Callable[[str, str], None]
"""Takes who (customer, assistant, agent, narrator) and what."""

Wait = Callable[[float, str], Any]
"""Takes seconds and what is waited for; returns an awaitable."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a play needs: the clock, how to tell, and how to wait visibly."""

    clock: Clock
    tell: Tell
    wait: Wait
    why: str = "relevo why"
    """The command that shows the evidence."""


async def play(url: str, stage: Stage) -> bool:
    """Play the story; True if the second reply knew what the colleague had said.

    Raises:
        ProviderError: if there is no sandbox to play in, with a sentence.
    """
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=_TIMEOUT))
        sandbox = _Sandbox(session, f"{url.rstrip('/')}/sandbox/api")
        times = await sandbox.get("config", {})
        if not (isinstance(times, dict) and times.keys() >= _TIMES):
            raise sandbox.stranger()
        await sandbox.post("agent_webhooks", {"on": False})
        stack.push_async_callback(
            sandbox.post, "agent_webhooks", {"on": bool(times["agent_webhooks"])}
        )
        return await _play(sandbox, stage, times)


async def _play(sandbox: "_Sandbox", stage: Stage, times: Mapping[str, Any]) -> bool:
    quiet, gap = float(times["quiet_seconds"]), float(times["gap_seconds"])
    phone = str((await sandbox.post("customers", {}))["phone"])
    stage.tell("narrator", f"A customer nobody knows yet ({phone}) writes.")
    await _says(sandbox, stage, phone, "Quisiera una mesa para dos")
    stage.tell("narrator", f"{quiet:g} s of silence end the thought, then the AI is asked.")
    first = await _reply(sandbox, stage, phone, 1, quiet)
    stage.tell("assistant", first)
    stage.tell("narrator", "A colleague answers from the inbox. No webhook tells Relevo of it.")
    promise = "Ya le aparte la mesa 4"
    await sandbox.post("agent", {"phone": phone, "name": "Luis", "text": promise})
    stage.tell("agent", promise)
    stage.tell("narrator", f"The customer is silent for more than {gap:g} s: that is a gap.")
    await stage.wait(gap + GAP_MARGIN_SECONDS, "the customer is away")
    await _says(sandbox, stage, phone, "Que paso?")
    stage.tell("narrator", "Relevo sees the gap and asks the provider what was said in it.")
    second = await _reply(sandbox, stage, phone, 2, quiet)
    stage.tell("assistant", second)
    turns = [t for t in await sandbox.get("why", {"phone": phone}) if t["verdict"] == "gap"]
    if not turns:
        stage.tell("narrator", f"No gap was found. The evidence: {stage.why} {phone}")
        return False
    turn = turns[0]
    knew = bool(turn["recall"] == "complete" and turn["missed"] == 1)
    stage.tell(
        "narrator",
        f"verdict {turn['verdict']}, {turn['silence_seconds']:.0f} s of silence, recall "
        f"{turn['recall']}, {turn['missed']} missed message told. "
        f"The evidence: {stage.why} {phone}",
    )
    return knew


async def _says(sandbox: "_Sandbox", stage: Stage, phone: str, text: str) -> None:
    await sandbox.post("customer", {"phone": phone, "text": text})
    stage.tell("customer", text)


async def _reply(
    sandbox: "_Sandbox", stage: Stage, phone: str, number: int, quiet_seconds: float
) -> str:
    """Wait for the assistant's n-th message."""
    ends_at = stage.clock.monotonic() + quiet_seconds + REPLY_WITHIN_SECONDS
    while stage.clock.monotonic() < ends_at:
        thread = await sandbox.get("thread", {"phone": phone})
        replies = [message["text"] for message in thread if message["author"] == "assistant"]
        if len(replies) >= number:
            return str(replies[number - 1])
        await sleep(stage.clock, POLL_SECONDS)
    raise ProviderError(f"the reply did not come in time; see `{stage.why} {phone}`")


@dataclass(frozen=True, slots=True)
class _Sandbox:
    session: aiohttp.ClientSession
    api: str

    async def get(self, path: str, query: Mapping[str, str]) -> Any:
        return await self._ask("GET", path, params=query)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        return await self._ask("POST", path, data=orjson.dumps(body), headers=headers)

    async def _ask(self, method: str, path: str, **more: Any) -> Any:
        try:
            async with self.session.request(method, f"{self.api}/{path}", **more) as response:
                if response.status == _NOT_FOUND:
                    raise ProviderError("that server has no sandbox; configure one, or try --url")
                response.raise_for_status()
                return orjson.loads(await response.read())
        except _STRANGE as error:
            raise self.stranger() from error
        except (TimeoutError, aiohttp.ClientError) as error:
            raise ProviderError(
                f"nothing answers at {self.api} ({type(error).__name__}); start it with `make run`"
            ) from error

    def stranger(self) -> ProviderError:
        """Return the failure of asking something that is not Relevo."""
        return ProviderError(f"what answers at {self.api} is not Relevo; give its url with --url")
