"""Ed25519 signatures over canonical documents, bound to a kind (SPEC 1.2).

What is signed is always `"bombyx/1/" + kind + 0x00 + SHA-256(canonical document)`, so that no key
ever signs bytes of a peer's choosing and a signature of one kind is none of another. A key has one
role, and a `Signer` refuses kinds outside of it.
"""

import hashlib
from enum import StrEnum
from typing import Any

from nacl.bindings import crypto_sign_BYTES, crypto_sign_open
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey

from bombyx import canonical
from bombyx.errors import BadSignature

_PREFIX = b"bombyx/1/"
PUBLIC_KEY_BYTES = 32
SEED_BYTES = 32


class Kind(StrEnum):
    """What a signature says."""

    BATCH = "batch"
    SETTLE = "settle"
    REFUSAL = "refusal"
    OFFER = "offer"
    LINK_WORKER = "link-worker"
    LINK_GATEWAY = "link-gateway"
    REQUEST = "request"
    LOST = "lost"


class Role(StrEnum):
    """What a key is for."""

    RECEIPT = "receipt"
    LINK = "link"
    GATEWAY = "gateway"
    PAYER = "payer"


_ALLOWED = {
    Role.RECEIPT: frozenset({Kind.BATCH, Kind.SETTLE, Kind.REFUSAL}),
    Role.LINK: frozenset({Kind.LINK_WORKER, Kind.OFFER}),
    Role.GATEWAY: frozenset({Kind.LINK_GATEWAY, Kind.LOST}),
    Role.PAYER: frozenset({Kind.REQUEST}),
}


def message(kind: Kind, document: Any) -> bytes:
    """The bytes that a signature of `kind` covers."""
    return _PREFIX + kind.encode() + b"\0" + hashlib.sha256(canonical.encode(document)).digest()


class Signer:
    """A private key and its role; never shows the key."""

    def __init__(self, role: Role, seed: bytes) -> None:
        self._role = role
        self._key = SigningKey(seed)
        self.public_key = bytes(self._key.verify_key)
        self.public_hex = self.public_key.hex()

    def __repr__(self) -> str:
        return f"Signer({self._role}, {self.public_hex[:16]}…)"

    def sign(self, kind: Kind, document: Any) -> bytes:
        """Sign a document: 64 bytes. Raises `ValueError` for a kind outside of the key's role."""
        if kind not in _ALLOWED[self._role]:
            raise ValueError(f"a {self._role} key does not sign {kind} documents")
        return self._key.sign(message(kind, document)).signature


def verify(kind: Kind, document: Any, signature: bytes, public_key: bytes) -> None:
    """Check a signature; raises `BadSignature`.

    libsodium refuses small-order keys and non-canonical encodings (RFC 8032 5.1.7).
    """
    if len(signature) != crypto_sign_BYTES or len(public_key) != PUBLIC_KEY_BYTES:
        raise BadSignature(f"a {kind} signature or its key has a wrong length")
    try:
        crypto_sign_open(signature + message(kind, document), public_key)
    except (BadSignatureError, CryptoError):
        raise BadSignature(f"the {kind} signature does not verify") from None
