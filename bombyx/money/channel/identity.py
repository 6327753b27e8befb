"""What a channel is, and where: its address from nothing that anybody said (SPEC 7.1).

The address is the hash of code and first state, here made from plain numbers and without the
library for cells, so that an enclave can check it too. Tests hold it equal to the library's.
"""

import hashlib
from dataclasses import dataclass

from bombyx.errors import (
    BadSignature,
    ChannelAddressWrong,
    ChannelKeyWeak,
    ChannelNotOurs,
    ChannelPeriodRefused,
    VoucherForged,
)
from bombyx.money.voucher import ACCOUNT_BYTES, VoucherTemplate, check_voucher, is_strong_key

MIN_CHALLENGE_S = 3_600
MAX_CHALLENGE_S = 604_800
"""The contract's own bounds: it acts as if an odd configuration said the nearer of these."""
PAYOUT_CHALLENGE_S = 259_200
"""Three days, the least for a worker's channel: owners sleep, and go away over a weekend."""
KEY_BYTES = 32
_STANDARD_ADDRESS = 0b100
_STATE_INIT = (0b00110, 5)
"""No split depth, nothing special, code and data, no libraries."""
_EMPTY_BOOKS = (0, 40)
"""Nothing deposited, nothing claimed (4 bits each), `closeAt` 0 (32 bits)."""


@dataclass(frozen=True, slots=True)
class Code:
    """A contract's code as cells name it: the hash of its root and how deep it goes."""

    digest: bytes
    depth: int


CHANNEL_CODE = Code(
    bytes.fromhex("c5173e90998774a12823520a2b59d5ba1af3b90bb0c6b2433c31d53f135eb518"),
    7,
)
"""The published contract; a test holds it equal to `ton/contracts/payment_channel.json`."""


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """What never changes. Accounts are 32 bytes in the basechain, the period is in seconds.

    `client` pays and `gateway` is paid; in a payout channel the gateway is the client of its
    workers' owner. Raises `ValueError` for what no configuration holds.
    """

    client: bytes
    gateway: bytes
    client_key: bytes
    gateway_key: bytes
    challenge_period: int
    salt: int

    def __post_init__(self) -> None:
        accounts, keys = (self.client, self.gateway), (self.client_key, self.gateway_key)
        if any(len(one) != ACCOUNT_BYTES for one in accounts):
            raise ValueError("an account is 32 bytes")
        if any(len(one) != KEY_BYTES for one in keys):
            raise ValueError("a key is 32 bytes")
        if not (0 <= self.challenge_period < 1 << 32 and 0 <= self.salt < 1 << 64):
            raise ValueError("a configuration cannot hold these numbers")

    def account(self, code: Code = CHANNEL_CODE) -> bytes:
        """The 32 bytes of the channel's address."""
        keys = _cell(int.from_bytes(self.client_key + self.gateway_key), 512)
        parties = _address(self.client) << 267 | _address(self.gateway)
        numbers = self.challenge_period << 64 | self.salt
        config = _cell(parties << 96 | numbers, 630, keys)
        data = _cell(*_EMPTY_BOOKS, config)
        return _cell(*_STATE_INIT, (code.digest, code.depth), data)[0]


def _address(account: bytes) -> int:
    """A standard address in workchain 0: 267 bits."""
    return _STANDARD_ADDRESS << 264 | int.from_bytes(account)


def _cell(data: int, bits: int, *refs: tuple[bytes, int]) -> tuple[bytes, int]:
    """Hash and depth of an ordinary cell of so many bits, above these cells."""
    size, spare = -(-bits // 8), -bits % 8
    # Unless they are whole bytes, the bits are completed by a one and zeros.
    completed = data << spare | (1 << spare - 1 if spare else 0)
    descriptors = bytes((len(refs), bits // 8 + size))
    below = b"".join(depth.to_bytes(2) for _, depth in refs) + b"".join(part for part, _ in refs)
    digest = hashlib.sha256(descriptors + completed.to_bytes(size) + below).digest()
    return digest, max((depth + 1 for _, depth in refs), default=0)


class Channel:
    """A channel whose address follows from its configuration: the one way to get one."""

    __slots__ = ("account", "config", "template")

    def __init__(self, network: int, config: ChannelConfig, code: Code = CHANNEL_CODE) -> None:
        self.config = config
        self.account = config.account(code)
        self.template = VoucherTemplate(network, self.account)

    def __repr__(self) -> str:
        return f"Channel({self.network}, {self.account.hex()})"

    @property
    def network(self) -> int:
        """TON's global id."""
        return self.template.network

    def check_payer_signed(self, amount: int, signature: bytes, *, seqno: int = 0) -> None:
        """The channel's client signed this ceiling; raises `VoucherForged`."""
        key = self.config.client_key
        try:
            check_voucher(self.template, amount, signature=signature, key=key, seqno=seqno)
        except (BadSignature, ValueError):
            raise VoucherForged("the voucher is not signed by the channel's client") from None


def admit(
    network: int,
    config: ChannelConfig,
    account: bytes,
    *,
    payee: bytes,
    payee_key: bytes,
    min_period_s: int = MIN_CHALLENGE_S,
) -> Channel:
    """Take a channel to be paid by (SPEC 7.5): each check with an error of its own.

    `payee` and `payee_key` are the receiver's own account and key. Whether it was ever closed is
    for the caller's books. Raises `ChannelAddressWrong`, `ChannelNotOurs`, `ChannelPeriodRefused`,
    `ChannelKeyWeak`.
    """
    channel = Channel(network, config)
    if channel.account != account:
        raise ChannelAddressWrong("the channel's address does not follow from its configuration")
    if (config.gateway, config.gateway_key) != (payee, payee_key):
        raise ChannelNotOurs("the channel pays somebody else")
    if not min_period_s <= config.challenge_period <= MAX_CHALLENGE_S:
        raise ChannelPeriodRefused(
            f"the challenge period must be {min_period_s} to {MAX_CHALLENGE_S} seconds"
        )
    if not (is_strong_key(config.client_key) and is_strong_key(config.gateway_key)):
        raise ChannelKeyWeak("a key of the channel is not of the prime-order group")
    return channel


def least_period_s(deadline_s: int, claim_latency_s: int) -> int:
    """The shortest period in which all that runs can settle and be claimed (SPEC 9.5)."""
    return max(MIN_CHALLENGE_S, 2 * (deadline_s + claim_latency_s))
