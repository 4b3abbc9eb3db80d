"""How the recalls of one WATI line share its rate limit, and their readings."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest

from relevo.http.wati import RECALL_CALLS
from relevo.messages import Address
from relevo.outcomes import History
from relevo.turns import RecallStatus
from tests.fakes.clock import settle, until
from tests.wati_rig import ANA, NOW, Line, opened_line, texts

EMPTY = History(RecallStatus.COMPLETE)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with opened_line() as opened:
        opened.configure(recall_timeout_seconds=60)
        yield opened


def customer(number: int) -> Address:
    return Address("phone", f"1555020{number:04}")


def have_ended(recalls: Sequence[asyncio.Task[History]], count: int) -> bool:
    return sum(recall.done() for recall in recalls) == count


async def test_a_line_asks_ten_times_in_ten_seconds_and_no_more(line: Line) -> None:
    async with asyncio.TaskGroup() as group:
        recalls = [group.create_task(line.recall(address=customer(number))) for number in range(25)]
        for done in (10, 20):
            await until(partial(have_ended, recalls, done))
            assert len(line.wati.asked) == done
            line.advance(10)
    assert [recall.result() for recall in recalls] == [EMPTY] * 25
    times = [asked.at for asked in line.wati.asked]
    assert times == sorted(times)
    assert [(at - NOW).total_seconds() for at in times] == [0] * 10 + [10] * 10 + [20] * 5


async def test_gap_recalls_go_before_look_backs_and_always_find_a_token(line: Line) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(line.recall(address=customer(number), urgent=False))
        await until(lambda: len(line.wati.asked) == 7)
        await line.recall(address=customer(100))
        await line.recall(address=customer(101))
        await line.recall(address=customer(102))
        late = group.create_task(line.recall(address=customer(103)))
        await settle()
        asked = [asked.target for asked in line.wati.asked]
        assert asked[7:] == [customer(number).value for number in (100, 101, 102)]
        line.advance(10)
        await until(late.done)
        await until(lambda: len(line.wati.asked) == 17)
        assert customer(103).value in [asked.target for asked in line.wati.asked[10:17]]
        line.advance(10)
        await until(lambda: len(line.wati.asked) == 24)


async def test_who_gets_no_token_in_time_says_so(line: Line) -> None:
    line.configure(recall_timeout_seconds=9)
    async with asyncio.TaskGroup() as group:
        for number in range(RECALL_CALLS):
            group.create_task(line.recall(address=customer(number)))
        await until(lambda: len(line.wati.asked) == RECALL_CALLS)
        late = group.create_task(line.recall())
        await settle()
        line.advance(9)
    assert late.result() == History(RecallStatus.FAILED, reason="rate_limited")
    assert len(line.wati.asked) == RECALL_CALLS


async def spent(line: Line) -> None:
    """Spend all tokens on others, so that whoever asks now has to wait ten seconds."""
    async with asyncio.TaskGroup() as group:
        for number in range(100, 100 + RECALL_CALLS):
            group.create_task(line.recall(address=customer(number)))
    assert len(line.wati.asked) == RECALL_CALLS


async def test_recalls_of_one_customer_that_wait_share_one_reading(line: Line) -> None:
    line.agent_says("hello")
    await spent(line)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(line.recall(seconds=3600))
        await settle()
        second = group.create_task(line.recall(seconds=3600))
        third = group.create_task(line.recall(seconds=60, urgent=False))
        await settle()
        line.advance(10)
    assert texts(first.result()) == ["hello"]
    assert first.result() == second.result() == third.result()
    assert len(line.wati.asked) == RECALL_CALLS + 1


async def test_who_asks_while_another_reads_has_a_reading_of_its_own(line: Line) -> None:
    line.wati.history.hang = True
    async with asyncio.TaskGroup() as group:
        group.create_task(line.recall())
        await until(lambda: line.wati.holding == 1)
        line.wati.history.hang = False
        line.agent_says("since then", seconds_ago=0)
        assert texts(await line.recall()) == ["since then"]
        line.wati.release()
    assert len(line.wati.asked) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((ANA, 60, True), (ANA, 3600, True)),
        ((ANA, 3600, False), (ANA, 3600, True)),
        ((ANA, 3600, True), (customer(1), 3600, True)),
    ],
    ids=["reaches less far back", "is less urgent", "is of someone else"],
)
async def test_a_reading_is_not_shared_when_it(
    line: Line, first: tuple[Address, float, bool], second: tuple[Address, float, bool]
) -> None:
    await spent(line)
    async with asyncio.TaskGroup() as group:
        for address, seconds, urgent in (first, second):
            group.create_task(line.recall(seconds, address=address, urgent=urgent))
            await settle()
        line.advance(10)
    assert len(line.wati.asked) == RECALL_CALLS + 2


async def test_a_reading_that_is_cancelled_is_done_by_who_shared_it(line: Line) -> None:
    line.agent_says("hello")
    await spent(line)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(line.recall())
        await settle()
        second = group.create_task(line.recall())
        third = group.create_task(line.recall())
        await settle()
        first.cancel()
        await until(first.done)
        await settle()
        line.advance(10)
    assert texts(second.result()) == texts(third.result()) == ["hello"]
    assert len(line.wati.asked) == RECALL_CALLS + 1
    assert line.clock.next_alarm_at is None


async def test_who_shares_a_reading_may_leave_without_ending_it(line: Line) -> None:
    line.agent_says("hello")
    await spent(line)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(line.recall())
        await settle()
        second = group.create_task(line.recall())
        await settle()
        second.cancel()
        await until(second.done)
        line.advance(10)
    assert texts(first.result()) == ["hello"]


async def test_a_reading_is_shared_only_while_it_waits(line: Line) -> None:
    await line.recall()
    line.agent_says("since then")
    assert texts(await line.recall()) == ["since then"]
