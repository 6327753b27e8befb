"""Time limits of requests, all on one timer that ticks.

Every request sets limits that hardly any reaches. A timer of the event loop for each of them costs
more than reading the request; here setting and clearing one is an entry in a set.
"""

import asyncio
from collections.abc import Callable

TICK_SECONDS = 0.05
"""How late an alarm may be."""


class Alarm:
    """One limit; does nothing once cleared."""

    __slots__ = ("_action", "_bucket")

    def __init__(self, action: Callable[[], None], bucket: "set[Alarm]") -> None:
        self._action: Callable[[], None] | None = action
        self._bucket = bucket
        bucket.add(self)

    def clear(self) -> None:
        """The limit was kept."""
        self._action = None  # whose owner may hold this: no cycle is left behind
        self._bucket.discard(self)

    def ring(self) -> None:
        """It was not."""
        if self._action is not None:
            self._action()


class Alarms:
    """All limits of one event loop; ticks only while there are some."""

    def __init__(self) -> None:
        self._buckets: dict[int, set[Alarm]] = {}
        self._ticking = False
        self._turned = 0

    def after(self, seconds: float, action: Callable[[], None]) -> Alarm:
        """Call `action` in `seconds`, or a tick later, unless the alarm is cleared before."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        tick = int((now + seconds) / TICK_SECONDS) + 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = set()
        if not self._ticking:
            self._ticking = True
            self._turned = int(now / TICK_SECONDS)
            loop.call_later(TICK_SECONDS, self._turn, loop)
        return Alarm(action, bucket)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        past, self._turned = self._turned, int(loop.time() / TICK_SECONDS)
        for tick in range(past + 1, self._turned + 1):
            for alarm in self._buckets.pop(tick, ()):
                loop.call_soon(alarm.ring)
        self._ticking = bool(self._buckets)
        if self._ticking:
            loop.call_later(TICK_SECONDS, self._turn, loop)
