"""The key schedule and the two uses of AEAD (SPEC 2.9; RFC 5869, RFC 9180).

Every secret that goes into `expand` is 32 uniformly random bytes, so HKDF's extract step has
nothing to do. `expand` is HKDF-Expand-SHA256 for outputs of at most one block, which is then one
HMAC: the same bytes as `cryptography`'s HKDFExpand (a test compares them) at a tenth of its cost.
"""

import base64
import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bombyx.errors import CannotOpen

SECRET_BYTES = 32
SALT_BYTES = 32
WRAP_BYTES = 1200
"""1120 bytes of encapsulation, 64 of plaintext, 16 of tag."""
PUBLIC_KEY_BYTES = 1216
TAG_BYTES = 16
DOES_NOT_OPEN = "the sealed data does not open"
"""All that anybody hears of a wrap, frame or commitment that fails: causes would be an oracle."""
_MLKEM_BYTES = 1184
_NONCE_BYTES = 12
_WRAP_LABEL = b"bombyx/1/wrap\0"
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def expand(secret: bytes, info: bytes, length: int = SECRET_BYTES) -> bytes:
    """HKDF-Expand-SHA256 of a uniform secret, at most 32 bytes."""
    return hmac.digest(secret, info + b"\x01", "sha256")[:length]


class FrameCipher:
    """AES-256-GCM under a secret; the nonce is a base XOR the sequence number."""

    __slots__ = ("_aead", "_base")

    def __init__(self, secret: bytes) -> None:
        self._aead = AESGCM(expand(secret, b"key"))
        self._base = int.from_bytes(expand(secret, b"nonce", _NONCE_BYTES))

    def seal(self, seq: int, payload: bytes, aad: bytes) -> bytes:
        """Ciphertext and tag."""
        return self._aead.encrypt((self._base ^ seq).to_bytes(_NONCE_BYTES), payload, aad)

    def open(self, seq: int, ciphertext: bytes, aad: bytes) -> bytes:
        """The payload; raises `CannotOpen`."""
        try:
            return self._aead.decrypt((self._base ^ seq).to_bytes(_NONCE_BYTES), ciphertext, aad)
        except InvalidTag:
            raise CannotOpen(DOES_NOT_OPEN) from None


@dataclass(frozen=True, slots=True, repr=False)
class SealingKey:
    """A worker's private HPKE key: ML-KEM-768 with X25519. Lives in memory only."""

    private: hpke.MLKEM768X25519PrivateKey
    public_bytes: bytes

    @classmethod
    def from_seeds(cls, mlkem_seed: bytes, x25519_seed: bytes) -> "SealingKey":
        """Build the pair from 64 and 32 random bytes."""
        kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(mlkem_seed)
        curve = x25519.X25519PrivateKey.from_private_bytes(x25519_seed)
        public = kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        return cls(hpke.MLKEM768X25519PrivateKey(kem, curve), public)

    def unwrap(self, blob: bytes, info: bytes) -> bytes:
        """Open an HPKE blob; raises `CannotOpen` with one message for every cause."""
        try:
            return _SUITE.decrypt(blob, self.private, info=info)
        except (InvalidTag, ValueError):
            raise CannotOpen(DOES_NOT_OPEN) from None


@dataclass(frozen=True, slots=True, repr=False)
class PublicSealingKey:
    """A worker's public HPKE key, parsed once and used for many requests."""

    key: hpke.MLKEM768X25519PublicKey

    @classmethod
    def from_bytes(cls, raw: bytes) -> "PublicSealingKey":
        """Parse 1216 bytes; raises `CannotOpen` for a wrong length or an unusable key."""
        if len(raw) != PUBLIC_KEY_BYTES:
            raise CannotOpen("an HPKE public key has 1216 bytes")
        try:
            kem = mlkem.MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_BYTES])
            curve = x25519.X25519PublicKey.from_public_bytes(raw[_MLKEM_BYTES:])
        except ValueError:
            raise CannotOpen("the HPKE public key is unusable") from None
        return cls(hpke.MLKEM768X25519PublicKey(kem, curve))

    def wrap(self, plaintext: bytes, info: bytes) -> bytes:
        """Seal a small secret to the worker; raises `CannotOpen` for a small-order key."""
        try:
            return _SUITE.encrypt(plaintext, self.key, info=info)
        except (InvalidTag, ValueError):
            raise CannotOpen("the HPKE public key is unusable") from None


def wrap_info(worker: bytes, h: bytes, c: bytes) -> bytes:
    """What a wrap is bound to: worker id, header hash, commitment; 32 bytes each."""
    return _WRAP_LABEL + worker + h + c


def encode_public_key(raw: bytes) -> str:
    """base64url without padding, as keysets carry it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_public_key(text: str) -> bytes:
    """The inverse, of exactly that spelling; raises `CannotOpen`."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise CannotOpen("an HPKE public key is base64url") from None
    if encode_public_key(raw) != text:  # Python skips foreign characters and spare bits
        raise CannotOpen("an HPKE public key is base64url")
    return raw
