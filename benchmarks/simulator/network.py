"""The events of a simulated network: requests come, run, fail, wait; statuses are told.

Deterministic: one seed, one course. Strategies meet the same workers and the same requests.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from benchmarks.simulator.fleet import (
    FAILS_AFTER,
    FLAKY_SHARE,
    Kind,
    Request,
    SimulatedWorker,
    make_fleet,
)
from benchmarks.simulator.strategies import Strategy, View
from gateway.routing.fair_queue import Entry, FairQueue

GATEWAYS = 2
STATUS_SECONDS = 0.1
"""From a change of a worker's load until gateways hear of it."""
MAX_ATTEMPTS = 3
LONGEST_WAIT = 30.0
CANDIDATES = 3
TENANTS = 50
MEAN_TOKENS = 200
POOL = "any"


@dataclass(frozen=True, slots=True)
class Scenario:
    """`load` is the share of the fleet's real capacity that is asked for."""

    workers: int
    requests: int
    load: float
    sealed: bool = False
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What became of the requests after the warm-up: seconds, nano per token, counts."""

    latencies: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    cost: int = 0
    tokens: int = 0
    failed: int = 0
    to_liars: int = 0


class Simulation:
    """One course of events under one strategy."""

    def __init__(self, scenario: Scenario, make: Callable[[Random], Strategy]) -> None:
        self.scenario = scenario
        self.fleet = make_fleet(scenario.workers, Random(scenario.seed))
        self._arrivals = Random(scenario.seed + 1)
        self._chance = Random(scenario.seed + 2)
        self._views = [[View(worker) for worker in self.fleet] for _ in range(GATEWAYS)]
        self._strategies = [make(Random(scenario.seed + 3 + at)) for at in range(GATEWAYS)]
        self._queues: list[FairQueue[Request]] = [
            FairQueue(total=100_000, per_tenant=10_000) for _ in range(GATEWAYS)
        ]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._telling: set[int] = set()
        self._count = 0
        self.now = 0.0
        self.outcome = Outcome()
        self._open = 0
        self._rate = scenario.load * self._capacity()
        self._prices = [1.0 / worker.price for worker in self.fleet]

    def _capacity(self) -> float:
        """Requests per second that the fleet can run when full."""
        return sum(
            worker.slots / (1.5 * (worker.ttft + MEAN_TOKENS / worker.speed))
            for worker in self.fleet
        )

    def run(self) -> Outcome:
        """Until the last request is answered or given up."""
        at = 0.0
        for number in range(self.scenario.requests):
            at += self._arrivals.expovariate(self._rate)
            self._at(at, self._arrival(number, at))
        self._open = self.scenario.requests
        while self._open:
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self.outcome

    def _at(self, when: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, event))

    def _arrival(self, number: int, at: float) -> Callable[[], None]:
        chance = self._arrivals
        tokens = max(1, int(chance.expovariate(1 / MEAN_TOKENS)))
        request = Request(at, number % GATEWAYS, tokens, tenant=chance.randrange(TENANTS))
        if self.scenario.sealed:
            request.candidates = self._drawn()
        return lambda: self._route(request)

    def _drawn(self) -> list[int]:
        """The client's candidates: at random, cheap ones more likely (SPEC 13.1)."""
        found: dict[int, None] = {}
        while len(found) < min(CANDIDATES, len(self.fleet)):
            found[self._arrivals.choices(range(len(self.fleet)), weights=self._prices)[0]] = None
        return list(found)

    def _changed(self, worker: SimulatedWorker) -> None:
        """Its load did: it will say so, once for all changes in between."""
        if worker.index in self._telling:
            return
        self._telling.add(worker.index)
        self._at(self.now + STATUS_SECONDS, lambda: self._tell(worker))

    def _tell(self, worker: SimulatedWorker) -> None:
        self._telling.discard(worker.index)
        for gateway, views in enumerate(self._views):
            views[worker.index].take_status()
            self._serve_queue(gateway, worker)

    def _route(self, request: Request) -> None:
        strategy, queue = self._strategies[request.gateway], self._queues[request.gateway]
        view = strategy.pick(self._views[request.gateway], request, self.now)
        if view is not None:
            self._send(request, view)
        elif strategy.queues and not request.tried:
            pools = tuple(request.candidates) or (POOL,)
            entry = queue.push(request, tenant=str(request.tenant), pools=pools)
            self._at(self.now + LONGEST_WAIT, lambda: self._give_up(entry, queue))
        else:
            self._end(request, ok=False)

    def _give_up(self, entry: Entry[Request], queue: FairQueue[Request]) -> None:
        if entry.waiting:
            queue.remove(entry)
            self._end(entry.item, ok=False)

    def _serve_queue(self, gateway: int, worker: SimulatedWorker) -> None:
        """As `WaitingRoom.freed` does."""
        view, queue = self._views[gateway][worker.index], self._queues[gateway]
        while queue and view.free and not view.standing.breaker.is_open(self.now):
            entry = queue.pop(worker.index, POOL)
            if entry is None:
                return
            self._send(entry.item, view)

    def _send(self, request: Request, view: View) -> None:
        view.hold()
        view.standing.breaker.probe(self.now)
        view.standing.asked(self.now)
        request.sent = self.now
        request.tried.add(view.worker.index)
        worker = view.worker
        if worker.running < worker.slots:
            self._start(worker, request)
        else:
            worker.line.append(request)
        self._changed(worker)

    def _start(self, worker: SimulatedWorker, request: Request) -> None:
        worker.running += 1
        fails = worker.kind is Kind.FLAKY and self._chance.random() < FLAKY_SHARE
        if fails:
            seconds = self._chance.uniform(*FAILS_AFTER)
        else:
            first = worker.first_token_after()
            request.first_token = self.now + first
            seconds = first + request.tokens / worker.tokens_per_second()
            standing = self._views[request.gateway][worker.index].standing
            ttft = request.first_token - request.sent
            self._at(request.first_token, lambda: standing.heard(self.now, ttft=ttft))
        self._at(self.now + seconds, lambda: self._over(worker, request, ok=not fails))

    def _over(self, worker: SimulatedWorker, request: Request, *, ok: bool) -> None:
        worker.running -= 1
        self._changed(worker)
        if worker.line:
            self._start(worker, worker.line.popleft())
        view = self._views[request.gateway][worker.index]
        view.held -= 1
        if ok:
            view.standing.succeed(
                self.now,
                total=self.now - request.sent,
                generating=self.now - request.first_token,
                tokens=request.tokens,
            )
            self._count_answer(worker, request)
        else:
            view.standing.heard(self.now, ttft=None)
            view.standing.fail(self.now)
            if len(request.tried) < MAX_ATTEMPTS:
                self._route(request)
            else:
                self._end(request, ok=False)
        self._serve_queue(request.gateway, worker)

    def _count_answer(self, worker: SimulatedWorker, request: Request) -> None:
        self._open -= 1
        if not self._counts(request):
            return
        told = self.outcome
        told.latencies.append(self.now - request.born)
        told.first_tokens.append(request.first_token - request.born)
        told.cost += request.tokens * worker.price
        told.tokens += request.tokens
        told.to_liars += worker.kind is Kind.LIAR

    def _end(self, request: Request, *, ok: bool) -> None:
        self._open -= 1
        self.outcome.failed += not ok and self._counts(request)

    def _counts(self, request: Request) -> bool:
        """The first third teaches what workers are worth."""
        return request.born * self._rate >= self.scenario.requests / 3
