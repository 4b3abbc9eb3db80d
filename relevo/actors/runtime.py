"""An asyncio actor on pykka's three hooks "for implementors of new actor types".

An actor without work has no task: the first message in an empty mailbox starts one, which takes the
messages one at a time until none is left. `on_receive` may be a coroutine; while it waits, the
mailbox waits. `ask`, `tell` and `stop` never block the loop.

All use of pykka's private names is in this file. What was learned the hard way:

* `ActorRegistry` is a list that is scanned under a lock; an actor is never registered there.
* A task cancelled before its first step never enters its body: tidying up is done in a callback.
* `BaseException` in pykka's own loop stops every actor; cancelling a task must not.
* A future that is cancelled cancels who awaits it: an actor that is not being stopped has failed.
* A `tell` after a queued `stop` is taken and dropped: whoever stops an actor forgets it first.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, Self, TypeVar, cast

import pykka
from pykka import _envelope as envelopes
from pykka import messages

from relevo.tasks import Tasks, is_stopped

T = TypeVar("T")


class WouldBlockError(RuntimeError):
    """Something asked to wait for an actor by blocking the loop that runs it."""


class AsyncioFuture(pykka.Future[T]):
    """A pykka future that is awaited. `get` raises unless the answer is there."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def get(self, *, timeout: float | None = None) -> T:
        """Return the answer, if it is there; there is no waiting."""
        del timeout
        if not self._answer.done():
            raise WouldBlockError("await this future instead")
        return self._answer.result()

    def set(self, value: T | None = None) -> None:
        """Set the answer."""
        if not self._answer.done():
            self._answer.set_result(cast("T", value))

    def set_exception(self, exc_info: Any | None = None) -> None:
        """Set the failure; by default the one being handled."""
        error: BaseException | None = (exc_info or sys.exc_info())[1]
        assert error is not None
        if not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # seen: an asker that went away is no fault

    def __await__(self) -> Generator[None, None, T]:
        return cast("Generator[None, None, T]", self._answer.__await__())


class Mailbox:
    """An actor's inbox. Calls `attend` when it stops being empty."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, envelopes.Envelope[Any]]] = deque()
        self._loop = asyncio.get_running_loop()
        self.actor: AsyncioActor | None = None
        self.waited_seconds = 0.0
        """How long the message taken last had waited."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, envelope: "envelopes.Envelope[Any]", /) -> None:
        """Add a message, and have it attended to."""
        self._waiting.append((self._loop.time(), envelope))
        if self.actor is not None:
            self.actor.attend()

    def get(self) -> "envelopes.Envelope[Any]":
        """Take the oldest message."""
        put_at, envelope = self._waiting.popleft()
        self.waited_seconds = self._loop.time() - put_at
        return envelope

    def empty(self) -> bool:
        """Tell whether nothing waits."""
        return not self._waiting

    def __iter__(self) -> Iterator[Any]:
        """Look at what waits, the oldest first, without taking it."""
        return (envelope.message for _, envelope in self._waiting)


class AsyncioRef(pykka.ActorRef["AsyncioActor"]):
    """An actor's reference, whose questions are awaited."""

    def ask(
        self, message: Any, *, block: bool = False, timeout: float | None = None
    ) -> pykka.Future[Any]:
        """Send a message and return the future of its answer."""
        if block:
            raise WouldBlockError("ask(block=True) would block the loop")
        return super().ask(message, block=False, timeout=timeout)

    def stop(  # type: ignore[override]  # the same
        self, *, block: bool = False, timeout: float | None = None
    ) -> pykka.Future[Any]:
        """Have the actor stop after the messages that wait already."""
        return self.ask(messages._ActorStop(), block=block, timeout=timeout)  # noqa: SLF001


class AsyncioActor(pykka.Actor):
    """An actor on the running event loop. Start it with `start_on(tasks, …)`."""

    def __init__(self) -> None:
        super().__init__()
        self._actor_ref = AsyncioRef(self)
        self._tasks: Tasks | None = None
        self._attended = False

    @classmethod
    def start_on(cls, tasks: Tasks, *args: Any, **kwargs: Any) -> Self:
        """Make an actor whose work runs among `tasks`, and return it, not its reference.

        Whoever starts it keeps it: a reference is weak, and nothing else knows it.
        """
        actor = cls(*args, **kwargs)
        actor._tasks = tasks
        actor._start_actor_loop()
        return actor

    @property
    def mailbox(self) -> Mailbox:
        """Return its inbox."""
        return cast("Mailbox", self.actor_inbox)

    @property
    def busy(self) -> bool:
        """Tell whether a message is being handled or waits to be."""
        return self._attended

    def retire(self) -> None:
        """Stop at once; for an actor without work that nobody knows any more."""
        self._stop()

    def attend(self) -> None:
        """Have the mailbox emptied by a task, unless one is at it."""
        if self._attended or self._tasks is None:
            return
        self._attended = True
        self._tasks.spawn(self._empty_mailbox(), "actor").add_done_callback(self._left)

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return AsyncioFuture()

    def _start_actor_loop(self) -> None:
        self._actor_loop_setup()
        self.mailbox.actor = self
        if not self.mailbox.empty():
            self.attend()

    async def _empty_mailbox(self) -> None:
        """Handle messages until none is left."""
        while not self.actor_inbox.empty() and not self.actor_stopped.is_set():
            await self._handle_next(self.actor_inbox.get())
        if self.actor_stopped.is_set():
            self._actor_loop_teardown()

    async def _handle_next(self, envelope: "envelopes.Envelope[Any]") -> None:
        try:
            response = self._handle_receive(envelope.message)
            if asyncio.iscoroutine(response):
                response = await response
            if envelope.reply_to is not None:
                envelope.reply_to.set(response)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_stopped():
                raise
            if envelope.reply_to is not None:
                envelope.reply_to.set_exception()
                return
            self._handle_failure(*sys.exc_info())
            self.on_failure(*sys.exc_info())

    def _left(self, task: asyncio.Task[None]) -> None:
        """The task has ended, perhaps before it began; what came since its last look is seen here.

        Until now the actor counted as attended, so nothing can have started a second task.
        """
        self._attended = False
        if self.actor_inbox.empty():
            return
        if self.actor_stopped.is_set():
            self._actor_loop_teardown()
        elif not task.cancelled():
            self.attend()
