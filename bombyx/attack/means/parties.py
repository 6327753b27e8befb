"""A client, a gateway and the channel between them, made up for one attack (SPEC 7).

The keys of both sides are the attacker's to use: it plays one of them, and so knows what the other
one would sign.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from bombyx.attack.record import Seen, defeated, succeeded
from bombyx.errors import BombyxError
from bombyx.money.channel.acceptance import ChannelRow, need
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.identity import CHANNEL_CODE, MIN_CHALLENGE_S, Channel, ChannelConfig
from bombyx.money.channel.terms import (
    SCHEME,
    Books,
    Ceiling,
    Offer,
    PaymentTerms,
    Voucher,
    check_offered,
    network_text,
    voucher_of,
)

NETWORK, OTHER_NETWORK = -3, -239
DEPOSIT = 1_000_000
COST = 100
"""Nano of one request."""
SEED_BYTES = 32


def signer() -> ChannelSigner:
    """A channel key of its own."""
    return ChannelSigner(os.urandom(SEED_BYTES))


@dataclass(frozen=True, slots=True, repr=False)
class Parties:
    """Both ends of a channel."""

    seed: bytes = field(default_factory=lambda: os.urandom(SEED_BYTES))
    gateway: ChannelSigner = field(default_factory=signer)
    client_account: bytes = field(default_factory=lambda: os.urandom(32))
    gateway_account: bytes = field(default_factory=lambda: os.urandom(32))
    salt: int = field(default_factory=lambda: int.from_bytes(os.urandom(8)))

    @property
    def client(self) -> ChannelSigner:
        """Who pays."""
        return ChannelSigner(self.seed)

    def config(self, **changes: Any) -> ChannelConfig:
        """The configuration, honest but for `changes`."""
        honest: dict[str, Any] = {
            "client": self.client_account,
            "gateway": self.gateway_account,
            "client_key": self.client.public_key,
            "gateway_key": self.gateway.public_key,
            "challenge_period": MIN_CHALLENGE_S,
            "salt": self.salt,
        }
        return ChannelConfig(**honest | changes)

    @property
    def channel(self) -> Channel:
        """The channel between them."""
        return Channel(NETWORK, self.config())

    def voucher(self, amount: int, *, by: ChannelSigner | None = None, **changes: Any) -> Voucher:
        """The client's voucher over so much, or somebody else's; honest but for `changes`."""
        signature = (by or self.client).sign(
            self.channel.template, amount, valid_until=changes.get("valid_until", 0)
        )
        return replace(voucher_of(self.channel, Ceiling(amount, 0, signature)), **changes)

    def ceiling(self, amount: int) -> Ceiling:
        """The same as a gateway keeps it."""
        return check_offered(self.voucher(amount), self.channel)

    def row(self, ceiling: int = 0, **changes: Any) -> ChannelRow:
        """The gateway's books."""
        held = {"ceiling": self.ceiling(ceiling)} if ceiling else {}
        return ChannelRow(**{"deposited": DEPOSIT, **held, **changes})

    def offer(self, cost: int, **changes: Any) -> Offer:
        """What a 402 offers, honest but for `changes`."""
        honest = Offer(
            scheme=SCHEME,
            network=network_text(NETWORK),
            asset="native",
            amount=str(cost),
            pay_to=self.gateway_account.hex(),
            gateway_key=self.gateway.public_key.hex(),
            code=CHANNEL_CODE.digest.hex(),
            min_challenge_s=MIN_CHALLENGE_S,
            min_deposit=str(DEPOSIT),
        )
        return replace(honest, **changes)

    def books(self, row: ChannelRow, cost: int, **changes: Any) -> Books:
        """What a 402 says of the channel, honest but for `changes`."""
        held = row.ceiling
        honest = Books(
            channel=self.channel.account.hex(),
            deposited=str(row.deposited),
            charged=str(row.charged),
            reserved=str(row.reserved),
            need=str(need(row, cost)),
            ceiling=str(held.amount),
            signature=held.signature.hex() if held.signature else UNSET,
        )
        return replace(honest, **changes)

    def terms(
        self, row: ChannelRow, cost: int, *, error: str = "voucher_required", **changes: Any
    ) -> PaymentTerms:
        """The terms of a 402; `changes` are those of its books."""
        told = self.offer(cost, books=self.books(row, cost, **changes))
        return PaymentTerms(v="bombyx-402/1", error=error, accepts=[told])


def tried(honest: Callable[[], object], lie: Callable[[], object], *, got: str) -> Seen:
    """Whether a lie passes where the honest form of it does.

    Raises `ValueError` where both are refused: nothing is shown then.
    """
    try:
        honest()
    except BombyxError as error:
        raise ValueError(f"the honest one is refused too: {error.code}") from None
    try:
        lie()
    except BombyxError as error:
        return defeated(error.code)
    return succeeded(got)
