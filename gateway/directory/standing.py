"""A worker's standing as this process knows it (SPEC 13.9). Pure.

`now` is in unix seconds, `monotonic` the clock of reputations.
"""

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from bombyx.link.standing import (
    MAX_MODELS,
    TYPICAL_COMPLETION,
    TYPICAL_PROMPT,
    Market,
    ModelStanding,
    Place,
    Reason,
    Repute,
    Spread,
)
from bombyx.money.cost import Rates, Tokens, price
from gateway.workers.registry import Listed, Quote

_TYPICAL = Tokens(prompt=TYPICAL_PROMPT, completion=TYPICAL_COMPLETION)


def typical_cost(rates: Rates) -> int:
    """Nano that the typical request costs by an offer, without a gateway's fee."""
    return price(_TYPICAL, rates, 0).amount


def reason_of(listed: Listed | None, *, elsewhere: bool, now: int) -> Reason:
    """Whether the worker is asked for anything, and why not."""
    if listed is None:
        return "elsewhere" if elsewhere else "not_linked"
    if listed.link.withheld:
        return "withheld"
    if not listed.link.open_for_requests:
        return "draining"
    return "listed" if listed.is_shown(now) else "evidence_ends"


def repute_of(listed: Listed, monotonic: float) -> Repute:
    """What its requests came to, lately."""
    standing = listed.standing
    return Repute(
        breaker=standing.state(monotonic).value,
        success=round(standing.success, 3),
        answer_s=round(standing.seconds(monotonic), 3),
        first_token_s=round(standing.ttft, 3),
        tokens_per_second=round(standing.tokens_per_second, 1),
        at_once=int(standing.allowance),
        answered=standing.answered,
        failed=standing.failed,
        refused=dict(standing.refused),
    )


def model_standing(
    model: str, offers: Sequence[Quote], *, own: Place | UnsetType = UNSET
) -> ModelStanding:
    """The live offers for a model beside the worker's own."""
    market = _market([quote.rates for quote in offers]) if offers else UNSET
    return ModelStanding(model=model, offers=len(offers), market=market, own=own)


def place_of(
    listed: Listed, model: str, offers: Sequence[Quote], *, now: int, monotonic: float
) -> Place | UnsetType:
    """Where its own live offer for a model stands; unset where it has none."""
    quote = listed.live_quote(model, now)
    if quote is None:
        return UNSET
    cost, status = typical_cost(quote.rates), listed.loads.get(model)
    # An engine that says it has no slots is starting, and is asked for nothing.
    slots = 0 if status is not None and not status.slots else listed.slots(model)
    running = listed.running(model)
    return Place(
        cost_nano=str(cost),
        cheaper=sum(typical_cost(one.rates) < cost for one in offers),
        slots=slots,
        running=running + listed.elsewhere.get(model, 0),
        waiting=listed.waiting(model),
        held_back=listed.standing.held_back(running, monotonic),
    )


def asked_models(listed: Listed | None, wanted: Sequence[str]) -> list[str]:
    """Those that were asked for, else those of the worker's keyset."""
    if not wanted and listed is not None:
        wanted = [record.id for record in listed.verified.keyset.models]
    return list(dict.fromkeys(wanted))[:MAX_MODELS]


def _market(rates: Sequence[Rates]) -> Market:
    return Market(
        cost=_spread([typical_cost(one) for one in rates]),
        prompt=_spread([one.prompt for one in rates]),
        cached=_spread([one.cached for one in rates]),
        completion=_spread([one.completion for one in rates]),
        reasoning=_spread([one.reasoning for one in rates]),
    )


def _spread(values: list[int]) -> Spread:
    """Quartiles that are offers themselves: with few of them, a mean of two is nobody's price."""
    values.sort()
    low, middle, high = (str(values[(len(values) - 1) * part // 4]) for part in (1, 2, 3))
    return Spread(low=low, middle=middle, high=high)
