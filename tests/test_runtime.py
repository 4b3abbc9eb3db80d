"""The asyncio actor: order, replies, failures, and nothing lost between two tasks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pykka
import pytest
import pytest_asyncio

from relevo.actors.runtime import AsyncioActor, AsyncioFuture, WouldBlockError
from relevo.tasks import Tasks
from tests.fakes.clock import settle, until


class Clerk(AsyncioActor):
    """Writes down what it is told; a callable is called, an exception raised."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.left: list[str] = []
        self.work: asyncio.Future[None] | None = None
        self.closed = asyncio.Event()
        self.closed.set()

    async def on_receive(self, message: Any) -> Any:
        await self.closed.wait()
        if self.work is not None:
            await self.work
        self.heard.append(message)
        if isinstance(message, Exception):
            raise message
        return message() if callable(message) else f"heard {message}"

    def on_stop(self) -> None:
        self.left.append("stopped")

    def on_failure(self, *_: object) -> None:
        self.left.append("failed")


@pytest_asyncio.fixture
async def tasks() -> AsyncIterator[Tasks]:
    failures: list[BaseException] = []
    tasks = Tasks(failures.append)
    yield tasks
    await tasks.cancel()
    assert failures == []


@pytest_asyncio.fixture
async def clerk(tasks: Tasks) -> Clerk:
    return Clerk.start_on(tasks)


async def test_messages_are_handled_in_order_and_questions_are_answered(clerk: Clerk) -> None:
    clerk.actor_ref.tell("one")
    second = clerk.actor_ref.ask("two")
    clerk.actor_ref.tell("three")
    third = clerk.actor_ref.ask("four")
    assert await second == "heard two"
    assert await third == "heard four"
    assert clerk.heard == ["one", "two", "three", "four"]


async def test_the_mailbox_waits_while_a_message_does(clerk: Clerk) -> None:
    clerk.closed.clear()
    for number in range(3):
        clerk.actor_ref.tell(number)
    await settle()
    assert clerk.heard == []
    assert clerk.busy
    assert list(clerk.mailbox) == [1, 2]
    assert len(clerk.mailbox) == 2
    clerk.closed.set()
    await until(lambda: clerk.heard == [0, 1, 2])
    await until(lambda: not clerk.busy)
    assert list(clerk.mailbox) == []


async def test_a_failure_of_a_question_goes_to_who_asked(clerk: Clerk) -> None:
    answer = clerk.actor_ref.ask(ValueError("asked"))
    with pytest.raises(ValueError, match="asked"):
        await answer
    assert await clerk.actor_ref.ask("still there") == "heard still there"
    assert clerk.left == []


async def test_a_failure_that_nobody_asked_for_ends_the_actor(
    clerk: Clerk, caplog: pytest.LogCaptureFixture
) -> None:
    clerk.actor_ref.tell(ValueError("told"))
    late = clerk.actor_ref.ask("never heard")
    with pytest.raises(pykka.ActorDeadError):
        await late
    assert clerk.left == ["failed"]
    assert clerk.heard == [clerk.heard[0]]
    assert "Unhandled exception" in caplog.text
    await until(lambda: not clerk.busy)
    with pytest.raises(pykka.ActorDeadError):
        clerk.actor_ref.tell("too late")


async def test_an_actor_whose_work_was_given_up_has_failed_and_does_not_fall_silent(
    clerk: Clerk, caplog: pytest.LogCaptureFixture
) -> None:
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    clerk.actor_ref.tell("one")
    await until(lambda: clerk.heard == ["one"])
    clerk.work = work
    clerk.actor_ref.tell("two")
    await settle()
    work.cancel()
    await until(lambda: not clerk.busy)
    assert clerk.left == ["failed"]
    assert "Unhandled exception" in caplog.text


async def test_an_asker_that_went_away_harms_nobody(clerk: Clerk, tasks: Tasks) -> None:
    clerk.closed.clear()

    async def ask() -> None:
        await clerk.actor_ref.ask("question")

    asking = tasks.spawn(ask(), "asker")
    await settle()
    asking.cancel()
    await until(asking.done)
    clerk.closed.set()
    assert await clerk.actor_ref.ask("another") == "heard another"
    assert clerk.heard == ["question", "another"]


async def test_a_question_to_a_stopped_actor_is_refused_when_awaited(clerk: Clerk) -> None:
    await clerk.actor_ref.stop(block=False)
    answer = clerk.actor_ref.ask("anybody there?")
    with pytest.raises(pykka.ActorDeadError):
        await answer
    assert clerk.left == ["stopped"]


async def test_what_comes_after_a_queued_stop_is_not_handled(clerk: Clerk) -> None:
    clerk.actor_ref.tell("before")
    stopped = clerk.actor_ref.stop(block=False)
    clerk.actor_ref.tell("after")
    asked = clerk.actor_ref.ask("asked after")
    again = clerk.actor_ref.stop(block=False)
    await stopped
    await again
    with pytest.raises(pykka.ActorDeadError):
        await asked
    assert clerk.heard == ["before"]
    assert clerk.left == ["stopped"]
    with pytest.raises(pykka.ActorDeadError):
        clerk.actor_ref.tell("much later")


