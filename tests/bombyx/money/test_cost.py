"""SPEC 1.4, 2.5, 2.6: what tokens cost, to the nano."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bombyx.money.cost import (
    Cost,
    Rates,
    Tokens,
    affordable_output,
    ceil_div,
    price,
    with_fee,
    worst_case,
)
from bombyx.units import MAX_NANO, MAX_SAFE_INTEGER, Nano
from tests.factories import PRICES

counts = st.integers(0, 10**6)
money = st.integers(0, 10**9)
rates = st.builds(Rates, prompt=money, cached=money, completion=money, reasoning=money)
fees = st.integers(0, 10_000)


@st.composite
def tokens(draw: st.DrawFn) -> Tokens:
    prompt, completion = draw(counts), draw(counts)
    return Tokens(
        prompt, draw(st.integers(0, prompt)), completion, draw(st.integers(0, completion))
    )


@pytest.mark.spec("1.4-a")
@given(tokens(), rates, fees)
def test_the_amount_is_the_formula_of_the_specification(
    used: Tokens, rate: Rates, fee: int
) -> None:
    million, basis = Fraction(1, 10**6), Fraction(fee, 10**4)
    amount = ceil(
        (used.prompt - used.cached) * rate.prompt * million
        + used.cached * rate.cached * million
        + (used.completion - used.reasoning) * rate.completion * million
        + used.reasoning * rate.reasoning * million
    )
    cost = price(used, rate, fee)
    assert cost == Cost(Nano(amount), Nano(ceil(amount * basis)))
    assert cost.charge == cost.amount + cost.fee


@given(tokens(), rates, fees)
def test_rounding_costs_the_client_less_than_two_nano(used: Tokens, rate: Rates, fee: int) -> None:
    exact = Fraction(
        (used.prompt - used.cached) * rate.prompt
        + used.cached * rate.cached
        + (used.completion - used.reasoning) * rate.completion
        + used.reasoning * rate.reasoning,
        10**6,
    ) * (1 + Fraction(fee, 10**4))
    # one nano for the amount, its fee, one nano for the fee
    assert 0 <= price(used, rate, fee).charge - exact < 2 + Fraction(fee, 10**4)


@pytest.mark.spec("2.5-a")
@given(tokens(), rates, fees)
def test_no_use_within_the_limits_costs_more_than_the_worst_case(
    used: Tokens, rate: Rates, fee: int
) -> None:
    worst = worst_case(max_input=used.prompt, max_output=used.completion, rates=rate, fee_bps=fee)
    assert price(used, rate, fee).charge <= worst.charge
    everything_dear = Tokens(
        used.prompt,
        used.prompt if rate.cached > rate.prompt else 0,
        used.completion,
        used.completion if rate.reasoning > rate.completion else 0,
    )
    assert price(everything_dear, rate, fee) == worst


@given(counts, rates, fees, st.integers(0, 10**15))
def test_affordable_output_is_tight(prompt: int, rate: Rates, fee: int, cap: int) -> None:
    def charge(output: int) -> int:
        worst = worst_case(max_input=prompt, max_output=output, rates=rate, fee_bps=fee)
        return worst.charge

    left = affordable_output(prompt=prompt, rates=rate, fee_bps=fee, max_cost=cap)
    if left < 0:
        assert left == -1
        assert charge(0) > cap
    elif max(rate.completion, rate.reasoning) == 0:
        assert left == MAX_SAFE_INTEGER
        assert charge(0) <= cap
    else:
        assert charge(left) <= cap < charge(left + 1)


@given(counts, st.integers(0, 1000), rates, fees, st.integers(-3, 3))
def test_affordable_output_is_exact_at_the_edges(
    prompt: int, output: int, rate: Rates, fee: int, off: int
) -> None:
    worst = worst_case(max_input=prompt, max_output=output, rates=rate, fee_bps=fee).charge
    left = affordable_output(prompt=prompt, rates=rate, fee_bps=fee, max_cost=max(0, worst + off))
    if off >= 0:
        assert left >= output
    elif worst > 0:
        assert left < output


def test_a_prompt_beyond_all_amounts_is_not_affordable() -> None:
    dear = Rates(10**18 - 1, 0, 1, 1)
    assert affordable_output(prompt=10**9, rates=dear, fee_bps=0, max_cost=MAX_NANO) == -1


def test_free_output_is_bounded_by_the_largest_count() -> None:
    free = Rates(0, 0, 0, 0)
    assert affordable_output(prompt=5, rates=free, fee_bps=0, max_cost=0) == MAX_SAFE_INTEGER


@pytest.mark.spec("1.4-b")
def test_the_largest_amount_is_the_limit() -> None:
    assert with_fee(MAX_NANO, 0).charge == MAX_NANO
    for amount, fee in ((MAX_NANO + 1, 0), (MAX_NANO, 1)):
        with pytest.raises(ValueError, match="largest amount"):
            with_fee(amount, fee)


@pytest.mark.spec("1.4-a")
@pytest.mark.parametrize("counts", [(1, 2, 0, 0), (0, 0, 1, 2), (-1, 0, 0, 0), (0, 0, 0, -1)])
def test_contradicting_counts_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"negative|within"):
        Tokens(*counts)


@given(st.integers(0, 10**30), st.integers(1, 10**20))
def test_division_rounds_up(dividend: int, divisor: int) -> None:
    assert ceil_div(dividend, divisor) == ceil(Fraction(dividend, divisor))


def test_rates_are_the_prices_of_an_offer() -> None:
    assert Rates.of(PRICES) == Rates(200_000, 50_000, 800_000, 900_000)
