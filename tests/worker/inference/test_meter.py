"""SPEC 2.6: an engine is stopped where its counts pass what the request may have or cost."""

import pytest

from bombyx.errors import EngineFailed
from bombyx.money.cost import Rates, Tokens
from worker.inference.meter import Meter

RATES = Rates(prompt=1_000_000, cached=0, completion=1_000_000, reasoning=1_000_000)


def make(max_cost: int = 1000) -> Meter:
    return Meter(rates=RATES, fee_bps=0, max_input=100, max_output=50, max_cost=max_cost)


@pytest.mark.spec("12-b")
def test_cached_tokens_are_billed_in_steps_of_64() -> None:
    meter = make()
    meter.observe(Tokens(prompt=100, cached=70, completion=1))
    assert meter.tokens == Tokens(prompt=100, cached=64, completion=1)


@pytest.mark.spec("2.6-c")
@pytest.mark.parametrize(
    "lie",
    [
        Tokens(prompt=101, completion=6),
        Tokens(prompt=10, completion=51),
        Tokens(prompt=9, completion=6),
        Tokens(prompt=10, completion=4),
    ],
)
def test_counts_beyond_a_limit_or_backwards_stop_the_engine_and_are_not_billed(lie: Tokens) -> None:
    meter, good = make(), Tokens(prompt=10, completion=5)
    meter.observe(good)
    meter.observe(good)
    with pytest.raises(EngineFailed):
        meter.observe(lie)
    assert meter.tokens == good


def test_the_engine_is_cut_when_the_cost_cap_is_reached() -> None:
    meter = make(max_cost=15)
    meter.observe(Tokens(prompt=10, completion=5))
    with pytest.raises(EngineFailed):
        meter.observe(Tokens(prompt=10, completion=6))
    assert meter.tokens.completion == 5


def test_a_cost_beyond_all_numbers_stops_the_engine() -> None:
    rates = Rates(prompt=10**18, cached=0, completion=0, reasoning=0)
    meter = Meter(rates=rates, fee_bps=0, max_input=10**9, max_output=1, max_cost=10**17)
    with pytest.raises(EngineFailed):
        meter.observe(Tokens(prompt=10**8))
