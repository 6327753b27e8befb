"""Workers on real platforms: from evidence to the machine behind a keyset (SPEC 17.2, 13.5).

A worker is held to more than raw evidence: whatever is measured must be on a list of the policy.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from msgspec import UNSET

from bombyx.attestation.binding import gpu_nonce
from bombyx.attestation.checklist import Checklist, Finding
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.evidence import Evidence, GpuEvidence
from bombyx.attestation.factors import STEP_OF, Factor
from bombyx.attestation.nvidia.device import DeviceEvidence
from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.nvidia.verify import NvidiaWord, verify_nvidia
from bombyx.attestation.pem import split_certificates
from bombyx.attestation.platform_rules import NvidiaPolicy, SnpPolicy, TdxPolicy, VtpmPolicy
from bombyx.attestation.policy import Policy
from bombyx.attestation.roots import Roots
from bombyx.attestation.snp.report import REPORT_BYTES, SnpReport
from bombyx.attestation.snp.verify import SnpEvidence, verify_snp
from bombyx.attestation.steps import Result, StepName
from bombyx.attestation.tdx.verify import TdxEvidence, verify_tdx
from bombyx.attestation.tdx_quote import TdxQuote, parse_quote
from bombyx.attestation.vendor import AmdAuthority, NvidiaReference, NvidiaStatus
from bombyx.attestation.vtpm.verify import qualifying_data, verify_vtpm
from bombyx.attestation.wanted import VendorDocuments
from bombyx.errors import (
    CollateralMalformed,
    CollateralMismatch,
    EvidenceMalformed,
    EvidenceRefused,
    GpuCountRefused,
    MeasurementRefused,
    PlatformNotAllowed,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a worker shows, taken apart: the quote's bytes, and what it must bind."""

    raw: bytes
    evidence: Evidence
    collateral: Collateral | None
    keyset_digest: bytes
    report_data: bytes
    vendor: VendorDocuments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Machine:
    """What stands behind a keyset; `expires_at` (unix seconds) is None where nothing ends."""

    platform_id: str
    expires_at: int | None


def verify_machine(
    shown: Shown,
    *,
    policy: Policy,
    roots: Roots,
    now: int,
    note: Callable[[StepName, str], None],
) -> Machine:
    """The machine that the evidence proves; each step that holds is noted.

    Raises `EvidenceRefused` with the step that does not.
    """
    verify = _PLATFORMS.get(shown.evidence.platform)
    if verify is None:
        raise PlatformNotAllowed(
            StepName.PLATFORM_ALLOWED,
            f"`{shown.evidence.platform[:16]}` is not supported by this version",
        )
    checklist = Checklist()
    try:
        machine = verify(shown, policy, roots, now, checklist)
        until = _verify_gpus(shown, policy.nvidia or NvidiaPolicy(), roots, now, checklist)
    except EvidenceRefused as refusal:
        if isinstance(refusal.step, Factor):
            refusal.step = STEP_OF[refusal.step]
        raise
    for step, detail in _passed(checklist.verdict(None).findings).items():
        note(step, detail)
    ends = [end for end in (machine.expires_at, until) if end is not None]
    return Machine(machine.platform_id, min(ends, default=None))


def _passed(findings: tuple[Finding, ...]) -> dict[StepName, str]:
    """The steps of which something was shown; what was not would have been refused by now."""
    found: dict[StepName, str] = {}
    for one in findings:
        step = STEP_OF.get(one.name)
        if step is not None and one.result is Result.PASS:
            found[step] = f"{found[step]}; {one.detail}" if step in found else one.detail
    return found


def _verify_tdx(
    shown: Shown, policy: Policy, roots: Roots, now: int, checklist: Checklist
) -> Machine:
    rules = policy.tdx or TdxPolicy()
    # Exactly a quote: zeros behind it would make many documents of one.
    quote = parse_quote(shown.raw)
    proof = verify_tdx(
        TdxEvidence(shown.raw, shown.collateral),
        policy=rules,
        now=now,
        report_data=shown.report_data,
        checklist=checklist,
        root=roots.intel,
    )
    _require_tdx_image(quote, rules)
    return Machine(proof.claims.ppid, proof.claims.expires_at)


def _require_tdx_image(quote: TdxQuote, rules: TdxPolicy) -> None:
    if rules.images is not None:
        return
    for name, listed in (
        ("MRTD", rules.mr_td),
        ("RTMR0", rules.rtmr0),
        ("RTMR1", rules.rtmr1),
        ("RTMR2", rules.rtmr2),
    ):
        if listed is None:
            raise _unlisted(name)
    for name, listed, value in (
        ("RTMR3", rules.rtmr3, quote.rtmrs[3]),
        ("MRCONFIG", rules.mr_config, quote.mr_config),
    ):
        if listed is None and any(value):
            raise _unlisted(name)


