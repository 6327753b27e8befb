"""The limits that a header promises (SPEC 2.3 to 2.5): tokens in, tokens out, the most it can cost.

All three are maxima over the candidates, since any one of them may answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bombyx.attestation.keyset import ModelRecord
from bombyx.chat.size import max_input_bound
from bombyx.client.routes import Call
from bombyx.errors import CostCapExceeded
from bombyx.money.cost import Rates, affordable_output, worst_case
from bombyx.units import Nano

LEAST_OUTPUT = 16
"""A limit that we choose ourselves leaves room for at least this many tokens."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one candidate attests and asks: its model record and its prices."""

    model: ModelRecord
    rates: Rates


@dataclass(frozen=True, slots=True)
class Limits:
    """The three limits of a header; `max_cost` in nano."""

    max_input: int
    max_output: int
    max_cost: Nano


def limits(
    call: Call,
    terms: Sequence[Terms],
    *,
    fee_bps: int,
    default_output: int,
    cap: Nano | None,
) -> Limits:
    """The header's limits; raises `CostCapExceeded` when the caller's own cap forbids them."""
    max_input = max(_input_bound(call, one.model) for one in terms)
    max_output = call.head.max_output
    if max_output is None:
        max_output = _own_limit(
            call,
            terms,
            max_input=max_input,
            fee_bps=fee_bps,
            default_output=default_output,
            cap=cap,
        )
    max_cost = max(_worst(one, max_input, max_output, fee_bps) for one in terms)
    if cap is not None and max_cost > cap:
        raise CostCapExceeded(
            f"the request can cost {max_cost} nano and the client's cap is {cap}: "
            "lower max_tokens or raise the cap",
            param="max_tokens",
        )
    return Limits(max_input, max_output, max_cost)


def _worst(terms: Terms, max_input: int, max_output: int, fee_bps: int) -> Nano:
    try:
        return worst_case(
            max_input=max_input, max_output=max_output, rates=terms.rates, fee_bps=fee_bps
        ).charge
    except ValueError as error:
        raise CostCapExceeded(f"{error}: lower max_tokens", param="max_tokens") from None


def _input_bound(call: Call, model: ModelRecord) -> int:
    return max_input_bound(
        call.body,
        bytes_factor=model.bytes_factor,
        overhead=model.overhead,
        max_image_tokens=model.max_image_tokens,
    )


def _own_limit(
    call: Call,
    terms: Sequence[Terms],
    *,
    max_input: int,
    fee_bps: int,
    default_output: int,
    cap: Nano | None,
) -> int:
    """The total for a body that names none: the gateway's default, within context and cap."""
    longest = max(one.model.context for one in terms) * call.head.choices
    wanted = min(default_output, longest)
    # Beyond the largest amount even the prompt is, and the caller's check says so.
    if cap is not None and max(_worst(one, max_input, 0, fee_bps) for one in terms) <= cap:
        affordable = min(
            affordable_output(prompt=max_input, rates=one.rates, fee_bps=fee_bps, max_cost=cap)
            for one in terms
        )
        wanted = min(wanted, affordable)
    return max(wanted, LEAST_OUTPUT, call.head.choices)
