"""Vouchers of payment channels: what is signed, and whether it was (SPEC 7.2).

A voucher is a cell of TON, and its signature covers that cell's hash: contract, gateway and worker
check the same 32 bytes. Here the hash is made from plain numbers, without a cell and without the
library for cells, ten times as fast; tests hold it equal to the library's and to the contract's.
Pure: no chain, no clock. Amounts are nano, cumulative, a ceiling.
"""

import hashlib

from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_sign_BYTES,
    crypto_sign_open,
    crypto_sign_PUBLICKEYBYTES,
)
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey

from bombyx.errors import BadSignature

TAG = 0x56434831
"""How a voucher's cell begins; no other signed cell begins so."""
ACCOUNT_BYTES = 32
MAX_COINS = 2**120 - 1
_STANDARD_ADDRESS = 0b100
_TAIL_BITS = 64 + 32
"""The sequence number and the time that it is valid until."""
_FIXED_BYTES = (32 + 32 + 3 + 8 + 256 + 4 + _TAIL_BITS + 1) // 8


class VoucherTemplate:
    """All of a channel's vouchers but their numbers.

    `network` is TON's global id (-239 mainnet), `account` the 32 bytes of the channel's address in
    the basechain.
    """

    __slots__ = ("_head", "account", "network")

    def __init__(self, network: int, account: bytes) -> None:
        if len(account) != ACCOUNT_BYTES or not -(2**31) <= network < 2**31:
            raise ValueError("no such channel address or network")
        self.network = network
        self.account = account
        head = TAG << 32 | network & 0xFFFFFFFF
        self._head = (head << 3 | _STANDARD_ADDRESS) << 264 | int.from_bytes(account, "big")

    def __repr__(self) -> str:
        return f"VoucherTemplate({self.network}, {self.account.hex()})"

    def digest(self, amount: int, *, seqno: int = 0, valid_until: int = 0) -> bytes:
        """The hash of the voucher's cell: what the client signs.

        Raises `ValueError` for numbers that a voucher cannot hold.
        """
        if not (0 <= amount <= MAX_COINS and 0 <= seqno < 1 << 64 and 0 <= valid_until < 1 << 32):
            raise ValueError("a voucher cannot hold these numbers")
        size = (amount.bit_length() + 7) // 8
        data = (self._head << 4 | size) << 8 * size | amount
        # The fields are 431 bits and whole bytes, so that a cell's completion, a one and zeros, is
        # always the one; before the data stand the numbers of references and of half bytes.
        data = data << _TAIL_BITS + 1 | seqno << 33 | valid_until << 1 | 1
        length = _FIXED_BYTES + size
        return hashlib.sha256(bytes((0, 2 * length - 1)) + data.to_bytes(length, "big")).digest()


class VoucherSigner:
    """A channel's session key; signs vouchers and nothing else, and never shows the key."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public_key = bytes(self._key.verify_key)

    def __repr__(self) -> str:
        return f"VoucherSigner({self.public_key.hex()[:16]}…)"

    def sign(
        self, template: VoucherTemplate, amount: int, *, seqno: int = 0, valid_until: int = 0
    ) -> bytes:
        """Let the gateway claim up to `amount` in all: 64 bytes."""
        digest = template.digest(amount, seqno=seqno, valid_until=valid_until)
        return self._key.sign(digest).signature


def check_voucher(
    template: VoucherTemplate,
    amount: int,
    *,
    signature: bytes,
    key: bytes,
    seqno: int = 0,
    valid_until: int = 0,
) -> None:
    """Check that `key` signed this ceiling; raises `BadSignature`.

    Whatever passes, the contract accepts: libsodium and the TVM both demand that the equation holds
    without a cofactor, and libsodium refuses more (weak keys and commitments, other encodings).
    """
    digest = template.digest(amount, seqno=seqno, valid_until=valid_until)
    check_digest(digest, signature=signature, key=key)


def check_digest(digest: bytes, *, signature: bytes, key: bytes) -> None:
    """Check a signature over a cell's hash, as strictly; raises `BadSignature`."""
    if len(signature) != crypto_sign_BYTES or len(key) != crypto_sign_PUBLICKEYBYTES:
        raise BadSignature("a voucher's signature or its key has a wrong length")
    try:
        crypto_sign_open(signature + digest, key)
    except (BadSignatureError, CryptoError):
        raise BadSignature("the voucher's signature does not verify") from None


def is_strong_key(key: bytes) -> bool:
    """Whether a channel may have this key: a canonical point of the prime-order group.

    Under a key of small order one signature would be good for many vouchers.
    """
    if len(key) != crypto_sign_PUBLICKEYBYTES:
        return False
    return crypto_core_ed25519_is_valid_point(key)
