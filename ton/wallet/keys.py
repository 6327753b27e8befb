"""A wallet's key: 24 words as every TON wallet shows them, or a seed of 32 bytes, in a file.

The words become a key by TON's own rule (not BIP 39): HMAC-SHA-512 over the words, then PBKDF2.
Word list and derivation are pytoniq-core's; a key is never shown again once it is read.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey
from pytoniq_core.crypto.keys import (
    is_basic_seed,
    mnemonic_is_valid,
    mnemonic_to_entropy,
    mnemonic_to_private_key,
    words,
)

from bombyx.files.durable import write_new
from ton.wallet.errors import WalletKeyRefused

WORDS: Final = 24
SEED_BYTES: Final = 32
MAX_FILE: Final = 4096
"""Bytes; 24 words need 400 at most."""
_KNOWN: Final = frozenset(words)
_OTHERS: Final = 0o077


class WalletKey:
    """An Ed25519 key that signs what a wallet sends, and never shows itself."""

    def __init__(self, seed: bytes) -> None:
        """From 32 bytes; raises `WalletKeyRefused`."""
        if len(seed) != SEED_BYTES:
            raise WalletKeyRefused("a wallet's seed is 32 bytes")
        self._key = SigningKey(seed)
        self.public_key = bytes(self._key.verify_key)

    def __repr__(self) -> str:
        return f"WalletKey({self.public_key.hex()[:16]}…)"

    def sign(self, digest: bytes) -> bytes:
        """64 bytes over a cell's hash."""
        return self._key.sign(digest).signature


def key_of_words(text: str) -> WalletKey:
    """The key of 24 words, as other TON wallets make it; raises `WalletKeyRefused`.

    Nothing of the words is repeated in the error.
    """
    chosen = text.lower().split()
    if len(chosen) != WORDS:
        raise WalletKeyRefused(f"a mnemonic has {WORDS} words, not {len(chosen)}")
    for at, word in enumerate(chosen, 1):
        if word not in _KNOWN:
            raise WalletKeyRefused(f"word {at} of the mnemonic is not in the list")
    if not mnemonic_is_valid(chosen):
        raise WalletKeyRefused("these 24 words are no TON mnemonic: is one of them another?")
    _, secret = mnemonic_to_private_key(chosen)
    return WalletKey(secret[:SEED_BYTES])


def new_words() -> str:
    """24 words of a new wallet, from the system's randomness; takes half a second."""
    while True:
        chosen = [secrets.choice(words) for _ in range(WORDS)]
        if is_basic_seed(mnemonic_to_entropy(chosen)):
            return " ".join(chosen)


def read_key(path: Path) -> WalletKey:
    """The key in a file: 24 words, 64 hex digits, or 32 bytes; raises `WalletKeyRefused`."""
    try:
        if path.is_symlink() or path.stat().st_mode & _OTHERS:
            raise WalletKeyRefused(f"{path} must be a file that only its owner reads: chmod 600 it")
        data = path.read_bytes()[:MAX_FILE]
    except OSError as error:
        raise WalletKeyRefused(f"cannot read the wallet key {path}: {error.strerror}") from None
    if len(data) == SEED_BYTES:
        return WalletKey(data)
    try:
        text = data.decode("ascii").strip()
        is_words = len(text.split()) > 1  # on one line or on many
        return key_of_words(text) if is_words else WalletKey(bytes.fromhex(text))
    except ValueError:  # of text and of hex
        raise WalletKeyRefused(f"{path} holds neither 24 words nor a seed") from None


def read_or_create_key(path: Path) -> WalletKey:
    """The key in a file, or a new one whose 24 words are there afterwards."""
    if not os.path.lexists(path):
        try:
            write_new(path, f"{new_words()}\n".encode())
        except OSError as error:
            raise WalletKeyRefused(f"cannot write {path}: {error.strerror}") from None
    return read_key(path)
