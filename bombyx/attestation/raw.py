"""The verdict on one file of raw evidence (SPEC 17.4 to 17.6). Pure: bytes in, verdict out.

Without rules for its kind, evidence is held to be authentic, current, not debugged and of an
allowed generation; what nobody asked for stays unknown.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bombyx.attestation import raw_files
from bombyx.attestation.checklist import Checklist, Verdict, judge
from bombyx.attestation.factors import Factor
from bombyx.attestation.nonce import padded
from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.nvidia.verify import verify_nvidia
from bombyx.attestation.platform_rules import NvidiaPolicy, SnpPolicy, TdxPolicy
from bombyx.attestation.policy import Policy
from bombyx.attestation.snp.verify import verify_snp
from bombyx.attestation.tdx.verify import verify_tdx
from bombyx.errors import EvidenceTooLarge, NonceMismatch

KINDS: Final = ("tdx", "snp", "nvidia")
ReadReference = Callable[[bytes], Reference]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvidence:
    """One file and what came with it.

    `collateral` is what the vendor says: DCAP's texts for `tdx`, AMD's revocation list (DER) for
    `snp`, a reference (XML) for `nvidia`. `nonce` stands in for a nonce in the file.
    """

    kind: str
    data: bytes
    collateral: bytes | None = None
    certificates: Sequence[bytes] = ()
    nonce: bytes | None = None


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
    else:
        _nvidia(raw, policy.nvidia or NvidiaPolicy(), now, read_reference, checklist)
    checklist.holds(Factor.RESPONSE_SCHEMA, f"a file of kind {raw.kind}, {len(raw.data)} bytes")


def _tdx(raw: RawEvidence, policy: TdxPolicy, now: int, checklist: Checklist) -> None:
    evidence = raw_files.read_tdx(raw.data, raw.collateral)
    proof = verify_tdx(evidence, policy=policy, now=now, report_data=None, checklist=checklist)
    _check_nonce(proof.quote.report_data, raw.nonce, checklist)


def _snp(raw: RawEvidence, policy: SnpPolicy, now: int, checklist: Checklist) -> None:
    evidence = raw_files.read_snp(raw.data, raw.certificates, raw.collateral)
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
    references = () if raw.collateral is None else (read_reference(raw.collateral),)
    verify_nvidia(evidence, policy=policy, now=now, checklist=checklist, references=references)
    if raw.nonce is not None:
        checklist.holds(Factor.NVIDIA_NONCE_CLIENT_BOUND, "each device signed the nonce given")
