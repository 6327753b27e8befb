"""One life of an engine's process: from its first answer to its end (SPEC 2.6)."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from worker.engine.openai_http import OpenAIEngine
from worker.engine.port import EngineModel
from worker.engine.server.tail import Tail

GONE_SECONDS = 2.0
"""From the end of its stdin to its own; then it is killed."""


class Launcher(Protocol):
    """Knows one kind of engine: what it would serve, and how it is started."""

    name: str

    async def describe(self) -> EngineModel:
        """The model's record, of its files as they are now; raises `SetupError`."""

    async def launch(self, model: EngineModel) -> "Life":
        """Start it and wait until it answers; raises `SetupError` or `EngineFailed`."""


@dataclass(slots=True)
class Life:
    """A running engine; `deep_path` answers 200 only while the model does.

    `polite_seconds` is how long it may take after SIGTERM; 0 for one that has nothing to put in
    order. `tail` reads its output, `is_group` says that it leads a process group.
    """

    process: asyncio.subprocess.Process
    http: OpenAIEngine
    deep_path: str
    deep_seconds: float
    polite_seconds: float = 0.0
    is_group: bool = False
    tail: Tail | None = None
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def cause(self) -> str | None:
        """Why it ended, where it said so."""
        return None if self.tail is None else self.tail.cause

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run until this life ends."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def over(self) -> str:
        """Wait until it is dead, or until it hangs; says which."""
        died = asyncio.create_task(self.process.wait())
        try:
            while True:
                doubt = asyncio.create_task(self.http.suspect.wait())
                await asyncio.wait({died, doubt}, return_when=asyncio.FIRST_COMPLETED)
                doubt.cancel()
                if died.done():
                    return self.cause or f"it ended with status {died.result()}"
                if not await self.http.answers(self.deep_path, self.deep_seconds):
                    return "it no longer answers"
                self.http.suspect.clear()
        finally:
            died.cancel()

    async def stop(self) -> None:
        """End it and everything that it started."""
        await self.http.close()
        await end(self.process, polite_seconds=self.polite_seconds, is_group=self.is_group)
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)


async def end(
    process: asyncio.subprocess.Process, *, polite_seconds: float = 0.0, is_group: bool = False
) -> None:
    """Ask, then insist: SIGTERM, the end of stdin, SIGKILL."""
    if polite_seconds:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await _gone(process, polite_seconds)
    if process.stdin is not None:
        process.stdin.close()
    if not await _gone(process, GONE_SECONDS):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if is_group:
        # Also after a crash: what the first process started may hold the GPU's memory.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _gone(process: asyncio.subprocess.Process, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
    return process.returncode is not None
