"""HPKE of SPEC 2.9 written down a second time, slowly, with its randomness as an argument.

For vectors and tests only: `cryptography` draws its own randomness, so its wraps differ from call
to call. ML-KEM-768 (FIPS 203, encapsulation only), X-Wing (draft-connolly-cfrg-xwing-kem-08,
KEM 0x647a) and HPKE base mode (RFC 9180). Not constant in time: never give it a real secret.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Poly = list[int]

_Q = 3329
_N = 256
_RANK = 3
_ETA = 2
_DU, _DV = 10, 4
_MLKEM_KEY_BYTES = 1184
ENCAPS_SEED_BYTES = 64
"""32 bytes for ML-KEM, 32 for the ephemeral X25519 key."""
_XWING_LABEL = rb"\.//^" + b"\\"
_XWING_SUITE = (0x647A, 0x0001, 0x0002)
"""KEM, KDF (HKDF-SHA256), AEAD (AES-256-GCM)."""


def _bit_reversed(value: int) -> int:
    return int(f"{value:07b}"[::-1], 2)


_ZETAS = [pow(17, _bit_reversed(i), _Q) for i in range(128)]
_GAMMAS = [pow(17, 2 * _bit_reversed(i) + 1, _Q) for i in range(128)]


def _ntt(poly: Sequence[int]) -> Poly:
    f, k, length = list(poly), 1, 128
    while length >= 2:
        for start in range(0, _N, 2 * length):
            zeta, k = _ZETAS[k], k + 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % _Q
                f[j + length], f[j] = (f[j] - t) % _Q, (f[j] + t) % _Q
        length //= 2
    return f


def _inverse_ntt(poly: Sequence[int]) -> Poly:
    f, k, length = list(poly), 127, 2
    while length <= 128:
        for start in range(0, _N, 2 * length):
            zeta, k = _ZETAS[k], k - 1
            for j in range(start, start + length):
                t = f[j]
                f[j] = (t + f[j + length]) % _Q
                f[j + length] = zeta * (f[j + length] - t) % _Q
        length *= 2
    return [value * 3303 % _Q for value in f]


def _product(f: Poly, g: Poly) -> Poly:
    """Of two polynomials in the NTT domain."""
    h = [0] * _N
    for i in range(128):
        a, b, c, d = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        h[2 * i] = (a * c + b * d * _GAMMAS[i]) % _Q
        h[2 * i + 1] = (a * d + b * c) % _Q
    return h


def _sum(*polys: Poly) -> Poly:
    return [sum(values) % _Q for values in zip(*polys, strict=True)]


def _uniform(seed: bytes) -> Poly:
    """SampleNTT; the stream is long enough for any seed that will ever be met."""
    stream, out = hashlib.shake_128(seed).digest(3 * 1024), []
    for at in range(0, len(stream), 3):
        a, b, c = stream[at : at + 3]
        out += [d for d in (a + 256 * (b % 16), b // 16 + 16 * c) if d < _Q]
    return out[:_N]


def _small(seed: bytes, number: int) -> Poly:
    """A polynomial of small coefficients (SamplePolyCBD of PRF)."""
    stream = hashlib.shake_256(seed + bytes([number])).digest(64 * _ETA)
    bits = [byte >> i & 1 for byte in stream for i in range(8)]
    pairs = (bits[at : at + 2 * _ETA] for at in range(0, len(bits), 2 * _ETA))
    return [(sum(pair[:_ETA]) - sum(pair[_ETA:])) % _Q for pair in pairs]


def _decode(data: bytes, width: int) -> Poly:
    whole = int.from_bytes(data, "little")
    return [whole >> (width * i) & ((1 << width) - 1) for i in range(_N)]


def _encode(poly: Poly, width: int) -> bytes:
    whole = sum(value << (width * i) for i, value in enumerate(poly))
    return whole.to_bytes(_N * width // 8, "little")


def _compress(poly: Poly, width: int) -> bytes:
    return _encode(
        [((value << width) * 2 + _Q) // (2 * _Q) % (1 << width) for value in poly], width
    )


def mlkem768_encapsulate(key: bytes, message: bytes) -> tuple[bytes, bytes]:
    """Shared secret (32) and ciphertext (1088) for 32 bytes of randomness (FIPS 203, 17)."""
    hashed = hashlib.sha3_256(key).digest()
    both = hashlib.sha3_512(message + hashed).digest()
    secret, r = both[:32], both[32:]
    t = [_decode(key[384 * i : 384 * (i + 1)], 12) for i in range(_RANK)]
    rho = key[384 * _RANK :]
    y = [_ntt(_small(r, i)) for i in range(_RANK)]
    parts = []
    for i in range(_RANK):
        # The matrix is used transposed: its entry (j, i) comes from rho | i | j.
        row = [_product(_uniform(rho + bytes([i, j])), y[j]) for j in range(_RANK)]
        u = _sum(_inverse_ntt(_sum(*row)), _small(r, _RANK + i))
        parts.append(_compress(u, _DU))
    noise = _small(r, 2 * _RANK)
    bits = [byte >> i & 1 for byte in message for i in range(8)]
    v = _inverse_ntt(_sum(*(_product(t[i], y[i]) for i in range(_RANK))))
    parts.append(_compress(_sum(v, noise, [(_Q + 1) // 2 * bit for bit in bits]), _DV))
    return secret, b"".join(parts)


def xwing_secret(mlkem_secret: bytes, x25519_secret: bytes, sent: bytes, key: bytes) -> bytes:
    """The combiner; `sent` is the ephemeral X25519 key, `key` the receiver's."""
    parts = mlkem_secret + x25519_secret + sent + key + _XWING_LABEL
    return hashlib.sha3_256(parts).digest()


