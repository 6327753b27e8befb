"""A circuit breaker: who fails again and again is asked last for a while (DESIGN 7). Pure.

Closed: asked as usual. Open: asked only where nobody else is left. Half-open, once the pause is
over: one request a second may try; an answer closes it, a failure opens it for twice as long.
"""

from enum import Enum

FAILURES_IN_A_ROW = 5
"""By chance a worker that fails once in ten times does so every 100,000 requests."""
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0
PROBE_SECONDS = 1.0
_MOST_DOUBLINGS = 10


class State(Enum):
    """What the breaker says of its worker now."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Counts failures in a row; `now` is monotonic seconds."""

    __slots__ = ("_failures", "_opened", "_probing", "_until")

    def __init__(self) -> None:
        self._failures = 0
        self._opened = 0
        self._probing = False
        self._until = 0.0

    def state(self, now: float) -> State:
        """Whether to ask the worker."""
        if not self._opened:
            return State.CLOSED
        return State.OPEN if now < self._until else State.HALF_OPEN

    def is_open(self, now: float) -> bool:
        """Whether it is asked only where nobody else is left."""
        return self._opened > 0 and now < self._until

    def probe(self, now: float) -> None:
        """The worker is asked: while half-open, nobody else for a moment.

        The moment ends by itself: a request whose client leaves has no outcome to end it.
        """
        if self._opened and now >= self._until:
            self._probing, self._until = True, now + PROBE_SECONDS

    def succeed(self) -> None:
        """It answered."""
        self._failures = self._opened = 0
        self._probing = False

    def fail(self, now: float) -> None:
        """It did not; what fails while it is open was asked before, and says nothing new."""
        if self.is_open(now) and not self._probing:
            return
        self._probing = False
        self._failures += 1
        if self._opened or self._failures >= FAILURES_IN_A_ROW:
            doubled = FIRST_PAUSE_SECONDS * 2 ** min(self._opened, _MOST_DOUBLINGS)
            self._opened += 1
            self._until = now + min(doubled, LONGEST_PAUSE_SECONDS)
