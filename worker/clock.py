"""The worker's only wall clock; everything else is told the time. And a watch over it."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Unix time in milliseconds."""

MAX_JUMP_SECONDS = 30.0
"""Clients and gateways allow for a minute between clocks; a clock that is set is worth a look."""


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class ClockWatch:
    """Compares the wall clock with a steady one. Pure; both are given to each look."""

    def __init__(self, wall_ms: int, steady: float) -> None:
        self._wall_ms = wall_ms
        self._steady = steady

    def jump(self, wall_ms: int, steady: float) -> float | None:
        """By how many seconds the clock was set since the last look; None where it was not."""
        went = (wall_ms - self._wall_ms) / 1000 - (steady - self._steady)
        self._wall_ms, self._steady = wall_ms, steady
        return went if abs(went) >= MAX_JUMP_SECONDS else None
