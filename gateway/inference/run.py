"""Requests in flight and just ended, by commitment (SPEC 14.2).

A sealed request that comes again joins its running answer from the first frame, or reads the kept
ciphertext for a while after its end; it is never run twice.
"""

import asyncio
from collections import OrderedDict

import msgspec

from bombyx.errors import BombyxError, RelayInterrupted
from bombyx.link.documents import SignedRefusal
from bombyx.money.settlement import Claim
from gateway.inference.answer import Answer, Phase
from gateway.inference.relay_note import note_frame
from gateway.workers.registry import Listed

KEEP_SECONDS = 300


class Run:
    """One claimed request and the attempt that answers it."""

    __slots__ = (
        "_decided",
        "_waiters",
        "account",
        "answer",
        "channel",
        "claim",
        "ended_at",
        "failure",
        "key",
        "listed",
        "readers",
        "refusals",
        "told",
    )

    def __init__(self, account: str, claim: Claim) -> None:
        self.account = account
        self.claim = claim
        self.key = ""
        """The API key, where it has limits."""
        self.channel = ""
        """The channel that pays, if one does."""
        self.answer: Answer | None = None
        self.listed: Listed | None = None
        self.refusals: list[SignedRefusal] = []
        self.readers = 1
        self.ended_at: float | None = None
        self.told = b""
        """Why it went where it did, for a client that asked."""
        self.failure: BombyxError | None = None
        self._decided = False
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def h(self) -> str:
        """Which request it runs."""
        return self.claim.h

    @property
    def joinable(self) -> bool:
        """Whether its answer can still be read from the first byte."""
        return self.answer is None or self.answer.joinable

    def decide(self, failure: BombyxError | None = None) -> None:
        """One attempt answers, or none will: whoever joined may go on."""
        if self._decided:
            return
        self._decided = True
        self.failure = failure
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def give_up(self) -> None:
        """Nobody answers any more: whoever still waits is told."""
        if not self._decided:
            self.decide(RelayInterrupted("the gateway gave the request up"))

    async def decided(self) -> Answer:
        """The attempt that answers; raises what the first request was told when none does."""
        if not self._decided:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self.failure is not None:
            raise self.failure
        if self.answer is None:
            raise ValueError("a run that was decided without failure has an answer")
        return self.answer


class Kept(msgspec.Struct, frozen=True, gc=False):
    """What a repetition needs of a run that is over: there are many thousand of them."""

    account: str
    h: str
    id: str
    worker: str
    body: tuple[bytes, ...]

    @classmethod
    def of(cls, run: Run) -> "Kept | None":
        """None for a run that may still change, or whose client was told of a failure."""
        answer, listed = run.answer, run.listed
        if listed is None or answer is None or not answer.answered:
            return None
        if answer.phase is not Phase.OVER:
            return None
        tail = () if answer.passage.ended else (note_frame(answer.failure),)
        claim = run.claim
        return cls(run.account, claim.h, claim.id, listed.worker, (*answer.chunks, *tail))


class Runs:
    """Open and kept runs; `now` is monotonic seconds."""

    def __init__(self, *, max_bytes: int) -> None:
        self._runs: dict[str, Run | Kept] = {}
        self._open: set[Run] = set()
        self._kept: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Size and time of the end, the oldest first."""
        self._most = self._free = max_bytes

    def __len__(self) -> int:
        """Runs that are open or kept."""
        return len(self._runs)

    def get(self, c: str) -> Run | Kept | None:
        """The run of a commitment."""
        return self._runs.get(c)

    def add(self, run: Run) -> None:
        """Begin."""
        self._runs[run.claim.c] = run
        self._open.add(run)

    def remove(self, run: Run) -> None:
        """Forget at once: nothing of it can be joined."""
        self._open.discard(run)
        if self._runs.get(run.claim.c) is run:
            del self._runs[run.claim.c]

    def keep(self, run: Run, now: float) -> None:
        """The run ended: keep its answer for a while, the oldest making room."""
        self.expire(now)
        size = run.answer.size if run.answer is not None else 0
        if not run.joinable or size > self._most:
            self.remove(run)
            return
        while size > self._free:
            self._drop_oldest()
        run.ended_at = now
        self._open.discard(run)
        self._free -= size
        self._runs[run.claim.c] = Kept.of(run) or run
        self._kept[run.claim.c] = size, now

    def expire(self, now: float) -> None:
        """Drop what was kept long enough."""
        while self._kept:
            _, ended_at = next(iter(self._kept.values()))
            if ended_at + KEEP_SECONDS > now:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        c, (size, _) = self._kept.popitem(last=False)
        del self._runs[c]
        self._free += size

    def open_runs(self) -> list[Run]:
        """Runs that have not ended."""
        return list(self._open)
