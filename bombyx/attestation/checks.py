"""The checks behind the steps of a verification (SPEC 17, 13.5).

Each judges one thing, returns nothing or what the next one needs, and raises `EvidenceRefused`
with its step's name and a sentence for people.
"""

import base64
import binascii
import hashlib

import msgspec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from bombyx import canonical
from bombyx.attestation import simulated
from bombyx.attestation.collateral import Collateral, collateral_digest
from bombyx.attestation.dcap import Claims
from bombyx.attestation.evidence import Evidence
from bombyx.attestation.keyset import MAX_KEYSET_LIFE_SECONDS, HpkeKey, Keyset, ModelRecord
from bombyx.attestation.pem import split_certificates
from bombyx.attestation.policy import SIMULATED, Policy
from bombyx.attestation.steps import StepName
from bombyx.attestation.tdx_quote import TdxQuote
from bombyx.errors import (
    AttributesRefused,
    BindingMismatch,
    CollateralChain,
    CollateralMismatch,
    CollateralMissing,
    EvidenceMalformed,
    EvidenceRefused,
    MeasurementRefused,
    NotCanonical,
    PlatformNotAllowed,
    TcbRefused,
    UnknownRoot,
)

_MLKEM_BYTES = 1184
_ANY_SCALAR = X25519PrivateKey.from_private_bytes(b"\x01" * 32)
"""Meets a public key of small order in the zero point, whatever the scalar is."""


def check_keyset(keyset: Keyset, evidence: Evidence, now: int) -> None:
    """The keyset is what it may be, lives, and is meant for this evidence."""
    step = StepName.KEYSET_FORM
    _check_canonical(step, keyset)
    for names in ([key.id for key in keyset.hpke], [model.id for model in keyset.models]):
        if len(set(names)) != len(names):
            raise EvidenceRefused(step, "the keyset names a key or a model twice")
    if keyset.not_after <= now:
        raise EvidenceRefused(step, "the keyset has expired")
    if keyset.not_after > now + MAX_KEYSET_LIFE_SECONDS:
        raise EvidenceRefused(step, "the keyset claims to live for more than 24 hours")
    if keyset.platform != evidence.platform:
        raise EvidenceRefused(step, "the keyset names another platform than its evidence")


def read_quote(evidence: Evidence) -> bytes:
    """The quote's bytes out of evidence in its one spelling."""
    step = StepName.EVIDENCE_FORM
    _check_canonical(step, evidence)
    try:
        quote = base64.b64decode(evidence.quote, validate=True)
    except (binascii.Error, ValueError):
        raise EvidenceMalformed(step, "the quote is no base64") from None
    if not quote or base64.b64encode(quote).decode() != evidence.quote:
        raise EvidenceMalformed(step, "the quote is empty or its base64 not canonical")
    return quote


def check_platform(platform: str, policy: Policy) -> None:
    """Allowed by the policy."""
    step = StepName.PLATFORM_ALLOWED
    if platform not in policy.platforms:
        why = ": no hardware keeps what is sent there from its owner"
        raise PlatformNotAllowed(
            step,
            f"the policy does not name the platform `{platform}`"
            f"{why if platform == SIMULATED else ''}",
        )


def present_collateral(collateral: Collateral | None, evidence: Evidence) -> Collateral:
    """The collateral, if it is the one that the evidence names."""
    step = StepName.COLLATERAL_PRESENT
    if collateral is None:
        raise CollateralMissing(step, "the collateral is missing")
    _check_canonical(step, collateral)
    if collateral_digest(collateral) != evidence.collateral:
        raise CollateralMismatch(step, "the evidence names other collateral")
    return collateral


def check_declared_simulated(quote: TdxQuote) -> None:
    """A simulated quote says that it is one, under its signature."""
    if (quote.version, quote.user_data) != (simulated.QUOTE_VERSION, simulated.USER_DATA):
        raise EvidenceMalformed(
            StepName.QUOTE_STRUCTURE, "the quote does not call itself SIMULATED"
        )


