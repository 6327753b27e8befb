"""Advice on prices: what others ask, and what would be among the cheapest quarter."""

import pytest
from msgspec import UNSET

from tests.ton.owner.samples import COST, ORIGIN, PRICES, document, model, place, standing
from ton.owner.status.advice import advise


def only(**changes: object) -> dict[str, object]:
    (found,) = advise(document().offers, {ORIGIN: standing(models=[place(**changes)])})
    return {
        "share": found.cheaper_share,
        "cheap": found.is_cheap,
        "prices": found.prices,
        "others": found.others,
    }


def test_prices_are_scaled_to_the_cheapest_quarter() -> None:
    told = only(cheaper=6)
    assert told["share"] == pytest.approx(6 / 7)
    assert (told["cheap"], told["others"]) == (False, 7)
    assert told["prices"] == {f"price_{name}": int(value) // 2 for name, value in PRICES.items()}


def test_who_is_cheap_already_is_told_how_much_room_there_is() -> None:
    told = only(cheaper=0, cost_nano=str(COST // 4))
    assert (told["share"], told["cheap"]) == (0.0, True)
    assert told["prices"] == {f"price_{name}": int(value) * 2 for name, value in PRICES.items()}


def test_prices_have_three_digits() -> None:
    told = only(cost_nano=str(COST * 3))
    assert told["prices"] == {
        "price_prompt": 3_330_000,
        "price_cached": 833_000,
        "price_completion": 10_000_000,
        "price_reasoning": 10_000_000,
    }


def test_without_an_own_offer_there_is_a_market_and_no_advice() -> None:
    (found,) = advise(document().offers, {ORIGIN: standing(models=[model(own=UNSET)])})
    assert (found.own_cost, found.cheaper_share, found.prices) == (None, None, None)
    assert found.costs == (COST // 2, COST, COST * 2)
    assert found.middle_prices == {f"price_{name}": int(value) for name, value in PRICES.items()}


def test_who_is_alone_is_compared_with_nobody() -> None:
    (found,) = advise(document().offers, {ORIGIN: standing(models=[model(offers=1)])})
    assert (found.others, found.cheaper_share) == (0, None)


def test_who_asks_for_nothing_or_offers_no_such_model_gets_no_advice() -> None:
    assert only(cost_nano="0")["prices"] is None
    (found,) = advise([], {ORIGIN: standing()})
    assert found.prices is None
    assert advise(document().offers, {ORIGIN: standing(models=[model(market=UNSET)])}) == []
