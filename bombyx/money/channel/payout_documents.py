"""Payout channels on the link: what one is, and who takes it (SPEC 8.7).

A worker recomputes the address of the channel that it is told of: that it pays the keyset's payout
address, under the owner's own key, is checked before any voucher of it counts.
"""

import hashlib
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType
from nacl.bindings import crypto_core_ed25519_from_uniform

from bombyx.canonical import Document
from bombyx.errors import ChannelAddressWrong
from bombyx.money.channel.documents import Period, SaltText
from bombyx.money.channel.identity import PAYOUT_CHALLENGE_S, Channel, ChannelConfig, admit
from bombyx.money.channel.terms import NetworkText, Voucher, network_text
from bombyx.units import Count, Hex32, NanoText

PAYOUTS_FILE: Final = "payouts.json"
SEEN_FILE: Final = "payouts-seen.json"
"""Both in a worker's state folder: the worker writes the first, its owner's tools the second."""
MAX_HELD: Final = 256
"""Channels of one file: of all gateways that a worker serves, and of some years."""
_NOBODY: Final = b"bombyx/1/payout-key\0"


class PayoutChannel(Document, frozen=True):
    """A channel's configuration and the address that follows from it."""

    network: NetworkText
    channel: Hex32
    client: Hex32
    gateway: Hex32
    client_key: Hex32
    gateway_key: Hex32
    challenge_period: Period
    salt: SaltText

    def __repr__(self) -> str:
        return f"PayoutChannel({self.network}, {self.channel})"


def payout_channel_of(channel: Channel) -> PayoutChannel:
    """The document of a channel."""
    config = channel.config
    return PayoutChannel(
        network=network_text(channel.network),
        channel=channel.account.hex(),
        client=config.client.hex(),
        gateway=config.gateway.hex(),
        client_key=config.client_key.hex(),
        gateway_key=config.gateway_key.hex(),
        challenge_period=config.challenge_period,
        salt=str(config.salt),
    )


def admit_payout(told: PayoutChannel, *, payee: bytes, payee_key: bytes) -> Channel:
    """Take a channel to be paid by, as the owner of `payee` and `payee_key`.

    Raises what `identity.admit` does.
    """
    try:
        network = int(told.network.removeprefix("tvm:"))
        config = ChannelConfig(
            client=bytes.fromhex(told.client),
            gateway=bytes.fromhex(told.gateway),
            client_key=bytes.fromhex(told.client_key),
            gateway_key=bytes.fromhex(told.gateway_key),
            challenge_period=told.challenge_period,
            salt=int(told.salt),
        )
        return admit(
            network,
            config,
            bytes.fromhex(told.channel),
            payee=payee,
            payee_key=payee_key,
            min_period_s=PAYOUT_CHALLENGE_S,
        )
    except ValueError:  # a network or a salt that no channel has
        raise ChannelAddressWrong("no channel has such a configuration") from None


def nobodys_key(payee: bytes) -> bytes:
    """The key of owners who gave none: a point whose secret nobody has, the same for all workers.

    An owner's key ends channels by consent and does nothing else. Under this one nobody consents:
    the owner claims by vouchers alone, which needs no key of this kind.
    """
    return crypto_core_ed25519_from_uniform(hashlib.sha256(_NOBODY + payee).digest())


class HeldPayout(Document, frozen=True):
    """A channel that a worker is or was paid by, and the highest voucher that it holds of it.

    `billed_nano` is all that this worker was billed since it is paid by this channel; `is_current`
    is false for one whose place another has taken.
    """

    gateway: Hex32
    payout_channel: PayoutChannel
    billed_nano: NanoText
    is_current: bool
    voucher: Voucher | UnsetType = UNSET


class PayoutFile(Document, frozen=True):
    """`payouts.json` in a worker's state folder: what the owner claims by (SPEC 8.6)."""

    v: Literal["bombyx-payouts/1"]
    payout: Annotated[str, Meta(max_length=80)]
    held: Annotated[list[HeldPayout], Meta(max_length=MAX_HELD)]


class SeenPayout(Document, frozen=True):
    """A channel as its owner saw it on chain; `close_at` is unix seconds or 0."""

    network: NetworkText
    channel: Hex32
    deposited: NanoText
    claimed: NanoText
    close_at: Count
    closed: bool


class SeenFile(Document, frozen=True):
    """`payouts-seen.json` beside it: the owner's word to the worker (SPEC 8.3)."""

    v: Literal["bombyx-payouts-seen/1"]
    at: Count
    seen: Annotated[list[SeenPayout], Meta(max_length=MAX_HELD)]
