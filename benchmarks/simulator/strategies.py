"""How a gateway picks a worker: the real code, and two ways in which others do it.

A gateway knows what it sent itself, and of the rest what workers say, a moment later.
"""

from collections.abc import Sequence
from random import Random
from typing import Protocol

from benchmarks.simulator.fleet import Request, SimulatedWorker
from gateway.inference.router import BUSY_PAUSE_SECONDS, MOST_WEIGHED
from gateway.routing.choose import Candidate, choose
from gateway.routing.route import Policy
from gateway.routing.standing import Standing

__all__ = ["BUSY_PAUSE_SECONDS", "LeastLoaded", "Own", "RoundRobin", "View"]


class View:
    """One gateway's knowledge of one worker."""

    __slots__ = ("elsewhere", "held", "peak", "standing", "worker")

    def __init__(self, worker: SimulatedWorker) -> None:
        self.worker = worker
        self.held = 0
        self.peak = 0
        self.elsewhere = 0
        self.standing = Standing()

    @property
    def load(self) -> float:
        """Share of the slots that it offers."""
        return (self.held + self.elsewhere) / self.worker.offered

    @property
    def free(self) -> bool:
        """Whether it would run another request at once, by its own word."""
        return self.held + self.elsewhere < self.worker.offered

    def hold(self) -> None:
        """A request goes there."""
        self.held += 1
        self.peak = max(self.peak, self.held)

    def take_status(self) -> None:
        """As `Listed.take_status` does."""
        self.elsewhere = max(0, self.worker.said - self.peak)
        self.peak = self.held


class Strategy(Protocol):
    """Chooses for one gateway."""

    queues: bool
    """Whether requests wait at the gateway while all workers are full."""

    def pick(self, views: Sequence[View], request: Request, now: float) -> View | None:
        """The worker for a request; None: it waits."""
        ...


class RoundRobin:
    """The next one in turn."""

    queues = False

    def __init__(self, chance: Random) -> None:
        self._next = chance.randrange(1000)

    def pick(self, views: Sequence[View], request: Request, now: float) -> View | None:
        """Whoever it is."""
        for _ in range(len(views)):
            self._next = (self._next + 1) % len(views)
            if self._next not in request.tried:
                break
        return views[self._next]


class LeastLoaded:
    """The least loaded of all, by what they say."""

    queues = False

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def pick(self, views: Sequence[View], request: Request, now: float) -> View | None:
        """Ties are drawn."""
        loads = [2.0**20 if view.worker.index in request.tried else view.load for view in views]
        least = min(loads)
        return views[self._chance.choice([at for at, load in enumerate(loads) if load == least])]


class Own:
    """The gateway's: `choose` among a sample (bare) or the client's candidates (sealed)."""

    queues = True

    def __init__(self, chance: Random, policy: Policy) -> None:
        self._chance = chance
        self._policy = policy

    def pick(self, views: Sequence[View], request: Request, now: float) -> View | None:
        """As `Router` does."""
        if request.candidates:
            return self._among([views[at] for at in request.candidates], request, now)
        few = self._chance.sample(views, min(MOST_WEIGHED, len(views)))
        picked = self._among(few, request, now, sound=True)
        return picked or self._among(views, request, now)

    def _among(
        self, views: Sequence[View], request: Request, now: float, *, sound: bool = False
    ) -> View | None:
        candidates = [
            Candidate(
                index=index,
                worker=view.worker.name,
                load=view.load,
                free=view.free,
                cost=view.worker.price,
                seconds=view.standing.seconds(now),
                state=view.standing.state(now),
                held_back=view.standing.held_back(view.held, now),
            )
            for index, view in enumerate(views)
            if view.worker.index not in request.tried
        ]
        choice = choose(candidates, policy=self._policy, draw=self._chance.randrange)
        if choice is None or (sound and not choice.sound):
            return None
        if not (choice.free or request.tried):
            return None
        return views[choice.index]
