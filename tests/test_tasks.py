"""Tasks that are kept: known until they end, their failures told, and stopped one and all."""

import asyncio

import pytest

from relevo.tasks import Tasks, is_stopped
from tests.fakes.clock import settle


@pytest.fixture
def failures() -> list[BaseException]:
    return []


@pytest.fixture
def tasks(failures: list[BaseException]) -> Tasks:
    return Tasks(failures.append)


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_task_is_kept_until_it_ends_and_its_failure_is_told(
    tasks: Tasks, failures: list[BaseException]
) -> None:
    bug = ValueError("a bug")

    async def fail() -> None:
        raise bug

    tasks.spawn(fail(), "fails")
    tasks.spawn(for_ever(), "stays")
    await settle()
    assert failures == [bug]
    assert len(tasks) == 1
    await tasks.cancel()
    await settle()
    assert len(tasks) == 0
    assert failures == [bug], "to be stopped is no failure"


async def test_what_a_stopped_task_starts_is_stopped_too(tasks: Tasks) -> None:
    ended: list[int] = []

    async def generation(number: int) -> None:
        try:
            await for_ever()
        finally:
            ended.append(number)
            if number < 3:
                tasks.spawn(generation(number + 1), "the next one")

    tasks.spawn(generation(1), "the first one")
    await settle()
    await tasks.cancel()
    await settle()
    assert ended == [1, 2, 3]
    assert len(tasks) == 0


async def test_a_task_may_stop_all_the_others(tasks: Tasks) -> None:
    other = tasks.spawn(for_ever(), "other")
    await settle()
    last = tasks.spawn(tasks.cancel(), "stops all")
    await settle()
    assert other.done()
    assert last.done()


async def test_a_task_knows_its_own_stop_from_that_of_what_it_waited_for(tasks: Tasks) -> None:
    stopped: list[bool] = []

    async def wait_for(work: "asyncio.Future[None]") -> None:
        try:
            await work
        except asyncio.CancelledError:
            stopped.append(is_stopped())

    given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks.spawn(wait_for(given_up), "waits for what is given up")
    await settle()
    given_up.cancel()
    await settle()
    tasks.spawn(wait_for(asyncio.get_running_loop().create_future()), "is stopped")
    await settle()
    await tasks.cancel()
    assert stopped == [False, True]
