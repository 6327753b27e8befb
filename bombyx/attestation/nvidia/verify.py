"""Whether a list of NVIDIA devices is authentic, distinct and allowed by a policy (SPEC 17.6).

Pure: NVIDIA's roots are built in, the clock is an argument, and nothing is fetched. Revocation is
not examined here: the vendor answers about it online only.
"""

from collections.abc import Sequence
from typing import Any

from bombyx.attestation.checklist import Checklist
from bombyx.attestation.factors import Factor
from bombyx.attestation.nvidia.device import Device, DeviceEvidence, verify_device
from bombyx.attestation.nvidia.reference import Reference
from bombyx.attestation.nvidia.roots import DEVICE_ROOT
from bombyx.attestation.nvidia.versions import is_older
from bombyx.attestation.platform_rules import NvidiaPolicy
from bombyx.errors import (
    CollateralMismatch,
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


def verify_nvidia(
    evidence: Sequence[DeviceEvidence],
    *,
    policy: NvidiaPolicy,
    now: int,
    checklist: Checklist,
    references: Sequence[Reference] = (),
    root: bytes = DEVICE_ROOT,
) -> tuple[Device, ...]:
    """The argument, in order; raises `EvidenceRefused` at the factor that does not hold.

    1. Each device's key, for which NVIDIA's pinned root vouches, signed its nonce.
    2. No device is listed twice, and there are as many GPUs as wanted.
    3. Their generations, drivers and firmware are allowed, and measured as the vendor says.
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
    _check_references(devices, policy, references, checklist)
    if policy.require_revocation:
        raise RevocationUnknown(
            Factor.NVIDIA_NOT_REVOKED, "the vendor's answer about revocation is not at hand"
        )
    return devices


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
    """Each GPU is measured as a signed reference for its driver says."""
    factor = Factor.NVIDIA_FIRMWARE
    gpus = [device for device in devices if not device.is_switch]
    if not references:
        if policy.require_firmware:
            raise CollateralMissing(factor, "no reference measurements are at hand")
        return
    for device in gpus:
        driver = device.report.driver_version
        matching = [one for one in references if one.version == driver]
        if not matching:
            raise CollateralMismatch(factor, f"no reference is for the driver {driver}")
        wrong = [index for one in matching for index in one.differing(device.report.measurements)]
        if wrong:
            raise FirmwareRefused(
                factor, f"measurements differ from the vendor's reference: {wrong[:8]}"
            )
    # A whole appraisal takes a second reference, of the VBIOS.
    checklist.open(factor, "the driver is measured as its reference says; the VBIOS has none here")


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
