"""Routing with everything that is not pure: loads of links, clocks, chance, the waiting room.

Whoever gets a target from here holds one of its slots: from the choice on, so that requests that
are being claimed count as well. Dispatching it, or `link.release`, gives the slot back.
"""

import random
import secrets
from collections.abc import Callable, Sequence
from enum import Enum

from msgspec import Struct

from bombyx.errors import ModelNotFound, NoCandidate, Overloaded
from bombyx.money.settlement import Claim
from gateway.inference.answer import Answer
from gateway.inference.exchange import Exchange
from gateway.inference.job import Job, Target
from gateway.inference.run import Run
from gateway.inference.waiting import WaitingRoom
from gateway.routing.choose import Candidate, Choice, Reason, choose
from gateway.routing.explain import explain
from gateway.routing.route import Route
from gateway.workers.registry import Listed, Quote, Registry

MOST_WEIGHED = 8
"""Workers that a bare request is weighed among: all of a small network, a sample of a large one."""
BUSY_PAUSE_SECONDS = 1.0
"""What a worker that refused as full gets no requests for."""
_BARE_INPUT, _BARE_OUTPUT = 1000, 500
"""Tokens by which bare requests compare prices, where they name none."""
_STANDING_STILL = ("busy", "draining", "gateway_unpaid")
"""Refusals after which the next request would be refused as well."""


class _Least(Enum):
    """What a worker must be to be picked."""

    SOUND = 0
    FREE = 1
    ANY = 2


class Picked(Struct, frozen=True):
    """Whom a bare request is sealed to, its slot held; `told` as in `Job`."""

    listed: Listed
    quote: Quote
    told: bytes = b""


