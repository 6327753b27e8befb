"""Where requests wait while all their workers' slots are taken (DESIGN 7).

The order is `FairQueue`'s; here are the futures, the time limit and the clients that hang up.
Nothing is claimed and no money held for who waits here.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from functools import partial

from bombyx.errors import BombyxError, NoCandidate, Overloaded, RateLimited
from gateway.inference.alarms import Alarms
from gateway.inference.exchange import ClientGone, Exchange
from gateway.inference.wire import not_taken
from gateway.routing.fair_queue import Entry, FairQueue, Full
from gateway.routing.route import Priority
from gateway.workers.registry import Listed

SHORTEST_RETRY_MS = 1000
LONGEST_RETRY_MS = 60_000
_PACE_SHARE = 0.1
"""How much the newest interval between two served counts in their mean."""


class Waiter:
    """One request: woken with the worker whose slot it holds, or with the error it gets.

    `listed` are the only workers it can go to; empty: any that serves the model.
    """

    __slots__ = ("future", "listed")

    def __init__(self, listed: Sequence[Listed]) -> None:
        self.listed = listed
        self.future: asyncio.Future[Listed] = asyncio.get_running_loop().create_future()

    @property
    def stranded(self) -> bool:
        """Whether none of its workers is linked any more."""
        return bool(self.listed) and not any(one.link.open_for_requests for one in self.listed)


class WaitingRoom:
    """All that wait in this process; `now` is monotonic seconds."""

    def __init__(
        self,
        *,
        total: int,
        per_account: int,
        seconds: float,
        alarms: Alarms,
        now: Callable[[], float],
    ) -> None:
        self._queue: FairQueue[Waiter] = FairQueue(total=total, per_tenant=per_account)
        self._seconds = seconds
        self.alarms = alarms
        self._now = now
        self._served_at = 0.0
        self._pace = 0.0
        self.served = 0
        self.waited_seconds = 0.0
        self.refused: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._queue)

    async def wait(
        self,
        account: str,
        *,
        model: str,
        listed: Sequence[Listed],
        priority: Priority,
        seconds: float,
        exchange: Exchange,
        wanted: Callable[[], bool],
    ) -> Listed:
        """A worker whose slot is now held, once it is this request's turn.

        `wanted` says whether anybody is left to answer when the client of `exchange` hangs up.
        Raises `RateLimited`, `Overloaded`, `NoCandidate`, `Draining` or `ClientGone`.
        """
        self._check_room(account)
        waiter = Waiter(listed)
        pools: tuple[Hashable, ...] = tuple((one.worker, model) for one in listed) or (model,)
        entry = self._queue.push(waiter, tenant=account, pools=pools, priority=priority)
        alarm = self.alarms.after(min(seconds, self._seconds), partial(self._too_late, entry))
        exchange.watch(partial(self._gone, entry, wanted))
        since = self._now()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled():
                waiter.future.result().link.release(model)  # granted in the very same turn
            raise
        finally:
            self.waited_seconds += self._now() - since
            alarm.clear()
            exchange.watch(_nothing)
            self._queue.remove(entry)

    def freed(self, listed: Listed, model: str) -> None:
        """A worker may have a free slot: it goes to who is next."""
        if not self._queue:
            return
        now = self._now()
        while listed.has_room(model, now) and not listed.standing.breaker.is_open(now):
            entry = self._queue.pop((listed.worker, model), model)
            if entry is None:
                return
            listed.standing.breaker.probe(now)
            listed.link.hold(model)
            self.served += 1
            self._keep_pace(now)
            entry.item.future.set_result(listed)

    def sweep(self, *, draining: bool) -> None:
        """Once a second: nobody waits for what cannot come."""
        for entry in self._queue.entries():
            if draining:
                self._refuse(entry, not_taken())
            elif entry.item.stranded:
                message = "none of the chosen workers is linked any more"
                self._refuse(entry, NoCandidate(message))

    def _check_room(self, account: str) -> None:
        """A line of one's own that is too long is 429; a full house is 503."""
        full = self._queue.full(account)
        if full is None:
            return
        self.refused[full.value] = self.refused.get(full.value, 0) + 1
        if full is Full.TENANT:
            message = "too many of this account's requests wait for a worker"
            raise RateLimited(message, retry_after_ms=self._retry_ms(self._queue.waiting(account)))
        raise Overloaded(
            "too many requests wait for a worker", retry_after_ms=self._retry_ms(len(self._queue))
        )

    def _too_late(self, entry: Entry[Waiter]) -> None:
        retry = self._retry_ms(len(self._queue))
        message = "no worker had a free slot in time"
        self._refuse(entry, Overloaded(message, retry_after_ms=retry))

    def _gone(self, entry: Entry[Waiter], wanted: Callable[[], bool]) -> None:
        if not wanted():
            self._refuse(entry, ClientGone())

    def _refuse(self, entry: Entry[Waiter], error: Exception) -> None:
        if entry.waiting:
            self._queue.remove(entry)
            code = error.code if isinstance(error, BombyxError) else "gone"
            self.refused[code] = self.refused.get(code, 0) + 1
            entry.item.future.set_exception(error)

    def _keep_pace(self, now: float) -> None:
        """Mean seconds between two that are served while some wait."""
        between = min(now - self._served_at, self._seconds)
        self._served_at = now
        self._pace += (between - self._pace) * _PACE_SHARE

    def _retry_ms(self, ahead: int) -> int:
        """When those ahead will have been served, at the pace of late."""
        expected = int(ahead * self._pace * 1000)
        return min(max(expected, SHORTEST_RETRY_MS), LONGEST_RETRY_MS)


def _nothing() -> None:
    """Whoever hangs up now is seen by who called."""