def pinned_root(quote: TdxQuote, collateral: Collateral, policy: Policy) -> bytes:
    """The DER of the simulated root that quote and collateral end in and the policy pins."""
    step = StepName.CERTIFICATE_CHAIN
    try:
        root = split_certificates(collateral.tcb_info_issuer_chain.encode())[-1]
    except ValueError as error:
        raise CollateralChain(step, f"the collateral's chain: {error}") from None
    if hashlib.sha256(root).hexdigest() not in policy.simulated.roots:
        raise UnknownRoot(step, "the policy does not pin this simulated root")
    if quote.chain[-1] != root:
        raise UnknownRoot(step, "the quote ends in another root than its collateral")
    return root


def check_tcb(claims: Claims, policy: Policy) -> None:
    """The patch level's status is one that the policy accepts."""
    if claims.status not in policy.simulated.accepted_tcb:
        advisories = ", ".join(claims.advisory_ids) or "none"
        raise TcbRefused(
            StepName.TCB_STATUS,
            f"the patch level is {claims.status} (advisories: {advisories}), not accepted",
        )


def check_attributes(quote: TdxQuote) -> None:
    """No debugger, and no other attribute: the DCAP library lets PKS, KL and PERFMON pass."""
    step = StepName.DEBUG_DISABLED
    if quote.td_attributes != simulated.TD_ATTRIBUTES:
        raise AttributesRefused(
            step, "TD attributes are set that a simulated machine does not have"
        )
    if quote.xfam != simulated.XFAM:
        raise AttributesRefused(step, "CPU features are set that a simulated machine does not have")


def check_binding(quote: TdxQuote, expected: bytes) -> None:
    """The quote was made for exactly what is offered: `expected` is its report data."""
    if quote.report_data != expected:
        raise BindingMismatch(
            StepName.REPORT_DATA_BINDING,
            "the quote binds other keys or GPU evidence than the ones offered",
        )


def check_measurement(quote: TdxQuote, policy: Policy) -> None:
    """The image is allowed, and nothing else is measured beside it."""
    step = StepName.MEASUREMENT
    if quote.mr_td.hex() not in policy.simulated.mr_td:
        raise MeasurementRefused(step, "the policy does not allow this image (MRTD)")
    if any(quote.seam + quote.mr_config + b"".join(quote.rtmrs)):
        raise MeasurementRefused(step, "RTMR, configuration or module fields are not zero")


def check_no_gpus(evidence: Evidence) -> None:
    """Nothing vouches for GPU reports beside a simulated CPU."""
    if evidence.gpus:
        raise EvidenceRefused(
            StepName.GPU_EVIDENCE, "a simulated worker shows GPU reports, which prove nothing"
        )


def allowed_models(keyset: Keyset, policy: Policy) -> tuple[ModelRecord, ...]:
    """The records whose names the policy holds; each must keep its rules.

    A model that the policy does not name is left out: nobody can ask for it under this policy.
    """
    allowed = tuple(model for model in keyset.models if _keeps_rules(model, policy))
    if not allowed:
        raise EvidenceRefused(StepName.MODEL_ALLOWED, "the policy names none of its models")
    return allowed


def _keeps_rules(model: ModelRecord, policy: Policy) -> bool:
    rules = policy.model(model.id)
    if rules is None:
        return False
    for what, value, values in (
        ("weights", model.weights, rules.weights),
        ("engine", model.engine, rules.engines),
    ):
        if value not in values:
            raise EvidenceRefused(
                StepName.MODEL_ALLOWED, f"the policy does not allow the {what} of {model.id}"
            )
    return True


def sealing_key(key: HpkeKey) -> bytes:
    """The 1216 bytes of a key that can be sealed to (FIPS 203 7.2, RFC 7748 6.1)."""
    raw = base64.urlsafe_b64decode(key.pk + "=" * (-len(key.pk) % 4))
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != key.pk:
        raise EvidenceRefused(StepName.SEALING_KEY, "a sealing key's base64 is not canonical")
    try:
        MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_BYTES])
        _ANY_SCALAR.exchange(X25519PublicKey.from_public_bytes(raw[_MLKEM_BYTES:]))
    except ValueError:
        raise EvidenceRefused(StepName.SEALING_KEY, "a sealing key is not usable") from None
    return raw


def _check_canonical(step: StepName, document: msgspec.Struct) -> None:
    # A document made in this process has never met its bounds; one off the wire meets them twice.
    try:
        canonical.decode(canonical.encode(document), type(document))
    except NotCanonical as error:
        raise EvidenceRefused(step, error.message) from None
