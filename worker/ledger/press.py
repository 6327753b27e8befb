"""When statements are signed (SPEC 1.5): at once when idle, within 5 ms under load.

The shell around one gateway's `Scribe`: it owns the timers, and gives each writer a future for the
signed receipt.
"""

import asyncio
from collections.abc import Callable

from bombyx.link.documents import Settle
from bombyx.money.batch import MAX_LEAVES
from bombyx.money.receipt import Receipt
from worker.ledger.scribe import Matter, Point, Scribe

FLUSH_SECONDS = 0.005
SETTLE_SECONDS = 0.25
SLOW_SETTLE_SECONDS = 1.0
_SLOW_LEAVES = 8
"""Fewer leaves than this in a settle batch make the next one wait longer."""


class Press:
    """Signs for one gateway; `on_settle` gets each settle batch."""

    def __init__(self, scribe: Scribe, on_settle: Callable[[Settle], None]) -> None:
        self._scribe = scribe
        self._on_settle = on_settle
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[Receipt]] = []
        self._flush_timer: asyncio.Handle | None = None
        self._settle_timer: asyncio.TimerHandle | None = None
        self._last_flush = -FLUSH_SECONDS
        self._settle_seconds = SLOW_SETTLE_SECONDS

    def sign(self, matter: Matter, point: Point) -> "asyncio.Future[Receipt]":
        """Write the next statement now, and sign it soon; raises `ValueError` for an overcharge."""
        if self._scribe.unsigned >= MAX_LEAVES:
            self._flush()
        self._scribe.write(matter, point)
        receipt: asyncio.Future[Receipt] = self._loop.create_future()
        self._waiting.append(receipt)
        if self._flush_timer is None:
            self._flush_timer = self._schedule()
        if self._scribe.unsettled >= MAX_LEAVES:
            self._settle()
        elif self._settle_timer is None:
            self._settle_timer = self._loop.call_later(self._settle_seconds, self._settle)
        return receipt

    def close(self) -> None:
        """Sign and settle what is left."""
        self._flush()
        self._settle()

    def _schedule(self) -> asyncio.Handle:
        """Idle: at the end of this turn of the loop. Busy: 5 ms after the batch before."""
        due = self._last_flush + FLUSH_SECONDS
        if due <= self._loop.time():
            return self._loop.call_soon(self._flush)
        return self._loop.call_at(due, self._flush)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        self._last_flush = self._loop.time()
        waiting, self._waiting = self._waiting, []
        for future, receipt in zip(waiting, self._scribe.flush(), strict=True):
            if not future.done():
                future.set_result(receipt)

    def _settle(self) -> None:
        if self._settle_timer is not None:
            self._settle_timer.cancel()
            self._settle_timer = None
        while (settle := self._scribe.settle()) is not None:
            is_slow = settle.batch.count < _SLOW_LEAVES
            self._settle_seconds = SLOW_SETTLE_SECONDS if is_slow else SETTLE_SECONDS
            self._on_settle(settle)
