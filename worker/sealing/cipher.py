"""Values at rest: AES-256-GCM under a key of its own for each value.

`salt(16) ‖ ciphertext ‖ tag(16)`; key and nonce of a value are HMAC-SHA512 of the master key over
salt and place. A random nonce under one key would be good for 2^32 values only, which a busy worker
writes within a year. The place (table and primary key) is authenticated: values cannot be moved.
"""

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SALT_BYTES = 16
_KEY_BYTES = 32
_NONCE_BYTES = 12
_LABEL = b"bombyx/1/journal\0"


class Unreadable(Exception):
    """Raised when a value is damaged, moved, or of another key."""


class Cipher:
    """Seals and opens values under one master key of 32 bytes."""

    def __init__(self, master: bytes) -> None:
        self._master = master

    def seal(self, place: str, value: bytes) -> bytes:
        """The value as it lies on disk."""
        salt = os.urandom(_SALT_BYTES)
        key, nonce = self._derive(salt, place)
        return salt + AESGCM(key).encrypt(nonce, value, place.encode())

    def open(self, place: str, sealed: bytes) -> bytes:
        """The value; raises `Unreadable`."""
        salt, rest = sealed[:_SALT_BYTES], sealed[_SALT_BYTES:]
        key, nonce = self._derive(salt, place)
        try:
            return AESGCM(key).decrypt(nonce, rest, place.encode())
        except (InvalidTag, ValueError):
            raise Unreadable from None

    def _derive(self, salt: bytes, place: str) -> tuple[bytes, bytes]:
        made = hmac.digest(self._master, _LABEL + salt + place.encode(), "sha512")
        return made[:_KEY_BYTES], made[_KEY_BYTES : _KEY_BYTES + _NONCE_BYTES]
