"""The clock that decides how long this process may trust its own leases; tests turn it by hand."""

import time
from typing import Protocol


class Clock(Protocol):
    """Time that never runs backwards and goes on while the process is stopped."""

    def monotonic(self) -> float:
        """Seconds since some moment."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()
