"""The verdict on one file of raw evidence (SPEC 17.4 to 17.8). Pure: bytes in, verdict out.

Without rules for its kind, evidence is held to be authentic, current, not debugged and of an
allowed generation; what nobody asked for stays unknown.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bombyx.attestation import raw_files
from bombyx.attestation.checklist import Checklist, Verdict, judge
from bombyx.attestation.factors import Factor
from bombyx.attestation.nonce import padded
from bombyx.attestation.nvidia.verify import verify_nvidia
from bombyx.attestation.platform_rules import NvidiaPolicy, SnpPolicy, TdxPolicy
from bombyx.attestation.policy import Policy
from bombyx.attestation.raw_nvidia import ReadReference, read_word
from bombyx.attestation.snp.verify import verify_snp
from bombyx.attestation.tdx.verify import verify_tdx
from bombyx.attestation.tokens.jwk import Jwks, parse_jwks
from bombyx.attestation.tokens.nras import verify_nras
from bombyx.attestation.tokens.trust_authority import verify_trust_authority
from bombyx.errors import (
    CollateralMalformed,
    CollateralMissing,
    EvidenceTooLarge,
    NonceMismatch,
    TokenMalformed,
)

KINDS: Final = ("tdx", "snp", "nvidia", "nras", "trust-authority")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvidence:
    """One file and what came with it.

    `collateral` is what the vendor says: DCAP's texts for `tdx`, AMD's revocation list (DER) for
    `snp`, the service's keys (JWKS) for tokens, and for `nvidia` any number of references (XML),
    OCSP answers (DER) and files of both. `nonce` stands in for a nonce in the file.
    """

    kind: str
    data: bytes
    collateral: Sequence[bytes] = ()
    certificates: Sequence[bytes] = ()
    nonce: bytes | None = None

    def only(self, factor: Factor) -> bytes | None:
        """The one file of collateral; refuses more than one."""
        if len(self.collateral) > 1:
            raise CollateralMalformed(factor, "one file of collateral is wanted")
        return self.collateral[0] if self.collateral else None


def examine_raw(
    raw: RawEvidence, *, policy: Policy, now: int, read_reference: ReadReference
) -> Verdict:
    """All factors; `now` in unix seconds. `read_reference` reads a RIM, which needs an extra."""
    return judge(lambda checklist: _argue(raw, policy, now, read_reference, checklist))


def _argue(
    raw: RawEvidence,
    policy: Policy,
    now: int,
    read_reference: ReadReference,
    checklist: Checklist,
) -> None:
    if len(raw.data) > raw_files.MAX_EVIDENCE_BYTES:
        raise EvidenceTooLarge(Factor.RESPONSE_SCHEMA, "the file is longer than 1 MiB")
    if raw.kind == "tdx":
        _tdx(raw, policy.tdx or TdxPolicy(), now, checklist)
    elif raw.kind == "snp":
        _snp(raw, policy.snp or SnpPolicy(), now, checklist)
    elif raw.kind == "nvidia":
        _nvidia(raw, policy.nvidia or NvidiaPolicy(), now, read_reference, checklist)
    elif raw.kind == "nras":
        _nras(raw, now, checklist)
    else:
        _trust_authority(raw, now, checklist)
    checklist.holds(Factor.RESPONSE_SCHEMA, f"a file of kind {raw.kind}, {len(raw.data)} bytes")


def _tdx(raw: RawEvidence, policy: TdxPolicy, now: int, checklist: Checklist) -> None:
    evidence = raw_files.read_tdx(raw.data, raw.only(Factor.INTEL_PCS_COLLATERAL))
    proof = verify_tdx(evidence, policy=policy, now=now, report_data=None, checklist=checklist)
    _check_nonce(proof.quote.report_data, raw.nonce, checklist)


def _snp(raw: RawEvidence, policy: SnpPolicy, now: int, checklist: Checklist) -> None:
    crl = raw.only(Factor.VENDOR_COLLATERAL)
    evidence = raw_files.read_snp(raw.data, raw.certificates, crl)
    proof = verify_snp(evidence, policy=policy, now=now, report_data=None, checklist=checklist)
    _check_nonce(proof.report.report_data, raw.nonce, checklist)


def _check_nonce(report_data: bytes, nonce: bytes | None, checklist: Checklist) -> None:
    if nonce is None:
        return
    if not hmac.compare_digest(report_data, padded(nonce)):
        raise NonceMismatch(Factor.NONCE_MATCH, "the report data is not the nonce and zeros")
    checklist.holds(Factor.NONCE_MATCH, "the report data is the nonce and zeros")


def _nvidia(
    raw: RawEvidence,
    policy: NvidiaPolicy,
    now: int,
    read_reference: ReadReference,
    checklist: Checklist,
) -> None:
    evidence = raw_files.read_nvidia(raw.data, raw.nonce)
    word = read_word(raw.collateral, evidence, read_reference)
    verify_nvidia(evidence, policy=policy, now=now, checklist=checklist, word=word)
    if raw.nonce is not None:
        checklist.holds(Factor.NVIDIA_NONCE_CLIENT_BOUND, "each device signed the nonce given")


def _nras(raw: RawEvidence, now: int, checklist: Checklist) -> None:
    """What NVIDIA's service says of GPUs; a second opinion, without the evidence it saw."""
    factor = Factor.NVIDIA_NRAS_VERIFIED
    claims = verify_nras(raw.data, _keys(raw, factor), nonce=raw.nonce, now=now)
    checklist.holds(factor, f"NVIDIA's service, under its own key, finds {len(claims)} GPUs right")
    checklist.claims.update(claims)
    if raw.nonce is not None:
        checklist.holds(Factor.NONCE_MATCH, "each token was made for the nonce given")


def _trust_authority(raw: RawEvidence, now: int, checklist: Checklist) -> None:
    """What Intel's service says of a TDX machine."""
    factor = Factor.TRUST_AUTHORITY_VERIFIED
    try:
        token = raw.data.decode("ascii").removesuffix("\n")
    except UnicodeDecodeError:
        raise TokenMalformed(factor, "the token is malformed: it is no ASCII") from None
    report_data = None if raw.nonce is None else padded(raw.nonce)
    keys = _keys(raw, factor)
    claims = verify_trust_authority(token, keys, report_data=report_data, now=now)
    checklist.holds(factor, "Intel's service, under its own key, finds the machine up to date")
    checklist.claims.update(claims)
    if report_data is not None:
        checklist.holds(Factor.NONCE_MATCH, "the report data is the nonce and zeros")


def _keys(raw: RawEvidence, factor: Factor) -> Jwks:
    keys = raw.only(factor)
    if keys is None:
        raise CollateralMissing(factor, "the service's keys (JWKS) are not at hand")
    return parse_jwks(keys, factor)