def _verify_snp(
    shown: Shown, policy: Policy, roots: Roots, now: int, checklist: Checklist
) -> Machine:
    _want_no_collateral(shown.evidence)
    rules = policy.snp or SnpPolicy()
    report, pem = shown.raw[:REPORT_BYTES], shown.raw[REPORT_BYTES:]
    try:
        certificates = tuple(split_certificates(pem))
    except ValueError as error:
        raise EvidenceMalformed(
            StepName.QUOTE_STRUCTURE, f"the certificates behind the report: {error}"
        ) from None
    proof = verify_snp(
        SnpEvidence(report, certificates, lists=_lists(shown.vendor)),
        policy=rules,
        now=now,
        report_data=shown.report_data,
        checklist=checklist,
        products=roots.amd,
    )
    _require_snp_image(proof.report, rules)
    return Machine(proof.report.chip_id.hex(), proof.expires_at)


def _lists(vendor: VendorDocuments) -> dict[str, bytes]:
    """AMD's revocation lists by the name of their document; the verifier checks what it takes."""
    try:
        return {
            name: base64.b64decode(document.crl, validate=True)
            for name, document in vendor.items()
            if isinstance(document, AmdAuthority)
        }
    except binascii.Error:
        raise CollateralMalformed(
            Factor.VENDOR_COLLATERAL, "AMD's revocation list is no base64"
        ) from None


def _require_snp_image(report: SnpReport, rules: SnpPolicy) -> None:
    if rules.measurements is None:
        raise _unlisted("the launch measurement")
    if rules.host_data is None and any(report.host_data):
        raise _unlisted("the host's data")


def _verify_vtpm(
    shown: Shown,
    policy: Policy,
    _roots: Roots,
    _now: int,
    checklist: Checklist,
) -> Machine:
    _want_no_collateral(shown.evidence)
    proof = verify_vtpm(
        shown.raw,
        policy=policy.vtpm or VtpmPolicy(),
        nonce=qualifying_data(shown.report_data),
        checklist=checklist,
    )
    return Machine(proof.key_id, None)


def _want_no_collateral(evidence: Evidence) -> None:
    if evidence.collateral is not UNSET:
        raise CollateralMismatch(
            StepName.COLLATERAL_PRESENT, "the evidence names collateral, of which its kind has none"
        )


def _verify_gpus(
    shown: Shown, rules: NvidiaPolicy, roots: Roots, now: int, checklist: Checklist
) -> int | None:
    """Until when (unix seconds) what is shown of GPUs holds; None where there are none."""
    gpus = shown.evidence.gpus
    if not gpus:
        if rules.count:
            raise GpuCountRefused(
                Factor.NVIDIA_PAYLOAD_PRESENT, f"there is no GPU, the policy wants {rules.count}"
            )
        return None
    devices = [_device(gpu, shown.keyset_digest, at) for at, gpu in enumerate(gpus)]
    try:
        proof = verify_nvidia(
            devices,
            policy=rules,
            now=now,
            checklist=checklist,
            word=NvidiaWord(
                references=_references(shown.vendor, now) if rules.require_firmware else (),
                answers=_answers(shown.vendor),
            ),
            root=roots.nvidia,
        )
    except EvidenceRefused as refusal:
        if refusal.step == Factor.NONCE_MATCH:
            refusal.step = Factor.NVIDIA_NONCE_CLIENT_BOUND
        raise
    checklist.holds(Factor.NVIDIA_NONCE_CLIENT_BOUND, "each GPU signed this keyset's nonce")
    return proof.expires_at


def _answers(vendor: VendorDocuments) -> list[bytes]:
    """NVIDIA's answers about revocation; those about others' devices are left aside later."""
    try:
        return [
            base64.b64decode(one.response, validate=True)
            for one in vendor.values()
            if isinstance(one, NvidiaStatus)
        ]
    except binascii.Error:
        raise CollateralMalformed(
            Factor.NVIDIA_NOT_REVOKED, "NVIDIA's answer about revocation is no base64"
        ) from None


def _references(vendor: VendorDocuments, now: int) -> tuple[Reference, ...]:
    """Read only where a policy wants them: each takes 10 ms, and their signers' keys end early."""
    texts = [one.rim for one in vendor.values() if isinstance(one, NvidiaReference)]
    if not texts:
        return ()
    try:
        from bombyx.attestation.nvidia.rim import parse_rim  # noqa: PLC0415 - it needs an extra
    except ModuleNotFoundError:
        return ()  # not at hand: a policy that wants them refuses
    return tuple(parse_rim(text.encode(), now=now) for text in texts)


def _device(gpu: GpuEvidence, keyset_digest: bytes, at: int) -> DeviceEvidence:
    return DeviceEvidence(
        architecture=gpu.arch,
        report=_base64(gpu.report),
        chain=_base64(gpu.certificate),
        nonce=gpu_nonce(keyset_digest, at),
    )


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise EvidenceMalformed(
            Factor.NVIDIA_PAYLOAD_PRESENT, "a GPU's evidence is empty or its base64 not canonical"
        )
    return raw


def _unlisted(what: str) -> MeasurementRefused:
    return MeasurementRefused(StepName.MEASUREMENT, f"the policy does not say what {what} may be")


_Verify = Callable[[Shown, Policy, Roots, int, Checklist], Machine]
_PLATFORMS: Final[Mapping[str, _Verify]] = MappingProxyType(
    {"tdx": _verify_tdx, "sev-snp": _verify_snp, "vtpm": _verify_vtpm}
)
