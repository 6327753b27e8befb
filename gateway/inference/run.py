"""Requests in flight and just ended, by commitment (SPEC 14.2).

A sealed request that comes again joins its running answer from the first frame, or reads the kept
ciphertext for a while after its end; it is never run twice.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from bombyx.link.documents import SignedRefusal
from bombyx.money.settlement import Claim
from gateway.inference.answer import Answer
from gateway.workers.registry import Listed

KEEP_SECONDS = 300
MAX_KEPT_BYTES = 8 * 2**20
"""Per answer; a longer one can no longer be joined."""


@dataclass(slots=True, eq=False)
class Run:
    """One claimed request and the attempt that answers it."""

    account: str
    claim: Claim
    answer: Answer | None = None
    listed: Listed | None = None
    refusals: list[SignedRefusal] = field(default_factory=list)
    readers: int = 1
    joinable: bool = True
    ended_at: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def attempted(self, earlier: Answer | None) -> None:
        """Wait while the run has no other attempt than `earlier`, or that attempt has no news."""
        if self.answer is not None and self.answer is earlier:
            await self.answer.changed()
        elif self.answer is None:
            await self.changed.wait()


class Runs:
    """Open and kept runs; `now` is monotonic seconds."""

    def __init__(self, *, max_bytes: int) -> None:
        self._runs: dict[str, Run] = {}
        self._kept: OrderedDict[str, int] = OrderedDict()
        self._free = max_bytes

    def __len__(self) -> int:
        """Runs that are open or kept."""
        return len(self._runs)

    def get(self, c: str) -> Run | None:
        """The run of a commitment."""
        return self._runs.get(c)

    def add(self, run: Run) -> None:
        """Begin."""
        self._runs[run.claim.c] = run

    def remove(self, run: Run) -> None:
        """Forget at once: nothing of it can be joined."""
        self._runs.pop(run.claim.c, None)

    def keep(self, run: Run, now: float) -> None:
        """The run ended: keep its answer for a while, the oldest making room."""
        self.expire(now)
        size = run.answer.size if run.answer is not None else 0
        if not run.joinable or size > self._free:
            self.remove(run)
            return
        run.ended_at = now
        self._free -= size
        self._kept[run.claim.c] = size

    def expire(self, now: float) -> None:
        """Drop what was kept long enough."""
        while self._kept:
            c, size = next(iter(self._kept.items()))
            run = self._runs[c]
            if run.ended_at is not None and run.ended_at + KEEP_SECONDS > now:
                return
            del self._kept[c], self._runs[c]
            self._free += size

    def open_runs(self) -> list[Run]:
        """Runs that have not ended."""
        return [run for run in self._runs.values() if run.ended_at is None]
