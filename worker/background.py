"""Tasks beside the links: held until they end, and none of them ends in silence by a bug."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

_log = structlog.get_logger("worker")


class Background:
    """Tasks of one worker; `tell` takes a name and a sentence for the owner."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Begin it; what it raises is logged by its type, since its words may be content."""
        task = asyncio.create_task(work, name=getattr(work, "__qualname__", None))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        name, kind = task.get_name(), type(error).__name__
        _log.error("task_died", task=name, kind=kind)
        self._tell(f"task {name}", f"a part of this worker died ({name}: {kind}): start it again")

    async def close(self) -> None:
        """Cancel them all, and wait until they are gone."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