@pytest.mark.parametrize("last", ["tell", "ask", "stop"])
async def test_what_comes_as_the_task_ends_is_not_lost(clerk: Clerk, last: str) -> None:
    put: dict[str, Callable[[], Any]] = {
        "tell": lambda: clerk.actor_ref.tell("late"),
        "ask": lambda: clerk.actor_ref.ask("late"),
        "stop": clerk.actor_ref.stop,
    }
    seen: list[tuple[bool, int]] = []

    def between() -> None:
        """The mailbox was seen empty for the last time, and the actor still counts as attended."""
        seen.append((clerk.busy, len(clerk.mailbox)))
        put[last]()

    clerk.actor_ref.tell(lambda: asyncio.get_running_loop().call_soon(between))
    await settle()
    assert seen == [(True, 0)]
    assert not clerk.busy
    assert clerk.mailbox.empty()
    assert clerk.left == (["stopped"] if last == "stop" else [])
    assert clerk.heard[1:] == ([] if last == "stop" else ["late"])


async def test_an_actor_without_work_has_no_task(clerk: Clerk, tasks: Tasks) -> None:
    await settle()
    assert len(tasks) == 0
    for number in range(100):
        clerk.actor_ref.tell(number)
    assert len(tasks) == 1
    await until(lambda: len(clerk.heard) == 100)
    await settle()
    assert len(tasks) == 0
    assert not clerk.busy


async def test_a_task_cancelled_before_its_first_step_loses_nothing(
    clerk: Clerk, tasks: Tasks
) -> None:
    clerk.actor_ref.tell("one")
    assert len(tasks) == 1
    await tasks.cancel()
    await settle()
    assert clerk.heard == []
    assert not clerk.busy
    clerk.actor_ref.tell("two")
    await until(lambda: clerk.heard == ["one", "two"])


async def test_a_task_cancelled_within_a_message_stops_no_other_actor(
    clerk: Clerk, tasks: Tasks
) -> None:
    other = Clerk.start_on(tasks)
    clerk.closed.clear()
    clerk.actor_ref.tell("given up")
    clerk.actor_ref.tell("waits")
    await settle()
    await tasks.cancel()
    await settle()
    assert not clerk.busy
    assert await other.actor_ref.ask("and you?") == "heard and you?"
    clerk.closed.set()
    assert await clerk.actor_ref.ask("go on") == "heard go on"
    assert clerk.heard == ["waits", "go on"]


async def test_nobody_may_wait_by_blocking_the_loop(clerk: Clerk) -> None:
    with pytest.raises(WouldBlockError):
        clerk.actor_ref.ask("question", block=True)
    with pytest.raises(WouldBlockError):
        clerk.actor_ref.stop(block=True)
    answer = clerk.actor_ref.ask("question")
    with pytest.raises(WouldBlockError):
        answer.get()
    assert await answer == "heard question"
    assert answer.get() == "heard question"
    assert clerk.heard == ["question"]


async def test_a_future_is_answered_once() -> None:
    future: AsyncioFuture[int] = AsyncioFuture()
    future.set(1)
    future.set(2)
    future.set_exception((ValueError, ValueError("late"), None))
    assert await future == 1


async def test_ten_thousand_actors_come_and_go_without_the_registry(tasks: Tasks) -> None:
    clerks = [Clerk.start_on(tasks) for _ in range(10_000)]
    assert len(tasks) == 0
    answers = [clerk.actor_ref.ask(number) for number, clerk in enumerate(clerks)]
    assert pykka.ActorRegistry.get_all() == []
    assert [await answer for answer in answers] == [f"heard {n}" for n in range(10_000)]
    stopped = [clerk.actor_ref.stop(block=False) for clerk in clerks[:5000]]
    for answer in stopped:
        await answer
    for clerk in clerks[5000:]:
        clerk.retire()
    assert not any(clerk.actor_ref.is_alive() for clerk in clerks)
    assert all(clerk.left == ["stopped"] for clerk in clerks)


async def test_a_retired_actor_is_gone_at_once(clerk: Clerk, tasks: Tasks) -> None:
    assert await clerk.actor_ref.ask("last") == "heard last"
    clerk.retire()
    assert clerk.left == ["stopped"]
    assert not clerk.actor_ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        clerk.actor_ref.tell("anybody?")
    await settle()
    assert len(tasks) == 0


async def test_a_message_tells_how_long_it_lay_in_the_mailbox(clerk: Clerk) -> None:
    clerk.closed.clear()
    clerk.actor_ref.tell("first")
    clerk.actor_ref.tell("second")
    before = asyncio.get_running_loop().time()
    await until(lambda: asyncio.get_running_loop().time() > before)
    clerk.closed.set()
    await until(lambda: clerk.heard == ["first", "second"])
    assert clerk.mailbox.waited_seconds > 0
