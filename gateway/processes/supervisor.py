"""One supervisor, many gateway processes: it binds the public socket, they serve it (ADR 8).

A process that dies is started again in its slot, later each time. SIGTERM and SIGINT stop all;
SIGHUP replaces them one at a time, so that streams end where they began and somebody always
answers. The supervisor serves nothing itself and opens no database.
"""

import asyncio
import contextlib
import json
import signal
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from bombyx.errors import SetupError

START_SECONDS = 60.0
STOP_MARGIN_SECONDS = 10.0
"""For last settlements, beyond the grace for requests; then SIGKILL."""
WARM_SECONDS = 30.0
"""How long a new process may take to have as many workers as the one before it."""
FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 15.0
STEADY_SECONDS = 60.0
"""A process that lived so long starts the back-off anew."""
_TURN_SECONDS = 0.05
_MAX_LINE = 2**16

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a process is started: `argv` of its slot and of the port for its links (0: any)."""

    argv: Callable[[int, int], Sequence[str]]
    slots: Sequence[int]
    public: socket.socket
    link_port: int
    """The first slot's; 0 takes free ones, which processes then keep."""
    grace_seconds: float


@dataclass(slots=True, eq=False)
class Seat:
    """One slot and who sits in it."""

    slot: int
    port: int
    child: Process | None = None
    ready: dict[str, Any] = field(default_factory=dict)
    linked: int = 0
    """Workers, as the process says."""
    refusal: str = ""
    crashes: int = 0
    leaving: bool = False
    """Its process was asked to end."""
    up: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Owns the processes of one gateway; `run` returns when all have ended."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        first = recipe.link_port
        self.seats = [
            Seat(slot, first + number if first else 0) for number, slot in enumerate(recipe.slots)
        ]
        self._stopping = asyncio.Event()
        self._rolling: asyncio.Task[None] | None = None
        self._is_up = False

    async def run(self, on_ready: Callable[[list[dict[str, Any]]], None]) -> None:
        """Until SIGTERM or SIGINT; raises `SetupError` when a process cannot start at first."""
        keepers = [asyncio.create_task(self._keep(seat)) for seat in self.seats]
        self._listen()
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await self._await_all(keepers, stopped)
            if not stopped.done():
                self._is_up = True
                on_ready([seat.ready for seat in self.seats])
            await stopped
        finally:
            stopped.cancel()
            if self._rolling is not None:
                self._rolling.cancel()
            await self._stop()
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                asyncio.get_running_loop().remove_signal_handler(number)

    def roll(self) -> None:
        """Replace all processes, one after the other, unless that is going on."""
        if self._is_up and (self._rolling is None or self._rolling.done()):
            self._rolling = asyncio.create_task(self._roll())

    def stop(self) -> None:
        """End; asked a second time, at once."""
        if self._stopping.is_set():
            for seat in self.seats:
                _signal(seat, signal.SIGKILL)
        self._stopping.set()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.roll)

    async def _await_all(
        self, keepers: list["asyncio.Task[None]"], stopped: "asyncio.Task[bool]"
    ) -> None:
        ready = asyncio.gather(*(seat.up.wait() for seat in self.seats))
        waiting: set[asyncio.Future[Any]] = {ready, stopped, *keepers}
        try:
            done, _ = await asyncio.wait(
                waiting, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for keeper in keepers:
                if keeper in done:
                    keeper.result()  # raises why it did not start
            if not done:
                raise SetupError(f"a gateway process was not ready within {START_SECONDS:.0f} s")
        finally:
            ready.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ready

    # --- One seat ---

    async def _keep(self, seat: Seat) -> None:
        """Somebody sits there, until the end."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            since, seat.leaving = loop.time(), False
            seat.child = child = await self._spawn(seat)
            await self._hear(seat, child)
            code = await child.wait()
            seat.up.clear()
            seat.linked = 0
            if self._stopping.is_set():
                return
            if not self._is_up:
                raise SetupError(seat.refusal or f"a gateway process ended with exit code {code}")
            if not seat.leaving:
                await self._pause(seat, code, lived=loop.time() - since)

    async def _spawn(self, seat: Seat) -> Process:
        public = self._recipe.public.fileno()
        seat.refusal = ""
        return await asyncio.create_subprocess_exec(
            *self._recipe.argv(seat.slot, seat.port),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            pass_fds=(public,),
            limit=_MAX_LINE,
        )

    async def _hear(self, seat: Seat, child: Process) -> None:
        """Its ready line, then how many workers it has, until it closes its output."""
        if child.stdout is None:
            raise ValueError("a child's stdout is a pipe")
        async for line in child.stdout:
            document = _document(line)
            if "linked" in document:
                seat.linked = int(document["linked"])
            elif "error" in document:
                seat.refusal = str(document["error"].get("message", ""))
            elif "link_port" in document:
                seat.ready = document
                seat.port = int(document["link_port"])
                seat.up.set()
                _log.info("process_ready", slot=seat.slot, pid=child.pid)

    async def _pause(self, seat: Seat, code: int, *, lived: float) -> None:
        seat.crashes = 1 if lived > STEADY_SECONDS else seat.crashes + 1
        if not self._recipe.link_port and seat.refusal:
            seat.port = 0  # another program may have taken the one that it had
        delay = min(FIRST_BACKOFF_SECONDS * 2 ** (seat.crashes - 1), LAST_BACKOFF_SECONDS)
        _log.error("process_ended", slot=seat.slot, code=code, reason=seat.refusal, again_in=delay)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()

    # --- All of them ---

    async def _roll(self) -> None:
        _log.info("rolling_restart")
        for seat in self.seats:
            if not await self._replace(seat):
                # The others go on as they are: what broke this one would break them.
                _log.error("rolling_restart_stopped", slot=seat.slot)
                return
        _log.info("rolling_restart_done")

    async def _replace(self, seat: Seat) -> bool:
        """A new process in the seat, once the old one has said its last; whether it is up."""
        had, child = seat.linked, seat.child
        seat.up.clear()
        seat.leaving = True
        _signal(seat, signal.SIGTERM)
        if child is not None and not await self._ended(child):
            _signal(seat, signal.SIGKILL)
        try:
            async with asyncio.timeout(START_SECONDS):
                await seat.up.wait()
        except TimeoutError:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WARM_SECONDS):
                while seat.linked < had:  # noqa: ASYNC110 - told by a pipe, four times a second
                    await asyncio.sleep(_TURN_SECONDS)
        _log.info("process_replaced", slot=seat.slot, linked=seat.linked)
        return True

    async def _ended(self, child: Process) -> bool:
        try:
            async with asyncio.timeout(self._recipe.grace_seconds + STOP_MARGIN_SECONDS):
                await child.wait()
        except TimeoutError:
            return False
        return True

    async def _stop(self) -> None:
        """All drain at once: nobody is left to take over for whom."""
        self._stopping.set()
        for seat in self.seats:
            _signal(seat, signal.SIGTERM)
        children = [seat.child for seat in self.seats if seat.child is not None]
        ended = await asyncio.gather(*(self._ended(child) for child in children))
        if not all(ended):
            for seat in self.seats:
                _signal(seat, signal.SIGKILL)
        await asyncio.gather(*(child.wait() for child in children))


def _signal(seat: Seat, number: signal.Signals) -> None:
    if seat.child is not None and seat.child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            seat.child.send_signal(number)


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
