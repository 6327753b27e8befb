"""Public keys of token services: JWKS, given as collateral and never fetched (SPEC 17.8)."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bombyx.attestation.factors import Factor
from bombyx.errors import CollateralMalformed

MAX_JWKS_BYTES = 256 * 1024
MAX_KEYS = 64
_COORDINATE_BYTES = 48
_RSA_BITS = range(2048, 8193)
_EXPONENT = 65537
Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Jwks:
    """A service's keys by their `kid`."""

    keys: Mapping[str, Key]


def parse_jwks(data: bytes, factor: Factor = Factor.NVIDIA_NRAS_VERIFIED) -> Jwks:
    """Read a service's keys; those of unknown kinds are left out.

    Raises `CollateralMalformed` at `factor`.
    """
    try:
        return _parse(data)
    except _Unreadable as error:
        raise CollateralMalformed(factor, f"the service's keys are malformed: {error}") from None


class _Unreadable(Exception):
    """What is wrong with the keys."""


def _parse(data: bytes) -> Jwks:
    if len(data) > MAX_JWKS_BYTES:
        raise _Unreadable("they are longer than 256 KiB")
    try:
        entries = msgspec.json.decode(data, type=dict[str, Any]).get("keys")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _Unreadable("they are no JSON") from None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise _Unreadable("there is no list of at most 64 keys")
    found: dict[str, Key] = {}
    for entry in entries:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        if not isinstance(kid, str) or kid in found:
            raise _Unreadable("a key has no name of its own")
        key = _read(entry)
        if key is not None:
            found[kid] = key
    return Jwks(found)


def _read(entry: dict[str, Any]) -> Key | None:
    try:
        if (entry.get("kty"), entry.get("crv")) == ("EC", "P-384"):
            x, y = (decode(str(entry.get(name))) for name in ("x", "y"))
            if len(x) == len(y) == _COORDINATE_BYTES:
                point = b"\x04" + x + y
                return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
        if entry.get("kty") == "RSA":
            n, e = (int.from_bytes(decode(str(entry.get(name))), "big") for name in ("n", "e"))
            # Others would be weak, or slow to verify with.
            if n.bit_length() in _RSA_BITS and e == _EXPONENT:
                return rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise _Unreadable("a key cannot be read") from None
    return None


def decode(text: str) -> bytes:
    """Base64url without padding, in its one spelling; raises `ValueError`."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("no base64url") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("base64url in another spelling")
    return raw
