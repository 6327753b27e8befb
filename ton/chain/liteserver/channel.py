"""ADNL over TCP without I/O: a greeting that only the owner of a key can read, then packets.

The greeting carries both directions' AES-CTR keys, sealed to the server's Ed25519 key; a packet is
a length, a nonce, a payload and a SHA-256 over both. Whoever cannot read the greeting cannot answer
it, so that the first (empty) packet back shows that this is the server that was meant.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from nacl.bindings import crypto_scalarmult, crypto_sign_ed25519_pk_to_curve25519
from nacl.signing import SigningKey

from ton.chain.reading import Nonsense

GREETING: Final = 256
"""Bytes: key id, our key, the hash of the secret, the secret."""
SECRET: Final = 160
"""Bytes, of which the last 64 serve nothing."""
MAX_PACKET: Final = 4 << 20
"""Bytes; twice what sixteen transactions of a wallet's largest batches take."""
_NONCE: Final = 32
_HASH: Final = 32
_LENGTH: Final = 4
_KEY_TYPE: Final = bytes.fromhex("c6b41348")
"""`pub.ed25519` in TL."""


@dataclass(frozen=True, slots=True)
class Keys:
    """One direction: an AES-256 key and the first counter."""

    key: bytes
    counter: bytes


def key_id(key: bytes) -> bytes:
    """By what a greeting names the server that it is for."""
    return hashlib.sha256(_KEY_TYPE + key).digest()


def keys_of(secret: bytes) -> tuple[Keys, Keys]:
    """(server to client, client to server)."""
    return Keys(secret[:32], secret[64:80]), Keys(secret[32:64], secret[80:96])


def greeting_keys(shared: bytes, digest: bytes) -> Keys:
    """What the secret itself is sealed with."""
    return Keys(shared[:16] + digest[16:32], digest[:4] + shared[20:32])


def cipher(keys: Keys) -> Cipher[CTR]:
    """The cipher of one direction."""
    return Cipher(AES(keys.key), CTR(keys.counter))


def greet(server: bytes, *, seed: bytes, secret: bytes) -> tuple[bytes, "Channel"]:
    """The first bytes to a server, and what follows; `seed` (32) and `secret` (160) are random."""
    ours = SigningKey(seed)
    shared = crypto_scalarmult(
        bytes(ours.to_curve25519_private_key()), crypto_sign_ed25519_pk_to_curve25519(server)
    )
    digest = hashlib.sha256(secret).digest()
    sealed = cipher(greeting_keys(shared, digest)).encryptor().update(secret)
    incoming, outgoing = keys_of(secret)
    greeting = key_id(server) + bytes(ours.verify_key) + digest + sealed
    return greeting, Channel(incoming, outgoing)


class Channel:
    """Both directions of one connection: packets out, bytes in."""

    def __init__(self, incoming: Keys, outgoing: Keys) -> None:
        self._open = cipher(incoming).decryptor()
        self._close = cipher(outgoing).encryptor()
        self._buffer = bytearray()

    def seal(self, payload: bytes, nonce: bytes) -> bytes:
        """A packet, to be sent in the order of the calls; `nonce` is 32 random bytes."""
        inside = nonce + payload
        length = (len(inside) + _HASH).to_bytes(_LENGTH, "little")
        return self._close.update(length + inside + hashlib.sha256(inside).digest())

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are whole now; raises `Nonsense`, after which all is lost."""
        self._buffer += self._open.update(data)
        payloads = []
        while len(self._buffer) >= _LENGTH:
            length = int.from_bytes(self._buffer[:_LENGTH], "little")
            if not _NONCE + _HASH <= length <= MAX_PACKET:
                raise Nonsense("sends a packet of an impossible length")
            if len(self._buffer) < _LENGTH + length:
                break
            payloads.append(_checked(bytes(self._buffer[_LENGTH : _LENGTH + length])))
            del self._buffer[: _LENGTH + length]
        return payloads


def _checked(packet: bytes) -> bytes:
    inside, digest = packet[:-_HASH], packet[-_HASH:]
    if hashlib.sha256(inside).digest() != digest:
        raise Nonsense("sends a packet that does not fit its checksum")
    return inside[_NONCE:]
