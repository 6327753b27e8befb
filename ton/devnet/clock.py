"""The devnet's clock: the wall's, put forward by as much as somebody asked.

It never goes back, so that what was put forward stays, whatever the wall does.
"""

from collections.abc import Callable

MAX_TIME = 2**32 - 1
"""Unix seconds; contracts keep times in 32 bits."""


class Clock:
    """Unix seconds. `wall` tells the real time, `offset` is how far ahead of it this clock is."""

    def __init__(self, wall: Callable[[], float], *, offset: int = 0, floor: int = 0) -> None:
        self._wall = wall
        self.offset = offset
        self._floor = floor

    def now(self) -> int:
        """The time; at least the latest that was told."""
        self._floor = min(MAX_TIME, max(self._floor, int(self._wall()) + self.offset))
        return self._floor

    def ahead(self, seconds: int) -> int:
        """The offset that puts the clock forward by `seconds`, counted from what it shows now."""
        return self.now() - int(self._wall()) + seconds
