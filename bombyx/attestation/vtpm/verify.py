"""Whether a virtual TPM's quote is authentic, and allowed by a policy (SPEC 17.7).

A TPM's key is trusted because a policy pins it: whoever runs the machine below can make another
TPM. Pure: the clock does not matter, and nothing is fetched.
"""

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from bombyx.attestation.checklist import Checklist
from bombyx.attestation.factors import Factor
from bombyx.attestation.platform_rules import VtpmPolicy
from bombyx.attestation.vtpm.quote import TpmEvidence, TpmQuote, parse_evidence, parse_quote
from bombyx.errors import (
    BindingMismatch,
    ForgedEvidence,
    MeasurementRefused,
    UnknownRoot,
)


@dataclass(frozen=True, slots=True)
class VtpmProof:
    """What follows from a quote that passes; `key_id` is the hex SHA-256 of the TPM's key."""

    key_id: str
    pcrs: dict[int, str]


def qualifying_data(report_data: bytes) -> bytes:
    """What the TPM signs for report data (SPEC 13.5): 32 bytes, as many as every TPM takes."""
    return hashlib.sha256(report_data).digest()


def verify_vtpm(
    raw: bytes, *, policy: VtpmPolicy, nonce: bytes | None, checklist: Checklist
) -> VtpmProof:
    """The argument, in order; raises `EvidenceRefused` at the factor that does not hold.

    1. The bytes are a TPM's quote, by a key that the policy pins.
    2. It was made for this nonce.
    3. The registers shown are the ones quoted, and hold what the policy wants.
    """
    # 1
    evidence = parse_evidence(raw)
    quote = parse_quote(evidence.quote)
    checklist.holds(Factor.TEE_QUOTE_PRESENT, f"a quote of {len(evidence.quote)} bytes")
    checklist.holds(Factor.TEE_QUOTE_STRUCTURE, f"a TPM's quote of {len(quote.selected)} registers")
    key_id = _check_key(evidence, policy)
    checklist.holds(Factor.TEE_CERT_CHAIN, "by a key that the policy pins")
    _check_signature(evidence)
    checklist.holds(Factor.TEE_QUOTE_SIGNATURE, "signed by that key")
    # 2
    _check_nonce(quote, nonce, checklist)
    # 3
    pcrs = _registers(quote, evidence)
    checklist.claims.update(
        platform="vtpm",
        key_id=key_id,
        nonce=quote.nonce.hex(),
        pcrs={str(index): value for index, value in pcrs.items()},
    )
    _check_registers(pcrs, policy)
    checklist.holds(Factor.TEE_MEASUREMENT, "every register that the policy names is as wanted")
    return VtpmProof(key_id, pcrs)


def _check_key(evidence: TpmEvidence, policy: VtpmPolicy) -> str:
    key_id = hashlib.sha256(evidence.key).hexdigest()
    if key_id not in policy.keys:
        raise UnknownRoot(Factor.TEE_CERT_CHAIN, "the policy does not pin this TPM's key")
    return key_id


def _check_signature(evidence: TpmEvidence) -> None:
    try:
        key = load_der_public_key(evidence.key)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ForgedEvidence(
                Factor.TEE_QUOTE_SIGNATURE, "the TPM's key is of no elliptic curve"
            )
        key.verify(evidence.signature, evidence.quote, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise ForgedEvidence(
            Factor.TEE_QUOTE_SIGNATURE, "the quote is not signed by the TPM's key"
        ) from None


def _check_nonce(quote: TpmQuote, nonce: bytes | None, checklist: Checklist) -> None:
    if nonce is None:
        return
    if not hmac.compare_digest(quote.nonce, nonce):
        raise BindingMismatch(
            Factor.TEE_REPORTDATA_BINDING,
            "the quote binds other keys or GPU evidence than the ones offered",
        )
    checklist.holds(Factor.TEE_REPORTDATA_BINDING, "the quote was made for the wanted nonce")


def _registers(quote: TpmQuote, evidence: TpmEvidence) -> dict[int, str]:
    values = evidence.values
    if len(values) != len(quote.selected) or (
        hashlib.sha256(b"".join(values)).digest() != quote.pcr_digest
    ):
        raise ForgedEvidence(
            Factor.TEE_QUOTE_SIGNATURE, "the registers shown are not the ones that were quoted"
        )
    return {index: value.hex() for index, value in zip(quote.selected, values, strict=True)}


def _check_registers(pcrs: dict[int, str], policy: VtpmPolicy) -> None:
    if not policy.pcrs:
        raise MeasurementRefused(Factor.TEE_MEASUREMENT, "the policy names no register")
    for index, allowed in policy.pcrs:
        if pcrs.get(index) not in allowed:
            raise MeasurementRefused(
                Factor.TEE_MEASUREMENT, f"register {index} does not hold what the policy allows"
            )
