"""Operating system processes of a network: started, heard, killed, started again as they were."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READY_SECONDS = 60.0
"""A worker is ready once a gateway listed it, which may just be starting again."""
STOP_SECONDS = 20.0


class Died(Exception):
    """Raised when a process ended that nobody had killed."""


@dataclass(slots=True)
class Process:
    """One `bombyx` command with `--json`; its output goes to files that a test may read."""

    name: str
    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: dict[str, Any] = field(default_factory=dict)
    _child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Its stderr, of all its lives."""
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def output(self) -> Path:
        """Its stdout, of this life."""
        return self.folder / "logs" / f"{self.name}.out"

    @property
    def temporary(self) -> Path:
        """Where it puts temporary files."""
        return self.folder / "tmp" / self.name

    @property
    def pid(self) -> int:
        return self._running().pid

    def launch(self) -> None:
        """Start it, without waiting."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(exist_ok=True)
        self.ready = {}
        with self.log.open("ab") as log, self.output.open("wb") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "bombyx", *self.arguments, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                cwd=self.temporary,
                env={**_environment(self.folder, self.temporary), **self.environment},
            )

    async def await_ready(self) -> dict[str, Any]:
        """Its ready line; raises `Died` or `TimeoutError`."""
        async with asyncio.timeout(READY_SECONDS):
            while not (text := self.output.read_bytes()).endswith(b"\n"):
                self.check()
                await asyncio.sleep(0.02)
        self.ready = json.loads(text.splitlines()[0])
        if "error" in self.ready:
            raise Died(f"{self.name} did not start: {self.ready['error']}")
        return self.ready

    async def start(self) -> dict[str, Any]:
        """Start it and wait until it is ready."""
        self.launch()
        return await self.await_ready()

    def check(self) -> None:
        """Raises `Died` unless it runs."""
        code = self._running().poll()
        if code is not None:
            end = self.log.read_text(errors="replace")[-2000:]
            raise Died(f"{self.name} ended by itself with {code}: {end}")

    def kill(self) -> None:
        """SIGKILL; it is gone when this returns."""
        child = self._running()
        child.kill()
        child.wait()

    def send(self, number: signal.Signals) -> None:
        """A signal, without waiting for what it does."""
        self._running().send_signal(number)

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended; its exit code."""
        child = self._running()
        async with asyncio.timeout(STOP_SECONDS):
            while child.poll() is None:
                await asyncio.sleep(0.02)
        return child.wait()

    def destroy(self) -> None:
        """Whatever it does, it is gone afterwards."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise ValueError(f"{self.name} was never started")
        return self._child


def _environment(folder: Path, temporary: Path) -> dict[str, str]:
    """Ours without any setting of ours: what a developer set must not decide a test.

    Nor is what is about to be killed measured: it would only be slower.
    """
    ours = ("BOMBYX_", "COVERAGE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "TMPDIR": str(temporary), "XDG_CONFIG_HOME": str(folder / "no-config")}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
