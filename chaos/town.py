"""What goes on around the server, and the books of it.

Customers write in bursts, the provider delivers late, out of order and twice, an agent answers now
and then, and the AI takes its time. Who dies in the middle of something is asked again: a webhook
is repeated until it is answered 200, as providers do it.
"""

import asyncio
import itertools
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import aiohttp
import orjson

from bench import bodies
from bench.rig import KEY, TOKEN
from chaos.ledger import Letter, Reply
from chaos.outsides import answer_to
from relevo.clock import SystemClock
from relevo.tasks import Tasks
from tests.fakes.openai import FakeOpenAI
from tests.fakes.wati import FakeWati, delivered

PAUSE_SECONDS = (1.0, 15.0)
"""How long a customer is silent between two bursts. Many write seldom rather than few often: a look
into a history takes a call a hundred messages, of the provider's ten in ten seconds.
"""
BURST_MAX = 3
BETWEEN_SECONDS_MAX = 0.25
"""Within a burst; about as long as a burst waits for more, so some end too early."""
REORDER_SECONDS_MAX = 0.3
"""How late a webhook may be brought: others overtake it."""
REDELIVER_SECONDS = (0.1, 0.5)
REPEATED_SHARE = 0.15
"""So many webhooks are brought again although they were answered 200."""
ECHOED_SHARE = 0.3
"""So many of our own replies are echoed, and as many get a status. The others get neither: whoever
doubts them has nothing but the history.
"""
THINK_SECONDS_MAX = 0.4
TAKE_SECONDS_MAX = 0.2
"""How long the provider keeps a send waiting that it has taken."""
AGENT_EVERY = 10
"""So many customers have one whom an agent knows."""
AGENT_SHARE = 0.2
LONG_EVERY = 10
"""So many answers have one that takes two parts."""
PADDING = "y más " * 500
POST_SECONDS_MAX = 30


class Town:
    """The outside of one server; `url` is where its webhooks go."""

    def __init__(self, customers: int, chance: random.Random) -> None:
        self.wati = FakeWati(SystemClock(), token=TOKEN)
        self.ai = FakeOpenAI(KEY, recording=False)
        self.ai.before_answer = self._think
        self.wati.before_send_answer = self._take
        self.letters: dict[str, Letter] = {}
        self.redelivered = self.repeated = 0
        self.url = ""
        self._customers = range(customers)
        self._chance = chance
        self._clock = SystemClock()
        self._answers = itertools.count(1)
        self._numbers = itertools.count(1)
        self._closing = asyncio.Event()
        self._failures: list[BaseException] = []
        self._writers = Tasks(self._failures.append)
        self._deliveries = Tasks(self._failures.append)
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=POST_SECONDS_MAX)
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(timeout=timeout)
        )
        await self._stack.enter_async_context(self.wati)
        await self._stack.enter_async_context(self.ai)
        self._stack.push_async_callback(self._deliveries.cancel)
        self._stack.push_async_callback(self._writers.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def with_agents(self) -> frozenset[str]:
        """Return the phones that an agent writes to."""
        return frozenset(bodies.phone(c) for c in self._customers if c % AGENT_EVERY == 0)

    @property
    def replies(self) -> list[Reply]:
        """Return what the provider has taken, in its order."""
        return [Reply(sent.address, sent.text) for sent in self.wati.sends]

    def open(self) -> None:
        """Have everybody write from now on."""
        for customer in self._customers:
            self._writers.spawn(self._write(customer), "customer")
        self._writers.spawn(self._echo_for_ever(), "echoes")

    async def close(self) -> None:
        """Have everybody write a last time, and wait until every webhook was answered 200."""
        self._closing.set()
        await self._writers.cancel()
        for customer in self._customers:
            self._say(customer)
        while len(self._deliveries):
            self.complain()
            await asyncio.sleep(0.1)
        self.complain()

    def complain(self) -> None:
        """Raise what went wrong here, if anything."""
        if self._failures:
            raise self._failures[0]

    async def _write(self, customer: int) -> None:
        chance = self._chance
        while True:
            await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
            for _ in range(chance.randint(1, BURST_MAX)):
                self._say(customer)
                await asyncio.sleep(chance.uniform(0, BETWEEN_SECONDS_MAX))
            if customer % AGENT_EVERY == 0 and chance.random() < AGENT_SHARE:
                now, phone = self._clock.now(), bodies.phone(customer)
                said = self.wati.agent_message(phone, f"Marta {next(self._numbers)}", now, "Marta")
                self._bring(said.webhook())

    def _say(self, customer: int) -> None:
        token = f"c{customer}-{next(self._numbers)}"
        letter = Letter(token, bodies.phone(customer), self._clock.now())
        self.letters[token] = letter
        said = self.wati.customer_message(letter.phone, token, letter.said_at)
        self._bring(said.webhook(self._chance.choice(["", "_v2"])), letter)

    def _bring(self, body: Mapping[str, Any], letter: Letter | None = None) -> None:
        self._deliveries.spawn(self._deliver(orjson.dumps(body), letter), "delivery")

    async def _deliver(self, body: bytes, letter: Letter | None) -> None:
        chance, clock = self._chance, self._clock
        await asyncio.sleep(chance.uniform(0, REORDER_SECONDS_MAX))
        if letter is not None:
            letter.posted_at = clock.monotonic()
        while await self._post(body) != 200:
            self.redelivered += 1
            await asyncio.sleep(chance.uniform(*REDELIVER_SECONDS))
        if letter is not None:
            letter.accepted_at = clock.monotonic()
        if chance.random() < REPEATED_SHARE:
            self.repeated += 1
            await asyncio.sleep(chance.uniform(0, REDELIVER_SECONDS[1]))
            await self._post(body)

    async def _post(self, body: bytes) -> int:
        """Return how a webhook was answered; 0: not at all."""
        assert self._session is not None
        headers = {"X-Relevo-Secret": bodies.SECRET}
        try:
            async with self._session.post(self.url, data=body, headers=headers) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    async def _echo_for_ever(self) -> None:
        """Bring an echo or a status of some of our own replies, as WATI does of all."""
        echoed = 0
        while True:
            for sent in self.wati.sends[echoed:]:
                drawn = self._chance.random()
                if drawn < ECHOED_SHARE:
                    self._bring(sent.said.webhook("_v2"))
                elif drawn < 2 * ECHOED_SHARE:
                    self._bring(delivered(sent.said))
            echoed = len(self.wati.sends)
            await asyncio.sleep(REDELIVER_SECONDS[0])

    async def _think(self, question: Mapping[str, Any]) -> None:
        """Answer a turn with the messages it is about."""
        await asyncio.sleep(self._chance.uniform(0, THINK_SECONDS_MAX))
        number = next(self._answers)
        text = answer_to(question, number)
        if number % LONG_EVERY == 0:
            text += f" {PADDING}\n\nrest of answer {number} {PADDING}"
        self.ai.answers.append(text)

    async def _take(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, TAKE_SECONDS_MAX))
