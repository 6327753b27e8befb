"""When tokens are sent together (SPEC 3.7): only while they come faster than anyone reads."""

from collections import deque

COALESCE_SECONDS = 0.025
GAPS = 8


class Pace:
    """Arrival times of the last tokens; `now` is monotonic seconds."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=GAPS + 1)

    def hold(self, now: float) -> float:
        """How long what came at `now` may wait for more: 25 ms, or 0 at a slow pace."""
        self._times.append(now)
        if len(self._times) <= GAPS or now - self._times[0] >= GAPS * COALESCE_SECONDS:
            return 0.0
        return COALESCE_SECONDS
