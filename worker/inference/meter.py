"""Counts of a running request, held against what it may cost (SPEC 2.6).

Engines are outside of our code: one that counts backwards, beyond its limits or beyond the cost cap
is stopped, and billed for the last counts that fitted.
"""

from bombyx.chat.usage import billable, check_tokens
from bombyx.errors import EngineFailed
from bombyx.money.cost import Rates, Tokens, price


class Meter:
    """The newest counts that are within every limit; `tokens` is as billed."""

    __slots__ = ("_fee_bps", "_max_cost", "_max_input", "_max_output", "_rates", "_raw", "tokens")

    def __init__(
        self, *, rates: Rates, fee_bps: int, max_input: int, max_output: int, max_cost: int
    ) -> None:
        self._rates = rates
        self._fee_bps = fee_bps
        self._max_input = max_input
        self._max_output = max_output
        self._max_cost = max_cost
        self._raw = Tokens()
        self.tokens = Tokens()

    def observe(self, tokens: Tokens) -> None:
        """Take cumulative counts; raises `EngineFailed` when they break a limit."""
        if tokens == self._raw:
            return
        check_tokens(tokens, max_input=self._max_input, max_output=self._max_output)
        if tokens.prompt < self._raw.prompt or tokens.completion < self._raw.completion:
            raise EngineFailed("the engine takes tokens back that it had counted")
        billed = billable(tokens)
        try:
            is_covered = price(billed, self._rates, self._fee_bps).charge <= self._max_cost
        except ValueError:
            is_covered = False
        if not is_covered:
            raise EngineFailed("the engine's counts cost more than the request may")
        self._raw, self.tokens = tokens, billed
