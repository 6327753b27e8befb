"""Advice on prices, from the live offers that a gateway tells of (SPEC 13.9). Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bombyx.control.document import OfferDocument
from bombyx.link.standing import Market, ModelStanding, WorkerStanding

SETTINGS = ("prompt", "cached", "completion", "reasoning")


@dataclass(frozen=True, slots=True)
class Advice:
    """One model at one gateway; costs in nano of 1,000 tokens of prompt and 500 of completion.

    `prices` are the worker's own, scaled so that it is among the cheapest quarter; None where it
    has no live offer, or asks for nothing. `middle_prices` is what the middle of all asks of each
    class: where whoever begins may begin.
    """

    origin: str
    model: str
    offers: int
    cheaper: int | None
    own_cost: int | None
    costs: tuple[int, int, int]
    prices: dict[str, int] | None
    middle_prices: dict[str, int]

    @property
    def others(self) -> int:
        """Live offers of other workers."""
        return self.offers - (self.own_cost is not None)

    @property
    def cheaper_share(self) -> float | None:
        """Of the others' offers, those that are cheaper; None without others or an own offer."""
        if self.cheaper is None or self.others <= 0:
            return None
        return self.cheaper / self.others

    @property
    def is_cheap(self) -> bool:
        """Whether it is among the cheapest quarter already."""
        return self.own_cost is not None and self.own_cost <= self.costs[0]


def advise(
    offers: Iterable[OfferDocument], standings: Mapping[str, WorkerStanding]
) -> list[Advice]:
    """Of every model that gateways tell prices of; `offers` are the worker's own, if it has any."""
    prices = {one.model: one.prices for one in offers}
    return [
        advice
        for origin, standing in standings.items()
        for model in standing.models
        if (advice := _of(origin, model, prices.get(model.model, {}))) is not None
    ]


def _of(origin: str, model: ModelStanding, prices: Mapping[str, str]) -> Advice | None:
    market, own = model.market, model.own
    if not market:
        return None
    low, middle, high = int(market.cost.low), int(market.cost.middle), int(market.cost.high)
    own_cost = int(own.cost_nano) if own else None
    return Advice(
        origin=origin,
        model=model.model,
        offers=model.offers,
        cheaper=own.cheaper if own else None,
        own_cost=own_cost,
        costs=(low, middle, high),
        prices=_scaled(prices, low, own_cost),
        middle_prices=_middle(market),
    )


def _middle(market: Market) -> dict[str, int]:
    spreads = (market.prompt, market.cached, market.completion, market.reasoning)
    return {
        f"price_{name}": int(spread.middle) for name, spread in zip(SETTINGS, spreads, strict=True)
    }


def _scaled(prices: Mapping[str, str], wanted: int, own: int | None) -> dict[str, int] | None:
    """Rounded down to three digits: nobody sets a price to the nano."""
    if not own or any(name not in prices for name in SETTINGS):
        return None
    return {f"price_{name}": _rounded(int(prices[name]) * wanted // own) for name in SETTINGS}


def _rounded(value: int) -> int:
    step = int("1" + "0" * max(len(str(value)) - 3, 0))
    return value - value % step