def xwing_encapsulate(key: bytes, seed: bytes) -> tuple[bytes, bytes]:
    """Shared secret (32) and encapsulation (1120) to a public key of 1216 bytes."""
    mlkem_key, x25519_key = key[:_MLKEM_KEY_BYTES], key[_MLKEM_KEY_BYTES:]
    secret, ciphertext = mlkem768_encapsulate(mlkem_key, seed[:32])
    ephemeral = X25519PrivateKey.from_private_bytes(seed[32:])
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(x25519_key))
    sent = ephemeral.public_key().public_bytes_raw()
    return xwing_secret(secret, shared, sent, x25519_key), ciphertext + sent


@dataclass(frozen=True, slots=True)
class Schedule:
    """What RFC 9180's key schedule gives in base mode with HKDF-SHA256."""

    key: bytes
    base_nonce: bytes
    exporter_secret: bytes


def key_schedule(
    shared_secret: bytes,
    info: bytes,
    *,
    suite: tuple[int, int, int] = _XWING_SUITE,
    key_bytes: int = 32,
) -> Schedule:
    """RFC 9180 section 5.1, mode 0, no pre-shared key."""
    suite_id = b"HPKE" + b"".join(number.to_bytes(2) for number in suite)

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt, b"HPKE-v1" + suite_id + label + ikm, "sha256")

    def expand(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        labelled = length.to_bytes(2) + b"HPKE-v1" + suite_id + label + context
        return hmac.digest(secret, labelled + b"\x01", "sha256")[:length]

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared_secret, b"secret", b"")
    return Schedule(
        key=expand(secret, b"key", context, key_bytes),
        base_nonce=expand(secret, b"base_nonce", context, 12),
        exporter_secret=expand(secret, b"exp", context, 32),
    )


def wrap(key: bytes, plaintext: bytes, *, info: bytes, seed: bytes) -> bytes:
    """`enc | ciphertext` of one HPKE message: what SPEC 2.9 calls a wrap."""
    secret, enc = xwing_encapsulate(key, seed)
    schedule = key_schedule(secret, info)
    return enc + AESGCM(schedule.key).encrypt(schedule.base_nonce, plaintext, b"")