class Router:
    """Chooses, waits and learns; `now` is monotonic seconds, `unix` wall-clock seconds."""

    def __init__(
        self,
        registry: Registry,
        *,
        room: WaitingRoom,
        now: Callable[[], float],
        unix: Callable[[], int],
    ) -> None:
        self._registry = registry
        self.room = room
        self._now = now
        self._unix = unix
        self.choices = dict.fromkeys(Reason, 0)
        self.outcomes = {"answered": 0, "failed": 0, "refused": 0, "left": 0}
        registry.on_room = room.freed

    # --- Sealed: the client fixed the candidates ---

    def another(
        self, run: Run, job: Job, targets: Sequence[Target], *, only_free: bool = False
    ) -> Target | None:
        """One of these; a full one as the last resort, but for `only_free`. None: there is none."""
        now = self._now()
        if len(targets) == 1 and not job.route.explain:
            return self._alone(targets[0], now, only_free=only_free)
        claim = run.claim
        candidates = [
            _candidate(index, one.listed, one.quote, now, _cost(one.quote, claim))
            for index, one in enumerate(targets)
            if one.listed.link.open_for_requests
        ]
        choice = choose(
            candidates, policy=job.route.policy, draw=secrets.randbelow, shard=job.shard
        )
        if choice is None or (only_free and not choice.free):
            return None
        target = targets[choice.index]
        if only_free and self._is_awaited(target.listed, target.quote, now):
            return None
        self._take(target.listed, target.quote, choice, now)
        if job.route.explain:
            run.told = self._told(candidates, choice, job.route, attempt=len(claim.attempts) + 1)
        return target

    def _alone(self, target: Target, now: float, *, only_free: bool) -> Target | None:
        listed, model = target.listed, target.quote.offer.model
        if not listed.link.open_for_requests:
            return None
        if only_free and not listed.has_room(model, now):
            return None
        if only_free and self._is_awaited(listed, target.quote, now):
            return None
        self._take(listed, target.quote, _ONLY, now)
        return target

    async def in_turn(self, run: Run, job: Job, exchange: Exchange) -> Target:
        """One whose slot came free for this request.

        Raises `NoCandidate` when none is linked, and what `WaitingRoom.wait` raises.
        """
        linked = [one for one in job.targets if one.listed.link.open_for_requests]
        if not linked:
            raise NoCandidate("none of the chosen workers is linked: fetch the directory again")
        since = self._now()
        listed = await self.room.wait(
            run.account,
            model=run.claim.model,
            listed=[one.listed for one in linked],
            priority=job.route.priority,
            seconds=max(0.0, float(job.waits_until - self._unix())),
            exchange=exchange,
            wanted=lambda: run.readers > 1,
        )
        target = next(one for one in linked if one.listed is listed)
        if job.route.explain:
            cost = _cost(target.quote, run.claim)
            run.told = self._waited(listed, target.quote, cost, since, job.route)
        return target

    # --- Bare: any live offer ---

    def pick(
        self, model: str, *, route: Route, tried: set[str], max_output: int | None
    ) -> Picked | None:
        """Whom to seal to, None when nobody is free.

        Nobody waits for a second attempt: then a full one is better than none.
        Raises `ModelNotFound` when nobody serves the model.
        """
        serving = self._registry.routable(model, self._unix())
        if not serving:
            raise ModelNotFound("no worker serves this model now", param="model")
        output = max_output or _BARE_OUTPUT
        picked = None
        if len(serving) > MOST_WEIGHED:
            few = random.sample(serving, MOST_WEIGHED)
            picked = self._among(few, route, tried, output, at_least=_Least.SOUND)
        least = _Least.ANY if tried else _Least.FREE
        return picked or self._among(serving, route, tried, output, at_least=least)

    async def pick_in_turn(
        self, account: str, model: str, *, route: Route, max_output: int | None, exchange: Exchange
    ) -> Picked:
        """Whom to seal to, once its slot came free; raises what `WaitingRoom.wait` raises."""
        since = self._now()
        listed = await self.room.wait(
            account,
            model=model,
            listed=(),
            priority=route.priority,
            seconds=_FOREVER,
            exchange=exchange,
            wanted=lambda: False,
        )
        quote = listed.live_quote(model, self._unix())
        if quote is None:
            listed.link.release(model)
            raise Overloaded("the offer of the worker that came free ended", retry_after_ms=1000)
        if not route.explain:
            return Picked(listed, quote)
        cost = _bare_cost(quote, max_output or _BARE_OUTPUT)
        return Picked(listed, quote, self._waited(listed, quote, cost, since, route))

    def _among(
        self,
        pairs: Sequence[tuple[Listed, Quote]],
        route: Route,
        tried: set[str],
        output: int,
        *,
        at_least: _Least,
    ) -> Picked | None:
        now = self._now()
        candidates = [
            _candidate(index, listed, quote, now, _bare_cost(quote, output))
            for index, (listed, quote) in enumerate(pairs)
            if listed.link.open_for_requests and listed.worker not in tried
        ]
        choice = choose(candidates, policy=route.policy, draw=secrets.randbelow)
        if choice is None or (at_least is _Least.SOUND and not choice.sound):
            return None
        if at_least is not _Least.ANY and not choice.free:
            return None
        listed, quote = pairs[choice.index]
        if at_least is not _Least.ANY and self._is_awaited(listed, quote, now):
            return None
        self._take(listed, quote, choice, now)
        if not route.explain:
            return Picked(listed, quote)
        return Picked(listed, quote, self._told(candidates, choice, route, attempt=len(tried) + 1))

    # --- What it came to ---

    def asks(self, listed: Listed, answer: Answer, *, streamed: bool) -> None:
        """An attempt begins."""
        answer.sent_at = now = self._now()
        if streamed:
            listed.standing.asked(now)

    def hears(self, listed: Listed, answer: Answer, *, streamed: bool) -> None:
        """Its first token came, or it is over; once for each that began."""
        now = self._now()
        if answer.answered:
            answer.first_at = now
        if streamed:
            ttft = now - answer.sent_at if answer.answered else None
            listed.standing.heard(now, ttft=ttft)

    def note(
        self, listed: Listed, answer: Answer, *, tokens: int, streamed: bool, left: bool
    ) -> None:
        """An attempt is over: `tokens` of completion, `left`: nobody waited for it any more."""
        now, refusal = self._now(), answer.refusal
        if refusal is not None:
            word = refusal.refusal
            listed.standing.refuse(now, fault=word.fault, code=word.code)
            if word.code in _STANDING_STILL:
                listed.paused_until = now + BUSY_PAUSE_SECONDS
            self.outcomes["refused"] += 1
        elif answer.failure is None and answer.passage.ended:
            standing, total = listed.standing, now - answer.sent_at
            generating = now - (answer.first_at or now) if streamed else total - standing.ttft
            standing.succeed(now, total=total, generating=generating, tokens=tokens)
            self.outcomes["answered"] += 1
        elif left:
            self.outcomes["left"] += 1
        else:
            listed.standing.fail(now)
            self.outcomes["failed"] += 1

    def sweep(self, *, draining: bool) -> None:
        """Once a second: slots that came free unnoticed, and waits that have become vain."""
        if not len(self.room):
            return
        for listed in self._registry.all():
            for model in tuple(listed.current):
                self.room.freed(listed, model)
        self.room.sweep(draining=draining)

    def _is_awaited(self, listed: Listed, quote: Quote, now: float) -> bool:
        """Whether its free slots went to somebody who waits: nobody overtakes the queue."""
        if not len(self.room):
            return False
        model = quote.offer.model
        self.room.freed(listed, model)
        return not listed.has_room(model, now)

    def _take(self, listed: Listed, quote: Quote, choice: Choice, now: float) -> None:
        listed.link.hold(quote.offer.model)
        listed.standing.breaker.probe(now)
        self.choices[choice.reason] += 1

    def _told(
        self,
        candidates: Sequence[Candidate],
        choice: Choice,
        route: Route,
        *,
        attempt: int,
        queued_ms: int = 0,
    ) -> bytes:
        return explain(
            candidates, choice, policy=route.policy, queued_ms=queued_ms, attempt=attempt
        )

    def _waited(self, listed: Listed, quote: Quote, cost: int, since: float, route: Route) -> bytes:
        now = self._now()
        candidate = _candidate(0, listed, quote, now, cost)
        queued = int((now - since) * 1000)
        return self._told([candidate], _QUEUED, route, attempt=1, queued_ms=queued)


_ONLY = Choice(0, free=True, reason=Reason.ONLY)
_QUEUED = Choice(0, free=True, reason=Reason.QUEUE)
_FOREVER = float("inf")


def _candidate(index: int, listed: Listed, quote: Quote, now: float, cost: int) -> Candidate:
    standing = listed.standing
    load, free, running = listed.occupancy(quote.offer.model, now)
    return Candidate(
        index,
        listed.worker,
        load,
        free,
        cost,
        standing.seconds(now),
        standing.breaker.state(now),
        standing.held_back(running, now),
    )


def _cost(quote: Quote, claim: Claim) -> int:
    """A sealed request at its caps, before fee and rounding."""
    rates = quote.rates
    return rates.prompt * claim.max_input_tokens + rates.completion * claim.max_output_tokens


def _bare_cost(quote: Quote, output: int) -> int:
    """A bare one: the same for all of its candidates is all that counts."""
    return quote.rates.prompt * _BARE_INPUT + quote.rates.completion * output
