"""Each commitment once: the replay store and its floor (SPEC 4). Pure: time is an argument.

A commitment is kept until 600 s after its `issued_at`, when the header itself is long too old. What
is dropped raises the floor, and the floor never falls, so that a clock set back cannot make an old
request new again.
"""

import heapq

from bombyx.errors import ReplayedRequest, WorkerBusy

KEEP_SECONDS = 600
CAPACITY = 1_000_000
"""About 200 MB; at 600 s this is 1,600 requests a second."""
RETRY_AFTER_MS = 5000


class Seen:
    """Commitments seen by this boot; times are unix seconds."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._known: set[bytes] = set()
        self._by_second: dict[int, list[bytes]] = {}
        self._seconds: list[int] = []
        self.floor = -1
        """The latest `issued_at` that was forgotten: nothing up to it is taken any more."""

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, c: bytes) -> bool:
        return c in self._known

    def insert(self, c: bytes, *, issued_at: int, now: int) -> None:
        """Take a commitment; raises `ReplayedRequest` for an old one, `WorkerBusy` when full."""
        self.purge(now)
        if c in self._known or issued_at <= self.floor:
            raise ReplayedRequest("the worker has seen this request before")
        if issued_at + KEEP_SECONDS <= now:
            self.floor = issued_at  # too old to be kept, so nothing as old may come again
            return
        if len(self._known) >= self._capacity:
            raise WorkerBusy("the worker's replay store is full", retry_after_ms=RETRY_AFTER_MS)
        self._known.add(c)
        if issued_at not in self._by_second:
            self._by_second[issued_at] = []
            heapq.heappush(self._seconds, issued_at)
        self._by_second[issued_at].append(c)

    def purge(self, now: int) -> None:
        """Forget what is old enough, and raise the floor to it."""
        while self._seconds and self._seconds[0] + KEEP_SECONDS <= now:
            second = heapq.heappop(self._seconds)
            self._known.difference_update(self._by_second.pop(second))
            self.floor = max(self.floor, second)
