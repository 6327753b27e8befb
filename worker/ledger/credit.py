"""How far the worker trusts a gateway to pay (SPEC 8.3).

Earned and unpaid, plus the worst case of what runs, stays within a limit per gateway, which is the
till's to say: None is none.
"""

from collections.abc import Callable

from bombyx.errors import Draining, Unpaid, WorkerBusy
from bombyx.units import Nano

RETRY_AFTER_MS = 1000


class Credit:
    """What is in flight, per gateway and in all; `limit` in nano per gateway, `places` in requests.

    `places` bounds how many requests run or wait here at once.
    """

    def __init__(
        self, unpaid: Callable[[str], int], *, limit: Callable[[str], int | None], places: int
    ) -> None:
        self._unpaid = unpaid
        self._limit = limit
        self._places = places
        self._in_flight: dict[str, int] = {}
        self.running = 0
        self.is_draining = False

    def reserve(self, gateway: str, worst: Nano) -> None:
        """Take a request's worst case; raises `Draining`, `WorkerBusy` or `Unpaid`."""
        if self.is_draining:
            raise Draining("the worker is stopping", retry_after_ms=RETRY_AFTER_MS)
        if self.running >= self._places:
            raise WorkerBusy("the worker is full", retry_after_ms=RETRY_AFTER_MS)
        if not self.trusts(gateway, worst):
            raise Unpaid("the gateway owes this worker more than its limit")
        self._in_flight[gateway] = self._in_flight.get(gateway, 0) + worst
        self.running += 1

    def trusts(self, gateway: str, worst: Nano) -> bool:
        """Whether so much more may be in flight for this gateway."""
        in_flight, limit = self._in_flight.get(gateway, 0) + worst, self._limit(gateway)
        return limit is None or self._unpaid(gateway) + in_flight <= limit

    def release(self, gateway: str, worst: Nano) -> None:
        """The request ended: its statement, if any, counts from now on."""
        self._in_flight[gateway] -= worst
        self.running -= 1
