"""The terms of our 402 (SPEC 7.8): where to pay, and how our books of a channel stand."""

from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from bombyx.errors import BombyxError, InsufficientQuota, PaymentRequired
from bombyx.money.channel.acceptance import ChannelRow, need
from bombyx.money.channel.identity import CHANNEL_CODE, Channel, least_period_s
from bombyx.money.channel.terms import (
    SCHEME,
    Books,
    Offer,
    PaymentTerms,
    encode_terms,
    network_text,
)
from bombyx.units import MAX_NANO

CLAIM_LATENCY_S = 300
"""Until a claim that was sent is final, with time to send it twice."""
MIN_DEPOSIT = 100_000_000
"""Nano of a new channel: 0.1 GRAM, a few hundred times what a claim costs."""


@dataclass(frozen=True, slots=True)
class Cashier:
    """What never changes of our offers; `deadline_s` is the time from dispatch to deadline."""

    network: int
    account: bytes
    key: bytes
    deadline_s: int

    @property
    def min_period_s(self) -> int:
        """The shortest challenge period that we take (SPEC 9.5)."""
        return least_period_s(self.deadline_s, CLAIM_LATENCY_S)

    def terms(self, error: str, cost: int = 0, *, books: Books | UnsetType = UNSET) -> PaymentTerms:
        """One way to pay for a request that reserves `cost` nano."""
        offer = Offer(
            scheme=SCHEME,
            network=network_text(self.network),
            asset="native",
            amount=str(cost),
            pay_to=self.account.hex(),
            gateway_key=self.key.hex(),
            code=CHANNEL_CODE.digest.hex(),
            min_challenge_s=self.min_period_s,
            min_deposit=str(MIN_DEPOSIT),
            books=books,
        )
        return PaymentTerms(v="bombyx-402/1", error=error, accepts=[offer])

    def refused(
        self, error: BombyxError, cost: int, *, channel: Channel, row: ChannelRow
    ) -> BombyxError:
        """The error of a channel that does not pay, with our books beside it."""
        return self.explained(error, cost, books=books_of(channel, row, cost))

    def explained(
        self, error: BombyxError, cost: int, *, books: Books | UnsetType = UNSET
    ) -> BombyxError:
        """An error that is about payment, with terms; any other as it is."""
        if isinstance(error, PaymentRequired | InsufficientQuota) and error.payment is None:
            error.payment = encode_terms(self.terms(error.code, cost, books=books))
        return error


def books_of(channel: Channel, row: ChannelRow, cost: int) -> Books | UnsetType:
    """The row as its client may check it; nothing where its numbers are beyond what amounts say."""
    held, wanted = row.ceiling, need(row, cost)
    if wanted > MAX_NANO:
        return UNSET
    return Books(
        channel=channel.account.hex(),
        deposited=str(row.deposited),
        charged=str(row.charged),
        reserved=str(row.reserved),
        need=str(wanted),
        ceiling=str(held.amount),
        signature=held.signature.hex() if held.signature else UNSET,
        seqno=held.seqno or UNSET,
    )
