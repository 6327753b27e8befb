"""What NVIDIA's attestation service says of GPUs: a token of tokens (SPEC 17.8).

A second opinion: the service sees the evidence, and its word is checked like anybody's. NVIDIA's
local tools make the same documents with `alg: none`; those prove nothing outside of the machine
that made them and are refused.
"""

import hashlib
import hmac
from typing import Any, Final

import msgspec

from bombyx.attestation.factors import Factor
from bombyx.attestation.tokens.jwk import Jwks
from bombyx.attestation.tokens.jws import MAX_TOKEN_BYTES, Issuer, open_token
from bombyx.errors import EvidenceTooLarge, TokenClaimsRefused, TokenMalformed

FACTOR: Final = Factor.NVIDIA_NRAS_VERIFIED
NRAS: Final = Issuer("https://nras.attestation.nvidia.com", "ES384", FACTOR)
MAX_DEVICES = 16
MAX_EAT_BYTES = (MAX_DEVICES + 1) * MAX_TOKEN_BYTES
_OVERALL = "x-nvidia-overall-att-result"
_WANTED: Final[dict[str, Any]] = {
    "measres": "success",
    "dbgstat": "disabled",
    "secboot": True,
    "x-nvidia-gpu-attestation-report-nonce-match": True,
    "x-nvidia-gpu-attestation-report-signature-verified": True,
    "x-nvidia-gpu-attestation-report-cert-chain-fwid-match": True,
    "x-nvidia-gpu-driver-rim-signature-verified": True,
    "x-nvidia-gpu-driver-rim-version-match": True,
    "x-nvidia-gpu-vbios-rim-signature-verified": True,
    "x-nvidia-gpu-vbios-rim-version-match": True,
}
"""What each GPU's token must say; anything else, or nothing, refuses it."""


def verify_nras(
    data: bytes, keys: Jwks, *, nonce: bytes | None, now: int
) -> dict[str, dict[str, Any]]:
    """The claims of each GPU; raises `EvidenceRefused` at `nvidia_nras_verified`.

    All tokens are for the nonce given; without one, for one and the same.
    """
    overall_text, texts = split_eat(data)
    overall = open_token(overall_text, NRAS, keys, now=now)
    stated = str(overall.get("eat_nonce"))
    if nonce is not None:
        _check_nonce(overall, nonce.hex())
    if overall.get(_OVERALL) is not True:
        raise TokenClaimsRefused(FACTOR, "the service does not find the GPUs in order")
    check_digests(overall, texts)
    found = {name: open_token(text, NRAS, keys, now=now) for name, text in texts.items()}
    devices = set()
    for name, claims in found.items():
        _check_nonce(claims, stated)
        check_device(name, claims)
        devices.add(str(claims.get("ueid")))
    if len(devices) != len(found):
        raise TokenClaimsRefused(FACTOR, "the service speaks of one GPU more than once")
    return found


def split_eat(data: bytes) -> tuple[str, dict[str, str]]:
    """The service's token and those of the GPUs by name, out of `[["JWT", …], {…}]`."""
    if len(data) > MAX_EAT_BYTES:
        raise EvidenceTooLarge(FACTOR, "the service's answer is too long")
    try:
        (kind, overall), texts = msgspec.json.decode(
            data, type=tuple[tuple[str, str], dict[str, str]]
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TokenMalformed(FACTOR, "the service's answer is no token of tokens") from None
    if kind != "JWT" or not 0 < len(texts) <= MAX_DEVICES:
        raise TokenMalformed(FACTOR, "the service's answer is of another form")
    return overall, texts


def check_digests(overall: dict[str, Any], texts: dict[str, str]) -> None:
    """The service's token names exactly the GPUs' tokens, by their digests."""
    named = {
        name: ["DIGEST", ["SHA-256", hashlib.sha256(text.encode()).hexdigest()]]
        for name, text in texts.items()
    }
    if overall.get("submods") != named:
        raise TokenClaimsRefused(FACTOR, "the service's token names other GPUs than are shown")


def check_device(name: str, claims: dict[str, Any]) -> None:
    """One GPU's token says all that is wanted."""
    for claim, wanted in _WANTED.items():
        said = claims.get(claim)
        if said != wanted or type(said) is not type(wanted):
            raise TokenClaimsRefused(FACTOR, f"{name[:32]}: {claim} is not {wanted}")


def _check_nonce(claims: dict[str, Any], nonce: str) -> None:
    if not hmac.compare_digest(str(claims.get("eat_nonce")).encode(), nonce.encode()):
        raise TokenClaimsRefused(FACTOR, "the token was made for another nonce")
