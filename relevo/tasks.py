"""Tasks that are kept: the event loop holds weak references only."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol


class Running(Protocol):
    """A task that was started; whoever started it may stop it."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Stop it at its next wait."""

    def done(self) -> bool:
        """Tell whether it has ended."""

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        """Have `callback` called when it has ended, however it did."""


class Tasks:
    """A set of running tasks. One that fails tells `on_failure`; none is ever forgotten."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._on_failure = on_failure
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> Running:
        """Start `work` and hold on to it until it ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """Cancel everything that runs, also what is started meanwhile, and wait for it."""
        while running := self._others():
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _others(self) -> list[asyncio.Task[Any]]:
        own = asyncio.current_task()
        return [task for task in self._running if task is not own and not task.done()]

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)


def is_stopped() -> bool:
    """Tell whether somebody stops the running task, and not what it waited for was given up."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
