"""NVIDIA's reference measurements (RIM), for one version of driver or firmware (SPEC 17.6).

A GPU is measured as a whole by two of them, its driver's and its VBIOS's, which speak of different
measurements; a switch by its firmware's alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bombyx.attestation.factors import Factor
from bombyx.attestation.nvidia.device import Device
from bombyx.attestation.nvidia.spdm import SpdmReport
from bombyx.errors import CollateralMismatch, FirmwareRefused

_FACTOR: Final = Factor.NVIDIA_FIRMWARE
_DECODER_INDEX: Final = 35
"""The measurement of the first video decoder, which is none where the decoder is off."""
_HOPPER: Final = "GH100"
"""The chip whose drivers' references have a name that is known."""
_SWITCH_BOARD: Final = ("5612", "0002", "890")
"""Switches do not state their board; NVIDIA's tools know this one for all of them."""
_PART = re.compile(r"[A-Z0-9]{1,16}")
_VERSION = re.compile(r"[0-9]{1,5}(\.[0-9]{1,5}){1,3}")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a vendor's signed reference says; `golden` has the allowed values by reference index.

    `expires_at` (unix seconds) is the end of its signer's certificates.
    """

    version: str
    golden: Mapping[int, tuple[bytes, ...]]
    expires_at: int

    def differing(self, measurements: Mapping[int, bytes]) -> list[int]:
        """The indices whose measurement is missing or none of the allowed values."""
        return [
            index
            for index, allowed in self.golden.items()
            # A reference counts from 0, a device's blocks from 1.
            if measurements.get(index + 1) not in allowed
        ]


def check_measured(device: Device, references: Sequence[Reference]) -> list[str]:
    """Hold a device to the references of its versions; which of its parts have none is returned.

    Raises `CollateralMismatch` where none is for a GPU, or two speak of one measurement;
    `FirmwareRefused` where a measurement is another than the vendor's.
    """
    parts = versions_of(device)
    matching = {
        part: [one for one in references if one.version.casefold() == version.casefold()]
        for part, version in parts.items()
    }
    if not any(matching.values()):
        if device.is_switch:
            return list(parts)
        told = " and ".join(f"the {part} {version}" for part, version in parts.items())
        raise CollateralMismatch(_FACTOR, f"no reference is for {told}")
    whole = [one for found in matching.values() for one in found]
    _check_apart(matching)
    wrong = {index for one in whole for index in one.differing(device.report.measurements)}
    if device.report.has_no_decoder:
        wrong.discard(_DECODER_INDEX)
    if wrong:
        raise FirmwareRefused(
            _FACTOR, f"measurements differ from the vendor's reference: {sorted(wrong)[:8]}"
        )
    return [part for part, found in matching.items() if not found]


def versions_of(device: Device) -> dict[str, str]:
    """The parts of a device that a reference can speak of, with their versions."""
    report = device.report
    if device.is_switch:
        return {"switch's BIOS": report.vbios_version}
    return {"driver": report.driver_version, "VBIOS": report.vbios_version}


def _check_apart(matching: Mapping[str, Sequence[Reference]]) -> None:
    """Driver's and firmware's reference share no measurement: else one would answer for both."""
    indices = [{index for one in found for index in one.golden} for found in matching.values()]
    if len(set().union(*indices)) != sum(map(len, indices)):
        raise CollateralMismatch(_FACTOR, "references of driver and VBIOS speak of one measurement")


def reference_names(report: SpdmReport, chip: str) -> list[str]:
    """What NVIDIA calls the references of a device, as far as it is known; `chip` as certified."""
    names = []
    if chip.startswith(_HOPPER) and _VERSION.fullmatch(report.driver_version):
        names.append(f"NV_GPU_DRIVER_{_HOPPER}_{report.driver_version}")
    is_switch = not report.driver_version
    board = _SWITCH_BOARD if is_switch else tuple(one.upper() for one in report.board)
    parts = (*board, report.vbios_version.replace(".", "").upper())
    if all(_PART.fullmatch(part) for part in parts):
        names.append("_".join(("NV_SWITCH_BIOS" if is_switch else "NV_GPU_VBIOS", *parts)))
    return names
