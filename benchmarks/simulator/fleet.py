"""Workers of a simulated network: fast and slow, cheap and dear, honest and not.

A worker runs what its real slots hold and lets the rest wait in its own line, as engines do. It
slows down as it fills. Nothing here knows how requests are routed.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random

OVERCLAIM = 4
"""Times its real slots that a liar offers."""
SLOWDOWN = 0.5
"""How much slower a stream is in a full worker than in an empty one."""
FLAKY_SHARE = 0.3
"""Of a flaky worker's requests that fail."""
FAILS_AFTER = (0.2, 1.5)
"""Seconds: failing is quicker than answering, which makes a bad worker look idle."""


class Kind(Enum):
    """What a worker's word is worth."""

    HONEST = "honest"
    LIAR = "liar"
    FLAKY = "flaky"


MIX = {Kind.HONEST: 0.85, Kind.LIAR: 0.10, Kind.FLAKY: 0.05}


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way; times in simulated seconds."""

    born: float
    gateway: int
    tokens: int
    tenant: int = 0
    tried: set[int] = field(default_factory=set)
    candidates: Sequence[int] = ()
    sent: float = 0.0
    started: float = 0.0
    first_token: float = 0.0


@dataclass(slots=True, eq=False)
class SimulatedWorker:
    """`price` is nano per token, `speed` tokens per second of one stream when empty."""

    index: int
    kind: Kind
    slots: int
    price: int
    speed: float
    ttft: float
    running: int = 0
    line: deque[Request] = field(default_factory=deque)

    @property
    def name(self) -> str:
        """As ids are: a text that hashes."""
        return f"{self.index:064x}"

    @property
    def offered(self) -> int:
        """What its offer says of its slots."""
        return self.slots * OVERCLAIM if self.kind is Kind.LIAR else self.slots

    @property
    def said(self) -> int:
        """What its status says of its load: liars are always idle."""
        return 0 if self.kind is Kind.LIAR else self.running + len(self.line)

    def first_token_after(self) -> float:
        """Seconds from the start of a request to its first token, as full as it is now."""
        return self.ttft * (1.0 + SLOWDOWN * self.running / self.slots)

    def tokens_per_second(self) -> float:
        """Of a stream that starts now."""
        return self.speed / (1.0 + SLOWDOWN * self.running / self.slots)


def make_fleet(count: int, chance: Random) -> list[SimulatedWorker]:
    """Speeds and prices differ by a factor of ten; what is dear is only sometimes fast."""
    kinds = chance.choices(list(MIX), weights=list(MIX.values()), k=count)
    return [_worker(index, kind, chance) for index, kind in enumerate(kinds)]


def _worker(index: int, kind: Kind, chance: Random) -> SimulatedWorker:
    speed = 15.0 * 10 ** chance.random()
    luck = 10 ** chance.uniform(-0.4, 0.4)
    return SimulatedWorker(
        index=index,
        kind=kind,
        slots=chance.choice((1, 2, 4)),
        price=max(1, int(60 * luck * (speed / 50) ** 0.5)),
        speed=speed,
        ttft=chance.uniform(0.1, 0.8) * (50 / speed) ** 0.5,
    )
