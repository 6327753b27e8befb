"""From tokens to nano (SPEC 1.4), in integers.

Every division rounds up, against the payer, by less than two nano a request.
Counts are inclusive as in OpenAI's usage object: cached tokens lie within the prompt, reasoning
tokens within the completion.
"""

from dataclasses import dataclass

from bombyx.money.offer import Prices
from bombyx.units import MAX_NANO, MAX_SAFE_INTEGER, Nano

PER_MILLION = 10**6
BASIS_POINTS = 10**4


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts of one request, summed over its choices."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0

    def __post_init__(self) -> None:
        if min(self.prompt, self.cached, self.completion, self.reasoning) < 0:
            raise ValueError("token counts are not negative")
        if self.cached > self.prompt or self.reasoning > self.completion:
            raise ValueError("cached lies within prompt, reasoning within completion")


@dataclass(frozen=True, slots=True)
class Rates:
    """`Prices` as integers: nano per million tokens."""

    prompt: int
    cached: int
    completion: int
    reasoning: int

    @classmethod
    def of(cls, prices: Prices) -> "Rates":
        """Read the decimal strings of an offer."""
        return cls(
            int(prices.prompt), int(prices.cached), int(prices.completion), int(prices.reasoning)
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request costs: the worker earns `amount`, the gateway keeps `fee`."""

    amount: Nano
    fee: Nano

    @property
    def charge(self) -> Nano:
        """What the client pays."""
        return Nano(self.amount + self.fee)


def ceil_div(dividend: int, divisor: int) -> int:
    """Division of non-negative integers, rounded up."""
    return -(-dividend // divisor)


def with_fee(amount: int, fee_bps: int) -> Cost:
    """Add the gateway's fee; raises `ValueError` beyond `MAX_NANO`."""
    fee = ceil_div(amount * fee_bps, BASIS_POINTS)
    if amount + fee > MAX_NANO:
        raise ValueError("the cost is beyond the largest amount")
    return Cost(Nano(amount), Nano(fee))


def price(tokens: Tokens, rates: Rates, fee_bps: int) -> Cost:
    """Price the four disjoint classes of tokens."""
    total = (
        (tokens.prompt - tokens.cached) * rates.prompt
        + tokens.cached * rates.cached
        + (tokens.completion - tokens.reasoning) * rates.completion
        + tokens.reasoning * rates.reasoning
    )
    return with_fee(ceil_div(total, PER_MILLION), fee_bps)


def worst_case(*, max_input: int, max_output: int, rates: Rates, fee_bps: int) -> Cost:
    """The most that a request within its token limits can cost (SPEC 2.5)."""
    total = max_input * max(rates.prompt, rates.cached) + max_output * max(
        rates.completion, rates.reasoning
    )
    return with_fee(ceil_div(total, PER_MILLION), fee_bps)


def affordable_output(*, prompt: int, rates: Rates, fee_bps: int, max_cost: int) -> int:
    """How many output tokens `max_cost` still covers after `prompt` tokens, all at the worst rate.

    -1 when not even the prompt is covered.
    """
    # Largest amount whose charge stays within the cap, then the tokens that this amount buys.
    amount = max_cost * BASIS_POINTS // (BASIS_POINTS + fee_bps)
    left = amount * PER_MILLION - prompt * max(rates.prompt, rates.cached)
    if left < 0:
        return -1
    rate = max(rates.completion, rates.reasoning)
    return left // rate if rate else MAX_SAFE_INTEGER
