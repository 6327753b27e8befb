"""Signed tokens (JWT): one algorithm per service, keys by collateral (SPEC 17.8).

The algorithm is the service's, never the token's choice; a token only may name it. Keys named or
carried in a token's header (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.
"""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bombyx.attestation.factors import Factor
from bombyx.attestation.tokens.jwk import Jwks, Key, decode
from bombyx.errors import (
    EvidenceTooLarge,
    TokenAlgorithmRefused,
    TokenClaimsRefused,
    TokenExpired,
    TokenForged,
    TokenMalformed,
)

MAX_TOKEN_BYTES = 64 * 1024
MAX_LIFE_SECONDS = 24 * 3600
"""Services give tokens for minutes to hours."""
_ES384_BYTES = 96
Algorithm = Literal["ES384", "PS384", "RS256"]


@dataclass(frozen=True, slots=True)
class Issuer:
    """A token service: its name in tokens, its one algorithm, the factor that its word shows."""

    name: str
    algorithm: Algorithm
    factor: Factor


def open_token(token: str, issuer: Issuer, keys: Jwks, *, now: int) -> dict[str, Any]:
    """The claims of a token by its issuer, alive at `now` (unix seconds).

    Raises `EvidenceRefused` at the issuer's factor.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise EvidenceTooLarge(issuer.factor, "the token is longer than 64 KiB")
    signing_input, _, signature_text = token.rpartition(".")
    header_text, _, payload_text = signing_input.partition(".")
    header = _object(header_text, issuer)
    key = _key(header, issuer, keys)
    try:
        signature = decode(signature_text)
    except ValueError:
        raise _malformed(issuer, "its signature is no base64url") from None
    if not _is_signed(key, issuer.algorithm, signature, signing_input.encode()):
        raise TokenForged(issuer.factor, "the token is not signed by its issuer's key")
    claims = _object(payload_text, issuer)
    _check_claims(claims, issuer, now=now)
    return claims


def _key(header: dict[str, Any], issuer: Issuer, keys: Jwks) -> Key:
    if header.get("alg") != issuer.algorithm:
        raise TokenAlgorithmRefused(
            issuer.factor,
            f"the token is not signed with {issuer.algorithm}, its issuer's algorithm",
        )
    if "crit" in header or header.get("b64", True) is not True:
        raise TokenAlgorithmRefused(issuer.factor, "the token wants extensions that are not known")
    key = keys.keys.get(str(header.get("kid")))
    if key is None:
        raise TokenForged(issuer.factor, "the token is by a key that its issuer does not list")
    return key


def _is_signed(key: Key, algorithm: Algorithm, signature: bytes, signed: bytes) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            _verify_rsa(key, algorithm, signature, signed)
        else:
            _verify_ec(key, algorithm, signature, signed)
    except InvalidSignature:
        return False
    return True


def _verify_ec(
    key: ec.EllipticCurvePublicKey, algorithm: Algorithm, signature: bytes, signed: bytes
) -> None:
    if algorithm != "ES384" or len(signature) != _ES384_BYTES:
        raise InvalidSignature
    half = _ES384_BYTES // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))


def _verify_rsa(
    key: rsa.RSAPublicKey, algorithm: Algorithm, signature: bytes, signed: bytes
) -> None:
    if algorithm == "PS384":
        digest: hashes.HashAlgorithm = hashes.SHA384()
        scheme = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
        key.verify(signature, signed, scheme, digest)
    elif algorithm == "RS256":
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        raise InvalidSignature


def _check_claims(claims: dict[str, Any], issuer: Issuer, *, now: int) -> None:
    if claims.get("iss") != issuer.name:
        raise TokenClaimsRefused(issuer.factor, "the token is by another issuer")
    begin, end = claims.get("iat"), claims.get("exp")
    start = claims.get("nbf", begin)
    if not (type(begin) is type(end) is type(start) is int):
        raise TokenClaimsRefused(
            issuer.factor, "the token does not say when it was made and when it ends"
        )
    if not begin <= end <= begin + MAX_LIFE_SECONDS:
        raise TokenClaimsRefused(issuer.factor, "the token claims to live for more than 24 hours")
    if not max(begin, start) <= now < end:
        raise TokenExpired(issuer.factor, "the token is past its time, or from later")


def _object(text: str, issuer: Issuer) -> dict[str, Any]:
    try:
        return msgspec.json.decode(decode(text), type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise _malformed(issuer, "a part of it is no JSON object in base64url") from None


def _malformed(issuer: Issuer, why: str) -> TokenMalformed:
    return TokenMalformed(issuer.factor, f"the token is malformed: {why}")
