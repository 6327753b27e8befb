"""One process of the network: how it is started, heard and stopped.

Its stdout is a pipe that carries one ready line, its stderr a log file, its stdin a pipe that ends
with us (`leash`). Nothing here blocks: the supervisor asks in turns.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOG_LINES = 8
"""How much of a log an error shows: a refusal has one line, a crash's cause is near its end."""
MAX_READY_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024


def bombyx(*arguments: str) -> tuple[str, ...]:
    """The command line of one of our own commands, tied to this process.

    `-P` keeps the working directory from being imported from.
    """
    leash = (sys.executable, "-P", "-m", "bombyx.cli.network.leash", str(os.getpid()))
    return (*leash, *arguments)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to start one process, and how long it may take to be ready and to stop."""

    name: str
    argv: tuple[str, ...] = field(repr=False)
    log: Path
    ready_seconds: float = 30.0
    stop_seconds: float = 10.0
    temporary: Path | None = None
    """Its folder for temporary files, where the system's own will not do."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What it gets beside ours."""


class Child:
    """A running process of a recipe."""

    def __init__(self, recipe: Recipe, *, group: int | None = None) -> None:
        """Start it, in the process group `group` or in one of its own; raises `OSError`."""
        self.recipe = recipe
        self.ready: dict[str, Any] | None = None
        self._line = b""
        with recipe.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command lines)
                recipe.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(recipe),
                process_group=group or 0,
            )
        os.set_blocking(self._stdout(), False)

    def __repr__(self) -> str:
        return f"Child({self.recipe.name}, {self.pid})"

    @property
    def pid(self) -> int:
        """The process id, which is also the group's where it leads one."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    def listen(self) -> None:
        """Take what is on its stdout: the first line makes it `ready`, the rest is dropped."""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._stdout(), _READ_BYTES):
                if self.ready is None:
                    self._take(piece)

    def refusal(self) -> str:
        """The sentence of an error document in place of a ready line, or nothing."""
        error = (self.ready or {}).get("error")
        return str(error.get("message", "")) if isinstance(error, dict) else ""

    def send(self, signum: signal.Signals) -> None:
        """Signal it, unless it is gone."""
        self._process.send_signal(signum)

    def wait(self) -> None:
        """Wait for its end, which is near, and close our ends of its pipes."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _stdout(self) -> int:
        if self._process.stdout is None:
            raise ValueError("a child's stdout is a pipe")
        return self._process.stdout.fileno()

    def _take(self, piece: bytes) -> None:
        self._line = (self._line + piece)[:MAX_READY_BYTES]
        line, newline, _ = self._line.partition(b"\n")
        if newline:
            self.ready = _document(line)


def _environment(recipe: Recipe) -> dict[str, str]:
    temporary = {"TMPDIR": str(recipe.temporary)} if recipe.temporary else {}
    return {**os.environ, **temporary, **recipe.environment}


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def last_lines(log: Path) -> list[str]:
    """The end of a log file, for an error."""
    with contextlib.suppress(OSError), log.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=LOG_LINES)]
    return []
