"""Which of some workers runs a request (DESIGN 7, SPEC 13.1). Pure.

The client has chosen whom it trusts and what it pays; among those the gateway takes, of two drawn
at random, the one that will be done sooner. Two, and not the best of all: loads and reputations
are always a little old, and everybody would run to the same worker.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from hashlib import sha256

import msgspec

from gateway.routing.breaker import State
from gateway.routing.route import Policy

AFFINITY_SLACK = 0.25
"""How much fuller than the emptiest a conversation's own worker may be."""
BAND = 1.3
"""How far above the best score, by the request's policy, one is still drawn."""
EXPONENTS = {
    Policy.CHEAP: (1.0, 0.2),
    Policy.FAST: (0.0, 1.0),
    Policy.BALANCED: (0.5, 0.5),
}
"""Of cost and of expected seconds in a score. Chosen with the simulator: docs/routing.md."""


class Reason(Enum):
    """Why this one."""

    ONLY = "only"
    AFFINITY = "affinity"
    LOAD = "load"
    QUEUE = "queue"


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A worker that could run the request: the state of its slots, its price, its reputation.

    `load` is the share of its slots in use; `cost` compares offers, in any unit; `seconds` is what
    an answer is expected to take; `held_back`: a newcomer that runs all it may for now.
    """

    index: int
    worker: str
    load: float
    free: bool
    cost: int
    seconds: float
    state: State
    held_back: bool


class Choice(msgspec.Struct, frozen=True, gc=False):
    """The one chosen, and why; `free` says whether it has a slot.

    `sound`: free, not broken and not held back, so that nobody else need be looked at.
    """

    index: int
    free: bool
    reason: Reason
    sound: bool = True


def choose(
    candidates: Sequence[Candidate],
    *,
    policy: Policy,
    draw: Callable[[int], int],
    shard: bytes = b"",
) -> Choice | None:
    """The next worker, None when there is none; `draw(n)` gives 0..n-1.

    `shard` names requests that begin alike: they meet at one worker, as long as it is not fuller
    than others.
    """
    pool = _eligible(candidates)
    if not pool:
        return None
    if len(pool) == 1:
        return _chosen(pool[0], Reason.ONLY)
    if shard and (home := _home(pool, shard)) is not None:
        return _chosen(home, Reason.AFFINITY)
    pool = _band(pool, policy)
    if len(pool) == 1:
        return _chosen(pool[0], Reason.ONLY)
    first = draw(len(pool))
    second = (first + 1 + draw(len(pool) - 1)) % len(pool)
    return _chosen(min(pool[first], pool[second], key=_done), Reason.LOAD)


def _chosen(one: Candidate, reason: Reason) -> Choice:
    sound = one.free and not one.held_back and one.state is not State.OPEN
    return Choice(one.index, one.free, reason, sound)


def _eligible(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """The best that there is: unbroken before broken, free before full, proven before new."""
    pool = [one for one in candidates if one.state is not State.OPEN] or candidates
    pool = [one for one in pool if one.free] or pool
    return [one for one in pool if not one.held_back] or pool


def _home(pool: Sequence[Candidate], shard: bytes) -> Candidate | None:
    """Rendezvous hashing: the shard's own worker, unless others are clearly emptier."""
    home = max(pool, key=lambda one: sha256(shard + one.worker.encode()).digest())
    return home if home.load <= min(one.load for one in pool) + AFFINITY_SLACK else None


def _band(pool: Sequence[Candidate], policy: Policy) -> Sequence[Candidate]:
    """Those whose score, by what the request asks for, is near the best."""
    by_cost, by_time = EXPONENTS[policy]
    scores = [one.cost**by_cost * one.seconds**by_time for one in pool]
    limit = min(scores) * BAND
    return [one for one, score in zip(pool, scores, strict=True) if score <= limit]


def _done(one: Candidate) -> float:
    """When it would be done: a busy worker is slower than it was when it was measured."""
    return one.seconds * (1.0 + one.load)
