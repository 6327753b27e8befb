"""This process among the others: its slot, its epoch, until when to trust them (SPEC 5.5)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.metering.clock import Clock
from gateway.metering.port import Processes


@dataclass(frozen=True, slots=True)
class Timing:
    """Periods in seconds, as in SPEC 5; tests stretch the loops and turn them by hand."""

    renew_s: float = 5.0
    safe_s: float = 12.0
    recall_s: float = 0.25
    recall_waits_s: tuple[float, ...] = (0.1, 0.2, 0.3)
    """Pauses before a short account is tried again: others give back within 500 ms."""
    settle_window_s: float = 0.05
    reap_s: float = 2.0
    overdue_grace_ms: int = 60_000
    """After that a claim of a living process is settled by another one."""
    close_s: float = 10.0


class Membership:
    """Owner of one slot; a new epoch voids everything that the older one held."""

    def __init__(
        self, store: Processes, *, clock: Clock, timing: Timing, on_epoch: Callable[[], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._timing = timing
        self._on_epoch = on_epoch
        self._lock = asyncio.Lock()
        self._link_url = ""
        self.slot = 0
        self.epoch = 0
        self.safe_until = 0.0
        self.processes = 1

    async def start(self, slot: int, link_url: str) -> None:
        """Take the slot, whoever had it."""
        self.slot, self._link_url = slot, link_url
        async with self._lock:
            await self._open()

    async def renew(self) -> None:
        """Live on, in a new epoch if this one was fenced."""
        async with self._lock:
            await self._renew()

    async def ensure(self) -> int:
        """The epoch, renewed first when it is too old to be trusted."""
        if self._clock.monotonic() >= self.safe_until:
            async with self._lock:
                if self._clock.monotonic() >= self.safe_until:
                    await self._renew()
        return self.epoch

    async def replace(self, fenced: int) -> None:
        """Take a new epoch, unless `fenced` was replaced already."""
        async with self._lock:
            if self.epoch == fenced:
                await self._open()

    async def close(self) -> None:
        """Leave."""
        async with self._lock:
            self.safe_until = 0.0
            await self._store.close_process(self.slot, self.epoch)

    async def drain(self) -> None:
        """Say that no new work is taken."""
        await self._store.drain_process(self.slot, self.epoch)

    async def _renew(self) -> None:
        before = self._clock.monotonic()
        if await self._store.renew_process(self.slot, self.epoch):
            self.safe_until = before + self._timing.safe_s
            await self._count()
        else:
            await self._open()

    async def _open(self) -> None:
        before = self._clock.monotonic()
        self.epoch = await self._store.open_process(self.slot, self._link_url)
        self.safe_until = before + self._timing.safe_s
        self._on_epoch()
        await self._count()

    async def _count(self) -> None:
        working = [one for one in await self._store.processes() if not one.draining]
        self.processes = max(1, len(working))
