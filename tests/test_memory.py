"""Memory is bounded by what there is: measured, told, and relieved before it runs out."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relevo.memory import MEBIBYTE, Memory, bound_bytes, resident_bytes
from relevo.store.embedded import DatabaseUrls
from relevo.tasks import Tasks
from tests.fakes.clock import ManualClock, settle
from tests.house import House
from tests.store_rig import NOON

BOUND = 1000 * MEBIBYTE
PHONE = "50370000101"


class Machine:
    """A process whose memory a test decides."""

    def __init__(self, bound: int = BOUND) -> None:
        self.clock = ManualClock(NOON)
        self.resident = 0
        self.relieved = 0
        self.failure: Exception | None = None
        self.failures: list[BaseException] = []
        self.tasks = Tasks(self.failures.append)
        self.memory = Memory(self.clock, bound, self._relieve, lambda: self.resident)
        self.watching = self.tasks.spawn(self.memory.watch_for_ever(), "memory")

    async def has(self, mebibytes: int) -> bool:
        """Let a second pass with so much resident, and tell whether memory is short."""
        self.resident = mebibytes * MEBIBYTE
        await settle()
        if (due := self.clock.next_alarm_at) is not None:
            self.clock.advance_to(due)
        await settle()
        return self.memory.short

    async def _relieve(self) -> None:
        self.relieved += 1
        if self.failure is not None:
            raise self.failure


@pytest_asyncio.fixture
async def machine() -> AsyncIterator[Machine]:
    machine = Machine()
    yield machine
    await machine.tasks.cancel()
    assert machine.failures == []


async def test_memory_is_short_above_the_bound_and_enough_clearly_below_it(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = [await machine.has(size) for size in (1000, 1001, 999, 951, 950, 999, 1001)]
    assert found == [False, True, True, True, False, False, True]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "ERROR"]
    assert "1001 MiB resident, server.memory_max_mb allows 1000" in caplog.text


async def test_while_memory_is_short_whoever_can_is_let_go_each_second(machine: Machine) -> None:
    assert not await machine.has(999)
    assert machine.relieved == 0
    for _ in range(3):
        assert await machine.has(1001)
    assert machine.relieved == 3


async def test_a_watch_that_broke_refuses_nobody() -> None:
    machine = Machine()
    machine.failure = ValueError("a bug")
    assert not await machine.has(1001)
    assert machine.failures == [machine.failure]


async def test_without_a_bound_nobody_looks() -> None:
    machine = Machine(bound=0)
    assert not await machine.has(10**6)
    assert machine.watching.done()


def test_the_resident_set_is_this_processes_own() -> None:
    assert 10 * MEBIBYTE < resident_bytes() < 100_000 * MEBIBYTE


def test_where_there_is_no_proc_nothing_is_known(tmp_path: Path) -> None:
    assert resident_bytes(tmp_path) == 0
    assert bound_bytes(0, tmp_path) == 0
    assert bound_bytes(300, tmp_path) == 300 * MEBIBYTE


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MACHINE = {"proc/meminfo": "MemFree: 5 kB\nMemTotal:       16777216 kB\n"}
V2 = "0::/system.slice/relevo.service\n"
V1 = "9:name=systemd:/x\n4:memory:/docker/abc\n3:cpuset:/\n"


@pytest.mark.parametrize(
    ("files", "mebibytes"),
    [
        (MACHINE, 16384),
        ({**MACHINE, "proc/self/cgroup": V2}, 16384),
        (
            {
                **MACHINE,
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/system.slice/relevo.service/memory.max": "max\n",
                "sys/fs/cgroup/system.slice/memory.max": f"{2048 * MEBIBYTE}\n",
            },
            2048,
        ),
        (
            {
                **MACHINE,
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": f"{512 * MEBIBYTE}\n",
            },
            512,
        ),
        (
            {
                **MACHINE,
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": f"{256 * MEBIBYTE}\n",
            },
            256,
        ),
        (
            {
                **MACHINE,
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            16384,
        ),
        ({"proc/meminfo": "broken"}, 0),
    ],
    ids=["machine", "v2_unlimited", "v2_around", "v2_container", "v1", "v1_unlimited", "broken"],
)
def test_the_bound_is_three_quarters_of_the_smallest_limit(
    files: dict[str, str], mebibytes: int, tmp_path: Path
) -> None:
    put(tmp_path, **files)
    assert bound_bytes(0, tmp_path) == mebibytes * MEBIBYTE * 3 // 4


@pytest.mark.postgres
async def test_a_process_without_memory_says_so_everywhere_and_takes_nothing(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    ballast = b"x" * (128 * MEBIBYTE)  # what this process has, and the house's bound is no more
    house = House(database, tmp_path, NOON)
    house.more_configuration = "[server]\nmemory_max_mb = 128\n"
    async with house:
        said = house.wati.customer_message(PHONE, "Hola", NOON).webhook()
        assert await house.post(said) == 503
        assert await house.rows("SELECT FROM message") == []
        async with house.session.get(f"{house.url}/readyz") as ready:
            checks = (await ready.json())["checks"]
        assert (ready.status, checks["memory"]) == (503, False)
        metrics = await house.metrics()
        assert metrics["relevo_memory_short"] == 1
        assert metrics["relevo_memory_bound_bytes"] == 128 * MEBIBYTE
        assert metrics['relevo_webhook_requests_total{outcome="overloaded"}'] == 1
        await house.stop()
        house.more_configuration = ""
        assert ballast
        await house.start()
        assert await house.post(said) == 200
