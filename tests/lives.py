"""A server in processes of its own, one life after the other, in real time.

    async with Lives(database, tmp_path) as lives:
        await lives.start("after:effect:Send#1")     # tests/killable.py says what points there are
        await lives.deliver(said.webhook())          # again and again, until it is answered 200
        await lives.until(lambda: lives.ended(1))    # the process has died meanwhile, and lives

One that was killed is followed by another, which is not told to die. Nothing here looks at a clock:
whoever waits is woken by what the processes say, or by what a test does, and looks again.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import IO, Any, Self

import aiohttp
import asyncpg
import orjson

from relevo.clock import SystemClock
from relevo.store.embedded import DatabaseUrls
from relevo.store.inspection import Balance, audit
from relevo.tasks import Tasks
from tests.fakes.openai import FakeOpenAI
from tests.fakes.wati import FakeWati
from tests.house import KEY, SECRET, TOKEN

Condition = Callable[[], bool | Awaitable[bool]]

ROOT = Path(__file__).parent.parent

CONFIGURATION = """
[assistant]
kind = "openai"
base_url = "{ai}"
api_key_env = "OPENAI_KEY"
model = "made-up-model"

[[business]]
id = "hotel"
region = "SV"
quiet_seconds = 0.3
recall_timeout_seconds = 60

[[channel]]
id = "line"
business = "hotel"
kind = "wati"
base_url = "{wati}"
token_env = "WATI_TOKEN"
webhook_secret_env = "WATI_SECRET"
"""

OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class Lives:
    """A line at WATI, an AI, a database, and the process that serves them now."""

    def __init__(self, urls: DatabaseUrls, folder: Path, **business: object) -> None:
        """`business` are keys of its table that differ from those above, for every life to come."""
        self.clock = SystemClock()
        self.wati = FakeWati(self.clock, token=TOKEN)
        self.ai = FakeOpenAI(KEY)
        self.passed: list[str] = []
        """The points that were passed, in all lives."""
        self.exits: list[int] = []
        """How each life ended: 0, or the signal's number, negative."""
        self.stopping = False
        self._urls = urls
        self._folder = folder
        self.business = business
        self._news = asyncio.Event()
        self._failures: list[BaseException] = []
        self._tasks = Tasks(self._fail)
        self._stack = AsyncExitStack()
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0
        self._session: aiohttp.ClientSession | None = None
        self._owner: asyncpg.Connection | None = None

    async def __aenter__(self) -> Self:
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())
        await self._stack.enter_async_context(self.wati)
        await self._stack.enter_async_context(self.ai)
        self._owner = await asyncpg.connect(self._urls.owner_url)
        self._stack.push_async_callback(self._owner.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.cancel()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()
        async with asyncio.timeout(10):
            while await self.value(OTHERS):  # a killed client's connections close a little later
                pass
        await self._stack.aclose()

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "never started"
        return self._process

    @property
    def serving(self) -> bool:
        """Whether a process takes webhooks now."""
        return self._port != 0

    @property
    def owner(self) -> asyncpg.Connection:
        """The database's owner, on a connection of our own."""
        assert self._owner is not None
        return self._owner

    async def start(self, kill_at: str = "") -> None:
        """Start a process, and wait until it serves."""
        self.stopping = False
        with self._log() as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.killable"),
                cwd=ROOT,
                env=self._environ(kill_at),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self._tasks.spawn(self._follow(self._process), "life")
        await self.until(lambda: self.serving)

    async def deliver(self, body: Any) -> None:
        """Post a webhook as the provider does: again, until somebody answers 200."""
        await self.until(lambda: self._takes(body))

    async def post(self, body: Any) -> int | None:
        """Post a webhook once; None: there was no answer."""
        assert self._session is not None
        url = f"http://127.0.0.1:{self._port}/webhooks/line"
        headers = {"X-Relevo-Secret": SECRET}
        with suppress(aiohttp.ClientError):
            async with self._session.post(url, data=orjson.dumps(body), headers=headers) as answer:
                return answer.status
        return None

    async def until(self, condition: Condition, seconds: float = 60) -> None:
        """Wait until something is so; it is looked at whenever there is news."""
        try:
            async with asyncio.timeout(seconds):
                await self._become(condition)
        except TimeoutError:
            passed = ", ".join(self.passed[-5:])
            raise AssertionError(f"it never came to that; passed last: {passed}") from None

    def tell(self) -> None:
        """Have everybody who waits for something look again."""
        self._news.set()
        self._news = asyncio.Event()

    async def ended(self, turns: int) -> bool:
        """Tell whether so many turns have ended."""
        found = await self.rows("SELECT FROM turn WHERE stage = 'ended'")
        return len(found) == turns

    async def rows(self, statement: str, *arguments: Any) -> list[Any]:
        """Ask the database."""
        return await self.owner.fetch(statement, *arguments)

    async def value(self, statement: str, *arguments: Any) -> Any:
        [row] = await self.rows(statement, *arguments)
        return row[0]

    async def audit(self) -> Balance:
        [balance] = await audit(self._urls.owner_url)
        return balance

    def errors(self) -> list[bytes]:
        """Return what any life has written to stderr that is an error, or no log line at all."""
        logs = sorted(self._folder.glob("*.log"))
        lines = [line for log in logs for line in log.read_bytes().splitlines()]
        return [n for n in lines if b'"level":"error"' in n or not n.startswith(b"{")]

    async def _takes(self, body: Any) -> bool:
        return self.serving and await self.post(body) == 200

    async def _become(self, condition: Condition) -> None:
        while True:
            news = self._news
            if self._failures:
                raise self._failures[0]
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await news.wait()

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Hear what a process says until it dies; after a violent death start another one."""
        assert process.stdout is not None
        async for line in process.stdout:
            self._hear(orjson.loads(line))
        code = await process.wait()
        self._port = 0
        self.exits.append(code)
        self.tell()
        assert code in {0, -signal.SIGKILL}, b"\n".join(self.errors()).decode()
        if code:
            await self.start()

    def _hear(self, line: dict[str, Any]) -> None:
        self._port = line.get("port", self._port)
        self.stopping = self.stopping or "stopping" in line
        if "passed" in line:
            self.passed.append(line["passed"])
        self.tell()

    def _fail(self, error: BaseException) -> None:
        self._failures.append(error)
        self.tell()

    def _log(self) -> IO[bytes]:
        return (self._folder / f"{len(self.exits)}.log").open("wb")

    def _environ(self, kill_at: str) -> dict[str, str]:
        path = self._folder / "relevo.toml"
        path.write_text(CONFIGURATION.format(ai=self.ai.base_url, wati=self.wati.base_url))
        not_ours = ("RELEVO_", "COVERAGE_")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(not_ours)}
        business = {f"RELEVO_BUSINESS_HOTEL_{k.upper()}": str(v) for k, v in self.business.items()}
        return {
            **inherited,
            **business,
            "RELEVO_CONFIG": str(path),
            "RELEVO_SERVER_PORT": "0",
            "RELEVO_SERVER_METRICS_PORT": "0",
            "RELEVO_DATABASE_URL": self._urls.url,
            "RELEVO_DATABASE_OWNER_URL": self._urls.owner_url,
            "WATI_TOKEN": TOKEN,
            "WATI_SECRET": SECRET,
            "OPENAI_KEY": KEY,
            "KILL_AT": kill_at,
        }
