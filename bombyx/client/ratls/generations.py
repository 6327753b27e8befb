"""Pools of connections that are left before the evidence ends on which they were opened.

A connection that is kept alive is not verified again, so a pool lives a few minutes only: then new
requests go to a fresh one, and the old is closed when its last answer has ended. Decides, and lets
its caller close (SPEC 17.11).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

POOL_SECONDS: Final = 300
"""How long at most a verification stands in for the next one on the same connection."""
MARGIN_SECONDS: Final = 60
"""So long before its evidence's end nothing new is sent over a connection."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Generation(Generic[T]):
    """One pool; `ends_at` in unix seconds."""

    pool: T
    ends_at: int
    users: int = 0


class Generations(Generic[T]):
    """Which pool the next request uses; shared by threads. `clock` gives unix seconds."""

    def __init__(self, open_pool: Callable[[], T], *, clock: Callable[[], int]) -> None:
        self._open = open_pool
        self._clock = clock
        self._lock = threading.Lock()
        self._current: Generation[T] | None = None
        self._old: set[Generation[T]] = set()

    def take(self) -> tuple[Generation[T], list[T]]:
        """The pool for one request, and pools that nobody uses any more: close them."""
        now = self._clock()
        with self._lock:
            idle: list[T] = []
            current = self._current
            if current is not None and now >= current.ends_at:
                (self._old.add(current) if current.users else idle.append(current.pool))
                current = None
            if current is None:
                current = self._current = Generation(self._open(), now + POOL_SECONDS)
            current.users += 1
            return current, idle

    def shorten(self, generation: Generation[T], expires_at: int) -> None:
        """One of its connections rests on evidence that ends then."""
        with self._lock:
            generation.ends_at = min(generation.ends_at, expires_at - MARGIN_SECONDS)

    def give_back(self, generation: Generation[T]) -> list[T]:
        """A request has ended; the pools to close."""
        with self._lock:
            generation.users -= 1
            if generation.users == 0 and generation in self._old:
                self._old.discard(generation)
                return [generation.pool]
            return []

    def close(self) -> list[T]:
        """Every pool there is; the next request would open another."""
        with self._lock:
            found = [*self._old, *((self._current,) if self._current else ())]
            self._old.clear()
            self._current = None
            return [one.pool for one in found]
