"""Reputation of a machine of an owner, from what its requests came to (DESIGN 7, SPEC 13.4).

Pure: `now` is monotonic seconds. Everything fades by half in ten minutes, so that what is told
afterwards follows what happened lately; each outcome costs a few multiplications.
"""

from collections import OrderedDict
from math import exp2

from gateway.routing.breaker import Breaker, State

HALF_LIFE_SECONDS = 600.0
PRIOR_SUCCESS = 0.8
"""A newcomer's chance of an answer, as long as it has shown none: below that of any good one."""
PRIOR_REQUESTS = 4.0
"""How many requests' worth the prior is."""
NEWEST_SHARE = 0.1
"""Of the newest measurement in a mean of times: a worker that is filled up slows down at once."""
PRIOR_TTFT_SECONDS = 1.0
PRIOR_TOKENS_PER_SECOND = 30.0
TYPICAL_TOKENS = 200
"""Of an answer; only the proportion of first token to speed hangs on it."""
NEWCOMER_SLOTS = 4.0
"""Requests at a time before the first answer (SPEC 13.4)."""
GROWTH = 0.5
"""What a prompt answer adds to them."""
SHRINKING = 0.9
"""What a late first token leaves of them: offers are words, lateness is not."""
LATE_FACTOR, LATE_SECONDS = 4.0, 0.5
"""Late is above so many times the machine's own best, and a little."""
MOST_ALLOWED = 100_000.0
MOST_REMEMBERED = 10_000
_STALE_SECONDS = 60.0
_DOWN, _UP = 0.3, 0.01
"""How fast the best time to a first token follows better ones, and worse ones."""
_SLOWEST, _FASTEST = 0.01, 100_000.0
"""Tokens per second between which a measurement is believed at all."""


class Standing:
    """What is known of one (owner, platform id)."""

    __slots__ = (
        "_at",
        "_best",
        "_good",
        "_quiet_since",
        "_seconds",
        "_unheard",
        "_weight",
        "allowance",
        "answered",
        "breaker",
        "failed",
        "refused",
        "tokens_per_second",
        "ttft",
    )

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.answered = 0
        self.failed = 0
        self.refused: dict[str, int] = {}
        """Refusals by whose fault the worker says it was; `client` ones are only counted."""
        self._at = 0.0
        self._weight = self._good = 0.0
        self.ttft = PRIOR_TTFT_SECONDS
        """Seconds to the first token."""
        self.allowance = NEWCOMER_SLOTS
        """Requests at a time that it gets while others are free."""
        self._best = PRIOR_TTFT_SECONDS
        self._unheard = 0
        self._quiet_since = 0.0
        self.tokens_per_second = PRIOR_TOKENS_PER_SECOND
        """Speed of one stream."""
        self._seconds = self._expected()

    @property
    def success(self) -> float:
        """Share of requests that were answered, the prior included."""
        return (self._good + PRIOR_SUCCESS * PRIOR_REQUESTS) / (self._weight + PRIOR_REQUESTS)

    def state(self, now: float) -> State:
        """Its breaker's."""
        return self.breaker.state(now)

    def seconds(self, now: float) -> float:
        """What an answer takes, failures priced in: they cost this attempt and another one."""
        if now - self._at > _STALE_SECONDS:
            self._fade(now)
            self._seconds = self._expected()
        return self._seconds

    def held_back(self, running: int, now: float) -> bool:
        """Whether to leave it alone while others are free.

        It runs all that it is known to run at once, or is silent for longer than it ever takes.
        """
        if running >= self.allowance:
            return True
        return self._unheard > 0 and now - self._quiet_since > self._late

    def asked(self, now: float) -> None:
        """A request went there whose first token will be heard of; `heard` must follow."""
        if not self._unheard:
            self._quiet_since = now
        self._unheard += 1

    def heard(self, now: float, *, ttft: float | None) -> None:
        """Its first token came, or None: it will not."""
        self._unheard -= 1
        self._quiet_since = now
        if ttft is None:
            return
        if ttft <= self._late:
            self.allowance = min(self.allowance + GROWTH, MOST_ALLOWED)
        else:
            self.allowance = max(self.allowance * SHRINKING, 1.0)
        self._best += (ttft - self._best) * (_DOWN if ttft < self._best else _UP)
        self.ttft += (ttft - self.ttft) * self._share()

    def succeed(self, now: float, *, total: float, generating: float, tokens: int) -> None:
        """A whole answer: seconds in all, and of these the ones after the first token."""
        self._fade(now)
        self.answered += 1
        self.breaker.succeed()
        self._weight += 1.0
        self._good += 1.0
        if tokens:
            speed = tokens / max(generating, total / 10, 1e-6)
            speed = min(max(speed, _SLOWEST), _FASTEST)
            self.tokens_per_second += (speed - self.tokens_per_second) * self._share()
        self._seconds = self._expected()

    def fail(self, now: float) -> None:
        """No answer, or a broken one, and it was the worker's doing."""
        self._fade(now)
        self.failed += 1
        self.breaker.fail(now)
        self._weight += 1.0
        self._seconds = self._expected()

    def refuse(self, now: float, *, fault: str, code: str) -> None:
        """A refusal; only those by its own fault count, and a full one is not broken."""
        self.refused[fault] = self.refused.get(fault, 0) + 1
        if fault != "worker":
            return
        if code in ("busy", "draining"):
            self._fade(now)
            self._weight += 0.5
            self._good += 0.25
            self._seconds = self._expected()
        else:
            self.fail(now)

    @property
    def _late(self) -> float:
        return LATE_FACTOR * self._best + LATE_SECONDS

    def _share(self) -> float:
        """Of the newest measurement in a mean: the first ones count more."""
        return max(NEWEST_SHARE, 1.0 / (self.answered + PRIOR_REQUESTS))

    def _fade(self, now: float) -> None:
        left = exp2((self._at - now) / HALF_LIFE_SECONDS) if now > self._at else 1.0
        self._at = max(self._at, now)
        self._weight *= left
        self._good *= left
        self.ttft += (PRIOR_TTFT_SECONDS - self.ttft) * (1.0 - left)
        self.tokens_per_second += (PRIOR_TOKENS_PER_SECOND - self.tokens_per_second) * (1.0 - left)

    def _expected(self) -> float:
        return (self.ttft + TYPICAL_TOKENS / self.tokens_per_second) / self.success**2


class Standings:
    """All that are remembered, the longest unseen making room."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Standing] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, owner: str, platform_id: str) -> Standing:
        """The standing of a machine; a new one for who was never seen."""
        key = (owner, platform_id)
        standing = self._known.get(key)
        if standing is None:
            standing = self._known[key] = Standing()
        self._known.move_to_end(key)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return standing

    def all(self) -> list[Standing]:
        """Of everyone remembered."""
        return list(self._known.values())
