"""What is done to the workers of a network, when, and to whom (SPEC 6.3)."""

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bombyx.errors import WorkerBusy
from tests.chaos.processes import Process
from tests.chaos.site import worker_environment
from worker.clock import now_ms

AFTERMATH_SECONDS = 2.0
"""An error must have its fault within this time before it."""
STALL_SECONDS = 1.0, 5.0
REFUSING_SECONDS = 8.0, 20.0
"""Longer than most: a client hears of the new keyset only with its next directory."""
REFUSES_ALL = {"unsecured_credit_nano": "1"}
"""No request costs so little: each is refused as `gateway_unpaid`."""
HAS_NO_ROOM = {"slots": "2", "max_waiting": "0"}


@dataclass(slots=True)
class Fault:
    """One thing that was done; times are monotonic seconds, no `ended` while it lasts."""

    kind: str
    subject: str
    began: float
    ended: float | None = None

    def touches(self, since: float, until: float) -> bool:
        """Whether it, or the time just after it, lies within this span."""
        return self.began <= until and (
            self.ended is None or self.ended + AFTERMATH_SECONDS >= since
        )

    def document(self, zero: float) -> dict[str, Any]:
        """Seconds since `zero`."""
        ended = None if self.ended is None else round(self.ended - zero, 3)
        began = round(self.began - zero, 3)
        return {"kind": self.kind, "subject": self.subject, "began": began, "ended": ended}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A signed refusal, as the worker's log has it; `at` in monotonic seconds."""

    subject: str
    code: str
    at: float


@dataclass(slots=True)
class FaultLog:
    """Every fault so far, and which worker was which process at what time."""

    faults: list[Fault] = field(default_factory=list)
    lives: dict[str, str] = field(default_factory=dict)
    """Worker (the digest of its keyset, new in each life) to name of its process."""
    current: dict[str, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    def born(self, process: Process) -> None:
        """A process told who it is."""
        worker = str(process.ready["worker"])
        self.lives[worker] = process.name
        self.current[process.name] = worker

    @contextlib.contextmanager
    def note(self, kind: str, subject: str) -> Iterator[Fault]:
        """A fault that lasts as long as the block."""
        fault = Fault(kind, subject, time.monotonic())
        self.faults.append(fault)
        try:
            yield fault
        finally:
            fault.ended = time.monotonic()

    def of(self, subject: str, since: float, until: float) -> list[Fault]:
        """Faults of a subject (all for "") that touch the span."""
        return [
            fault
            for fault in self.faults
            if subject in ("", fault.subject) and fault.touches(since, until)
        ]

    def is_healthy(self, worker: str, since: float, until: float) -> bool:
        """Whether a worker was there and left in peace during the whole span."""
        name = self.lives.get(worker)
        is_current = name is not None and self.current.get(name) == worker
        return name is not None and is_current and not self.of(name, since, until)

    def was_full(self, worker: str, since: float, until: float) -> bool:
        """Whether a worker said within the span that it has no room."""
        name = self.lives.get(worker)
        return any(
            one.subject == name and one.code == WorkerBusy.code and since <= one.at <= until
            for one in self.refusals
        )

    def read_refusals(self, processes: Iterable[Process]) -> None:
        """What the workers refused, from their logs, once all have ended."""
        offset = now_ms() / 1000 - time.monotonic()
        for process in processes:
            for line in process.log.read_text().splitlines():
                if '"refused"' in line and '"fault"' in line:
                    said = json.loads(line)
                    at = datetime.fromisoformat(said["timestamp"]).timestamp() - offset
                    self.refusals.append(Refusal(process.name, said["code"], at))

    def kinds(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(fault.kind for fault in self.faults)


class Hand:
    """Does things to workers, each of which is whole again afterwards."""

    def __init__(self, log: FaultLog, draw: random.Random) -> None:
        self._log = log
        self._draw = draw
        self.held: set[str] = set()
        """Names of processes that something is being done to."""
        self.deeds: Mapping[str, Callable[[Process], Awaitable[None]]] = {
            "kill": self._kill,
            "drain": self._drain,
            "stall": self._stall,
            "stall then drain": self._stall_then_drain,
            "refuse": self._refuse,
            "no room": self._no_room,
        }

    async def do(self, kind: str, victim: Process) -> None:
        """One deed from its begin until the worker is whole again."""
        self.held.add(victim.name)
        try:
            with self._log.note(kind, victim.name):
                await self.deeds[kind](victim)
        finally:
            self.held.discard(victim.name)

    async def _start(self, victim: Process) -> None:
        await victim.start()
        self._log.born(victim)

    async def _kill(self, victim: Process) -> None:
        victim.kill()
        await asyncio.sleep(self._draw.random())
        await self._start(victim)

    async def _drain(self, victim: Process) -> None:
        await self._end(victim)
        await self._start(victim)

    async def _end(self, victim: Process) -> None:
        if code := await victim.stop():
            raise RuntimeError(f"{victim.name} ended with {code} when it was asked to stop")

    async def _stall(self, victim: Process) -> None:
        """Slow: it answers nothing for a while, then all at once."""
        victim.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(self._draw.uniform(*STALL_SECONDS))
        finally:
            victim.send(signal.SIGCONT)

    async def _stall_then_drain(self, victim: Process) -> None:
        """What came in while it stood still is refused as `draining`."""
        victim.send(signal.SIGSTOP)
        await asyncio.sleep(STALL_SECONDS[0])
        os.kill(victim.pid, signal.SIGTERM)
        victim.send(signal.SIGCONT)
        await victim.ended()
        await self._start(victim)

    async def _refuse(self, victim: Process) -> None:
        await self._live_as(victim, REFUSES_ALL)

    async def _no_room(self, victim: Process) -> None:
        await self._live_as(victim, HAS_NO_ROOM)

    async def _live_as(self, victim: Process, settings: Mapping[str, str]) -> None:
        """A life with other settings, then one as before."""
        before = victim.environment
        await self._end(victim)
        victim.environment = {**before, **worker_environment(settings)}
        try:
            await self._start(victim)
            await asyncio.sleep(self._draw.uniform(*REFUSING_SECONDS))
            await self._end(victim)
        finally:
            victim.environment = before
        await self._start(victim)
