"""The worker's only wall clock; everything else is told the time."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Unix time in milliseconds."""


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
