"""What operations on a channel cost and must bring, by the network's prices (SPEC 7.4, 9.6).

Gas is what docs/payments.md lists; amounts are nano. More than needed comes back as change, so
what is attached is generous: prices may rise while a message is on its way.
"""

from typing import Final

from ton.codec.constants import RENT_RESERVE, Gas
from ton.tvm.network import BASECHAIN_2026, Prices

CLAIM_GAS: Final = 5_281
"""Measured; a test compares."""
BATCHED: Final = 280_000
"""Nano of one of 200 payments: its share of the wallet's gas and postage, and its payout's gas."""
ALONE: Final = 640_000
"""Nano of the same for a payment in a message of its own."""
_HEADROOM: Final = 10
"""Times what is needed: prices fell to a sixth in a day once."""


def must_bring(gas: Gas, *, prices: Prices = BASECHAIN_2026) -> int:
    """The least value of a message, without its deposit and rent: gas and its change's postage."""
    return prices.gas_fee(gas) + prices.forward_fee()


def attached(gas: Gas) -> int:
    """What we attach to a message besides its deposit; nearly all of it comes back."""
    return _HEADROOM * (must_bring(gas) + BASECHAIN_2026.forward_fee())


def to_deposit(amount: int) -> int:
    """The value of a top-up of so much: with the whole reserve for rent, should it be due."""
    return amount + RENT_RESERVE + attached(Gas.TOP_UP)


def claim_cost(*, batched: int = 1, prices: Prices = BASECHAIN_2026) -> int:
    """What one claim among `batched` costs its sender in all: wallet, postage, gas, payout."""
    share = BATCHED + (ALONE - BATCHED) // max(1, batched)
    on_the_way = 2 * prices.forward_fee(bits=1_200, cells=3)
    return prices.gas_fee(CLAIM_GAS) + on_the_way + share
