"""A worker process for each group of GPUs, started again when it dies, stopped together.

Each is a whole worker with a state folder, keys and links of its own: groups share nothing, so that
a group whose GPU fell off the bus takes nobody with it.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from bombyx.cli.output import Output
from bombyx.errors import SetupError
from bombyx.settings import state_directory
from worker.gpu.groups import Group, group_name
from worker.logs import configure_logs
from worker.settings import WorkerSettings

MAX_CRASHES = 6
"""In a row: starting again will not mend it."""
_READY_LINE_BYTES = 2**20

_log = structlog.get_logger("worker")


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently a group is started again; seconds."""

    first: float = 0.5
    last: float = 30.0
    steady: float = 60.0
    """A process that lived so long starts the back-off anew."""
    stop: float = 10.0
    """Beyond the grace, before a process that does not leave is killed."""


@dataclass(frozen=True, slots=True)
class Crew:
    """What is the same for all groups: how a worker is called, where its state goes.

    `grace_seconds` is how long a worker may finish its requests after SIGTERM.
    """

    flags: Mapping[str, Any]
    state: Path
    config: Path | None = None
    grace_seconds: float = 30.0
    pace: Pace = field(default_factory=Pace)
    program: tuple[str, ...] = (sys.executable, "-m", "bombyx", "worker")

    @classmethod
    def of(
        cls,
        flags: Mapping[str, Any],
        settings: WorkerSettings,
        state: Path | None,
        *,
        config: Path | None,
    ) -> "Crew":
        """What a command line asks for; `state` and `config` as they were given."""
        folder = state_directory(state)
        return cls(flags, folder, config=config, grace_seconds=settings.grace_seconds)

    def command(self, group: Group) -> list[str]:
        """The command line of one group's worker."""
        flags = dict(self.flags) | {"gpus": group_name(group)}
        called = [*self.program, *arguments(flags)]
        called += ["--state", str(self.state / f"gpu-{group_name(group)}")]
        if self.config is not None:
            called += ["--config", str(self.config)]
        tied = ["--die-with-parent"] if sys.platform == "linux" else []
        return [*called, *tied, "--json"]


def arguments(flags: Mapping[str, Any]) -> list[str]:
    """Flags as the command line has them; a list repeats its flag, None was not given."""
    called: list[str] = []
    for name, value in flags.items():
        values = value if isinstance(value, tuple | list) else (value,)
        for one in values:
            if one is not None:
                called += [f"--{name.replace('_', '-')}", str(one)]
    return called


async def serve_groups(groups: Sequence[Group], crew: Crew, output: Output) -> None:
    """Run until SIGTERM or SIGINT; raises `SetupError` when no group can be kept running."""
    configure_logs()
    posts = [_Post(group, crew) for group in groups]
    ready = asyncio.create_task(_tell_ready(posts, output))
    keepers = {asyncio.create_task(post.keep()) for post in posts}
    stopping = asyncio.create_task(_signalled().wait())
    try:
        done: set[asyncio.Task[Any]] = set()
        while not stopping.done() and not keepers <= done:
            finished, _ = await asyncio.wait(
                {stopping, *(keepers - done)}, return_when=asyncio.FIRST_COMPLETED
            )
            done |= finished
        if not stopping.done():
            raise SetupError("no group of GPUs keeps running; the log above says why")
    finally:
        for task in (stopping, ready, *keepers):
            task.cancel()
        await asyncio.gather(stopping, ready, *keepers, return_exceptions=True)
        await asyncio.gather(*(post.stop() for post in posts))


async def _tell_ready(posts: Sequence["_Post"], output: Output) -> None:
    """One ready line, once every group had its own."""
    workers = [{"gpus": group_name(post.group), **await post.ready} for post in posts]
    lines = [f"GPUs {one['gpus']}: worker {str(one.get('worker', ''))[:16]}" for one in workers]
    output.answer({"workers": workers, "pid": os.getpid()}, *lines)


def _signalled() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stopping.set)
    return stopping


class _Post:
    """One group and who serves it."""

    def __init__(self, group: Group, crew: Crew) -> None:
        self.group = group
        self.ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._crew = crew
        self._child: asyncio.subprocess.Process | None = None

    async def keep(self) -> None:
        """Start the group's worker, again and again; returns when that is pointless."""
        pace, loop = self._crew.pace, asyncio.get_running_loop()
        crashes = 0
        while crashes < MAX_CRASHES:
            born = loop.time()
            code = await self._run()
            crashes = 1 if loop.time() - born > pace.steady else crashes + 1
            delay = min(pace.last, pace.first * 2 ** (crashes - 1))
            _log.warning("group_ended", gpus=group_name(self.group), code=code, again_in=delay)
            await asyncio.sleep(delay)
        _log.error("group_given_up", gpus=group_name(self.group))

    async def _run(self) -> int:
        self._child = await asyncio.create_subprocess_exec(
            *self._crew.command(self.group),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=_READY_LINE_BYTES,
            # Ctrl-C reaches the parent alone, which then stops every group in peace.
            start_new_session=True,
        )
        if self._child.stdout is not None:
            async for line in self._child.stdout:
                self._hear(line)
        return await self._child.wait()

    def _hear(self, line: bytes) -> None:
        with contextlib.suppress(ValueError):
            document = json.loads(line)
            if not self.ready.done() and isinstance(document, dict) and "worker" in document:
                self.ready.set_result(document)

    async def stop(self) -> None:
        """SIGTERM, the grace, and then no more patience."""
        child = self._child
        if child is None or child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(self._crew.grace_seconds + self._crew.pace.stop):
                await child.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
