"""Group commit: rows that come while a batch is written are the next batch (SPEC 5.2, 5.4)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from bombyx.errors import StoreBusy

Row = TypeVar("Row")
Answer = TypeVar("Answer")

BATCH_LIMIT = 256
FIRST_DELAY_S = 0.01
LAST_DELAY_S = 1.0
"""Pauses between repetitions double from the first to the last."""


class GroupCommit(Generic[Row, Answer]):
    """Writes batches one after another, each row exactly once or again until it is.

    `commit` answers row by row. `StoreBusy` repeats the batch, at most `retries` times (None: until
    closed); any other error is tried row by row, so that one bad row fails alone.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Row]], Awaitable[Sequence[Answer]]],
        *,
        window_s: float,
        retries: int | None,
    ) -> None:
        self._commit = commit
        self._window_s = window_s
        self._retries = retries
        self._queue: list[tuple[Row, asyncio.Future[Answer]]] = []
        self._runner: asyncio.Task[None] | None = None
        self._full = asyncio.Event()
        self._closing = False

    def submit(self, row: Row) -> "asyncio.Future[Answer]":
        """Queue a row; the future answers when it is committed."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((row, future))
        if len(self._queue) >= BATCH_LIMIT:
            self._full.set()
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return future

    async def close(self, within_s: float) -> None:
        """Write what is queued; what the database refuses for so long fails with `StoreBusy`."""
        self._closing = True
        self._full.set()
        if self._runner is None:
            return
        _, late = await asyncio.wait([self._runner], timeout=within_s)
        for runner in late:
            runner.cancel()
            await asyncio.wait([runner])
        self._fail(self._queue, StoreBusy("the gateway stopped before this was written"))

    async def _run(self) -> None:
        batch: list[tuple[Row, asyncio.Future[Answer]]] = []
        try:
            while self._queue:
                await self._gather()
                batch = self._queue[:BATCH_LIMIT]
                del self._queue[:BATCH_LIMIT]
                await self._write(batch)
        finally:
            self._runner = None
            self._fail(batch, StoreBusy("the gateway stopped before this was written"))

    async def _gather(self) -> None:
        if self._window_s == 0 or self._closing:
            await asyncio.sleep(0)
        elif len(self._queue) < BATCH_LIMIT:
            self._full.clear()
            try:
                async with asyncio.timeout(self._window_s):
                    await self._full.wait()
            except TimeoutError:
                return

    async def _write(self, batch: list[tuple[Row, "asyncio.Future[Answer]"]]) -> None:
        try:
            answers = await self._insist([row for row, _ in batch])
        except StoreBusy as error:
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001 - a boundary: the error goes to who asked
            await self._write_singly(batch, error)
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    async def _write_singly(
        self, batch: list[tuple[Row, "asyncio.Future[Answer]"]], error: Exception
    ) -> None:
        if len(batch) == 1:
            self._fail(batch, error)
            return
        for pair in batch:
            await self._write([pair])

    async def _insist(self, rows: list[Row]) -> Sequence[Answer]:
        delay, tried = FIRST_DELAY_S, 0
        while True:
            try:
                return await self._commit(rows)
            except StoreBusy:
                tried += 1
                if self._retries is not None and tried > self._retries:
                    raise
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_DELAY_S)

    @staticmethod
    def _fail(batch: list[tuple[Row, "asyncio.Future[Answer]"]], error: Exception) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)
