"""Whether a list of NVIDIA devices is authentic, distinct and allowed by a policy (SPEC 17.6).

Pure: NVIDIA's roots are built in, the clock is an argument, and nothing is fetched. What NVIDIA
says about firmware (references) and revocation (OCSP answers) counts where it is at hand, and is
unknown where it is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bombyx.attestation.checklist import Checklist
from bombyx.attestation.factors import Factor
from bombyx.attestation.nvidia.device import Device, DeviceEvidence, verify_device
from bombyx.attestation.nvidia.reference import Reference, check_measured
from bombyx.attestation.nvidia.revocation import check_standing
from bombyx.attestation.nvidia.roots import DEVICE_ROOT
from bombyx.attestation.nvidia.versions import is_older
from bombyx.attestation.platform_rules import NvidiaPolicy
from bombyx.errors import (
    CollateralMissing,
    DuplicateGpu,
    EvidenceMalformed,
    EvidenceTooLarge,
    FirmwareRefused,
    GpuCountRefused,
    PlatformNotListed,
    RevocationUnknown,
    WrongGeneration,
)

MAX_DEVICES = 16


@dataclass(frozen=True, slots=True)
class NvidiaWord:
    """What NVIDIA says beside evidence: references that were read, OCSP answers in DER."""

    references: Sequence[Reference] = field(default=())
    answers: Sequence[bytes] = field(default=())


SILENCE = NvidiaWord()


@dataclass(frozen=True, slots=True)
class NvidiaProof:
    """Devices that pass; until unix seconds."""

    devices: tuple[Device, ...]
    expires_at: int


def verify_nvidia(
    evidence: Sequence[DeviceEvidence],
    *,
    policy: NvidiaPolicy,
    now: int,
    checklist: Checklist,
    word: NvidiaWord = SILENCE,
    root: bytes = DEVICE_ROOT,
) -> NvidiaProof:
    """The argument, in order; raises `EvidenceRefused` at the factor that does not hold.

    1. Each device's key, for which NVIDIA's pinned root vouches, signed its nonce.
    2. No device is listed twice, and there are as many GPUs as wanted.
    3. Their generations, drivers and firmware are allowed, and measured as the vendor says.
    4. NVIDIA revoked none of their certificates.
    """
    # 1
    _check_size(evidence)
    devices = tuple(verify_device(one, root=root, now=now) for one in evidence)
    checklist.holds(Factor.NVIDIA_PAYLOAD_PRESENT, f"{len(devices)} devices")
    checklist.holds(Factor.NVIDIA_CERT_CHAIN, "each leads to NVIDIA's root")
    checklist.holds(Factor.NVIDIA_SIGNATURE, "each signed its report")
    checklist.holds(Factor.NONCE_MATCH, "each signed its nonce")
    # 2
    _check_distinct(devices, policy)
    checklist.holds(Factor.NVIDIA_DISTINCT, "no device is listed twice")
    checklist.claims["devices"] = [_claims(device) for device in devices]
    # 3
    _check_allowed(devices, policy)
    checklist.holds(
        Factor.NVIDIA_PLATFORM_ALLOWED, ", ".join(sorted({d.architecture for d in devices}))
    )
    _check_versions(devices, policy)
    checklist.holds(Factor.NVIDIA_CLAIMS, _versions(devices))
    _check_references(devices, policy, word.references, checklist)
    # 4
    until = _check_revocation(devices, policy, word.answers, now, checklist)
    ends = [device.ends for device in devices] + [one.expires_at for one in word.references]
    return NvidiaProof(devices, min([*ends, *until]))


def _check_size(evidence: Sequence[DeviceEvidence]) -> None:
    if not evidence:
        raise EvidenceMalformed(Factor.NVIDIA_PAYLOAD_PRESENT, "there is no evidence of any device")
    if len(evidence) > MAX_DEVICES:
        raise EvidenceTooLarge(Factor.NVIDIA_PAYLOAD_PRESENT, "there are more than 16 devices")


def _check_distinct(devices: Sequence[Device], policy: NvidiaPolicy) -> None:
    for what in ({device.identity for device in devices}, {device.leaf for device in devices}):
        if len(what) != len(devices):
            raise DuplicateGpu(Factor.NVIDIA_DISTINCT, "one device is listed more than once")
    gpus = sum(not device.is_switch for device in devices)
    if policy.count is not None and gpus != policy.count:
        raise GpuCountRefused(
            Factor.NVIDIA_DISTINCT, f"there are {gpus} GPUs, the policy wants {policy.count}"
        )


def _check_allowed(devices: Sequence[Device], policy: NvidiaPolicy) -> None:
    for device in devices:
        if device.architecture not in policy.architectures:
            raise WrongGeneration(
                Factor.NVIDIA_PLATFORM_ALLOWED,
                f"the policy does not allow the architecture {device.architecture}",
            )
        if policy.devices is not None and device.identity not in policy.devices:
            raise PlatformNotListed(
                Factor.NVIDIA_PLATFORM_ALLOWED, "a device is not on the policy's list"
            )


def _check_versions(devices: Sequence[Device], policy: NvidiaPolicy) -> None:
    for device in devices:
        report = device.report
        floor = None if device.is_switch else policy.min_driver
        if floor is not None and is_older(report.driver_version, floor):
            raise FirmwareRefused(
                Factor.NVIDIA_CLAIMS, f"the driver {report.driver_version} is older than {floor}"
            )
        if policy.vbios is not None and report.vbios_version not in policy.vbios:
            raise FirmwareRefused(
                Factor.NVIDIA_CLAIMS,
                f"the VBIOS {report.vbios_version} is not on the policy's list",
            )


def _check_references(
    devices: Sequence[Device],
    policy: NvidiaPolicy,
    references: Sequence[Reference],
    checklist: Checklist,
) -> None:
    """Each device is measured as signed references for its versions say."""
    factor = Factor.NVIDIA_FIRMWARE
    if not references:
        if policy.require_firmware:
            raise CollateralMissing(factor, "no reference measurements are at hand")
        return
    lacking: dict[str, None] = {}
    for device in devices:
        lacking |= dict.fromkeys(check_measured(device, references))
    if not lacking:
        checklist.holds(factor, "everything is measured as NVIDIA's references say")
        return
    parts = " and ".join(lacking)
    if policy.require_firmware:
        raise CollateralMissing(factor, f"no reference of the {parts} is at hand")
    checklist.open(factor, f"measured as far as references say; the {parts} has none here")


def _check_revocation(
    devices: Sequence[Device],
    policy: NvidiaPolicy,
    answers: Sequence[bytes],
    now: int,
    checklist: Checklist,
) -> list[int]:
    """When the answers end that it stood on."""
    factor = Factor.NVIDIA_NOT_REVOKED
    standing = check_standing([device.chain for device in devices], answers, now=now)
    told = f"{standing.good} of {standing.asked} certificates"
    if standing.good == standing.asked:
        checklist.holds(factor, f"NVIDIA's answers, signed and current, call {told} good")
    elif policy.require_revocation:
        why = f"NVIDIA's answers at hand call {told} good" if answers else "no answer is at hand"
        raise RevocationUnknown(factor, f"NVIDIA may have revoked a device: {why}")
    elif answers:
        checklist.open(factor, f"NVIDIA's answers at hand call {told} good")
    return [] if standing.until is None else [standing.until]


def _versions(devices: Sequence[Device]) -> str:
    told = {
        f"driver {device.report.driver_version or 'none'}, VBIOS {device.report.vbios_version}"
        for device in devices
    }
    return "; ".join(sorted(told))


def _claims(device: Device) -> dict[str, Any]:
    report = device.report
    return {
        "architecture": device.architecture,
        "kind": "switch" if device.is_switch else "gpu",
        "identity": device.identity,
        "driver": report.driver_version,
        "vbios": report.vbios_version,
        "nonce": report.nonce.hex(),
        "measurements": len(report.measurements),
    }
