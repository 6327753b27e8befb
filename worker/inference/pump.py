"""From engine events to sealed frames: one request (SPEC 2.6, 3, 6).

A reader drains the engine into a small buffer and meters it; a writer seals what is there as fast
as the link takes it. Every two seconds of a stream it signs what it has sealed by then, and where a
model falls silent it sends padding. When nobody takes the answer any more both are stopped, the
engine within a second, and what was counted is signed as `aborted`. An engine that fails before
anything was said costs nothing and is a reset, so that another worker may answer.
"""

import asyncio
from contextlib import aclosing
from typing import Any

from bombyx.chat.forms import Form
from bombyx.errors import (
    BombyxError,
    Draining,
    EngineFailed,
    EngineTimeout,
    RequestError,
)
from bombyx.money.cost import Tokens
from bombyx.money.statement import Status
from worker.engine.port import Answer as WholeAnswer
from worker.engine.port import Chunk, Engine, EngineRequest
from worker.inference.answer import Answer
from worker.inference.meter import Meter
from worker.inference.outlet import Outlet, StreamStopped
from worker.inference.pace import Pace

PARTIAL_SECONDS = 2.0
"""What a stream that is cut may lose of its bill (SPEC 6.1)."""
KEEPALIVE_SECONDS = 15.0
"""Silence within a stream before padding is sent: proxies cut idle streams after 30 to 60 s. Never
before the first data, which commits the gateway to this worker (SPEC 6.3)."""
STOP_SECONDS = 1.0
BUFFER_BYTES = 256 * 2**10
"""Read from the engine and not yet sealed; beyond it the reader waits for the client."""
NOTHING = Tokens()
EVENT_STREAM, JSON = "text/event-stream", "application/json"


class _Unanswered(Exception):
    """Raised when the engine failed before the answer began; `code` is what it failed with."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Pump:
    """Runs one admitted request; `run` returns when its terminal statement is on its way."""

    def __init__(
        self,
        engine: Engine,
        request: EngineRequest,
        answer: Answer,
        *,
        meter: Meter,
        form: Form,
        max_seconds: float,
    ) -> None:
        self._engine = engine
        self._request = request
        self._answer = answer
        self._meter = meter
        self._is_stream = bool(request.body.get("stream"))
        self._form = form
        self._max_seconds = max_seconds
        self._loop = asyncio.get_running_loop()
        self._pace = Pace()
        self._pending = bytearray()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        self._beat_due = False
        self._last_sent = 0.0
        self._has_ended = False
        self._sealed = NOTHING
        """Counts of what was sealed; the meter may be ahead of it by what is pending."""
        self._signed = NOTHING

    async def run(self, outlet: Outlet) -> str | None:
        """Answer, or abort; the code of why nothing was even begun, where that is so.

        Raises `JournalFailed` when the statement could not be kept.
        """
        work = asyncio.create_task(self._work())
        either: set[asyncio.Future[Any]] = {work, outlet.stopped}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and await _ended_well(work):
                return None
        except _Unanswered as nothing:
            outlet.reset(nothing.code)
            return nothing.code
        finally:
            if not work.done():
                await _stop(work)
        if not self._answer.has_begun and _is_draining(outlet):
            outlet.reset(Draining.code)
            return Draining.code
        await self._answer.abort(self._meter.tokens)
        return None

    async def _work(self) -> None:
        reader = asyncio.create_task(self._read())
        try:
            await self._write()
            error = await reader
            await self._finish(error)
        finally:
            for timer in (self._timer, self._beat_timer):
                if timer is not None:
                    timer.cancel()
            if not reader.done():
                await _stop(reader)

    async def _read(self) -> BombyxError | None:
        """Drain the engine; what it failed with, if it did."""
        try:
            async with (
                asyncio.timeout(self._max_seconds),
                aclosing(self._engine.run(self._request)) as events,
            ):
                async for event in events:
                    self._meter.observe(event.tokens)
                    if isinstance(event, Chunk):
                        await self._push_chunk(event)
                    elif isinstance(event, WholeAnswer):
                        self._push(self._form.whole(event.payload, self._meter.tokens))
        except BombyxError as error:
            return error
        except TimeoutError:
            return EngineTimeout("the answer took longer than a request may run")
        except Exception:  # noqa: BLE001 - an engine's driver is a boundary; its words may be content
            return EngineFailed("the engine's driver failed")
        finally:
            self._has_ended = True
            self._wake.set()
        return None

    async def _push_chunk(self, chunk: Chunk) -> None:
        # A path may have nothing to say of a chunk.
        if data := self._form.chunk(chunk.payload, self._meter.tokens):
            self._push(data)
        while len(self._pending) > BUFFER_BYTES:
            self._room.clear()
            await self._room.wait()

    def _push(self, data: bytes) -> None:
        self._pending += data
        wait = self._pace.hold(self._loop.time())
        if not wait:
            self._wake.set()
        elif self._timer is None:
            self._timer = self._loop.call_later(wait, self._wake.set)

    async def _write(self) -> None:
        """Seal what is pending until the reader is done."""
        while not self._has_ended or self._pending:
            await self._wake.wait()
            self._wake.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._pending:
                await self._seal_pending()
            if self._has_ended:
                self._wake.set()
            elif self._beat_due:
                await self._beat()

    async def _seal_pending(self) -> None:
        if not self._answer.has_begun:
            await self._answer.begin(200, EVENT_STREAM if self._is_stream else JSON)
            self._schedule_beat()
        data, sealed = bytes(self._pending), self._meter.tokens
        self._pending.clear()
        self._room.set()
        await self._answer.data(data)
        self._sealed, self._last_sent = sealed, self._loop.time()

    def _schedule_beat(self) -> None:
        self._beat_due = False
        self._beat_timer = self._loop.call_later(PARTIAL_SECONDS, self._on_beat)

    def _on_beat(self) -> None:
        self._beat_due = True
        self._wake.set()

    async def _beat(self) -> None:
        """Sign what has grown since the last time, else break a long silence."""
        now = self._loop.time()
        if self._sealed != self._signed:
            self._signed, self._last_sent = self._sealed, now
            await self._answer.partial(self._sealed)
        elif now - self._last_sent >= KEEPALIVE_SECONDS:
            self._last_sent = now
            await self._answer.keepalive()
        self._schedule_beat()

    async def _finish(self, error: BombyxError | None) -> None:
        if error is None:
            if self._is_stream:
                await self._answer.data(self._form.tail(self._meter.tokens))
            await self._answer.finish(Status.FINAL, self._meter.tokens)
        elif self._answer.has_begun:
            await self._answer.error(error)
            await self._answer.finish(Status.ABORTED, self._meter.tokens)
        elif not isinstance(error, RequestError):
            raise _Unanswered(error.code)
        else:
            await self._answer.begin(error.status, JSON)
            await self._answer.data(self._form.error(error))
            await self._answer.finish(Status.FINAL, NOTHING)


async def _stop(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=STOP_SECONDS)
    if done and not task.cancelled():
        task.exception()  # looked at: what it failed with no longer matters


def _is_draining(outlet: Outlet) -> bool:
    """Whether it is this worker that stops, and not the client that left."""
    return outlet.stopped.done() and outlet.stopped.result() == Draining.code


async def _ended_well(work: "asyncio.Task[None]") -> bool:
    try:
        await work
    except StreamStopped:
        return False
    return True
