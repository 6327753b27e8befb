"""One NVIDIA device: who it is by its certificates, and that it signed its evidence (SPEC 17.6)."""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bombyx.attestation.certificates import Certificate
from bombyx.attestation.chains import Blame, ec_key, verify_chain
from bombyx.attestation.factors import Factor
from bombyx.attestation.nvidia.spdm import SpdmReport, parse_report
from bombyx.attestation.pem import split_certificates
from bombyx.errors import (
    EvidenceTooLarge,
    FirmwareRefused,
    ForgedEvidence,
    NonceMismatch,
    WrongGeneration,
)

MAX_CHAIN_BYTES = 24 * 1024
BLAME: Final = Blame(Factor.NVIDIA_CERT_CHAIN, "the device's certificate chain")
_MOST_CERTIFICATES = 6
"""Firmware, device, provisioner, product line, root; one to spare."""
_LEAST_CERTIFICATES = 3
_FWID_OIDS = ("2.23.133.5.4.1", "2.23.133.5.4.1.1")
"""TCG's DICE: which firmware a key was made for."""
_CHIPS = (("GH100", "hopper"), ("GB1", "blackwell"), ("GB2", "blackwell"), ("LS_10", "ls10"))
SWITCHES: Final = ("ls10",)


@dataclass(frozen=True, slots=True)
class Device:
    """A device that proved itself; `identity` is the hex SHA-256 of its own key, for life.

    `chain` leads from the key of its firmware to the pinned root.
    """

    architecture: str
    identity: str
    leaf: bytes
    report: SpdmReport
    chain: tuple[Certificate, ...]
    ends: int

    @property
    def is_switch(self) -> bool:
        """Whether it is an NVSwitch and no GPU."""
        return self.architecture in SWITCHES


@dataclass(frozen=True, slots=True)
class DeviceEvidence:
    """What one device shows; the chain in PEM, leaf first; `nonce` the one it must have signed."""

    architecture: str
    report: bytes
    chain: bytes
    nonce: bytes


def verify_device(evidence: DeviceEvidence, *, root: bytes, now: int) -> Device:
    """The device, if its key signed the nonce under the root (DER); raises `EvidenceRefused`."""
    report = parse_report(evidence.report)
    certificates = _chain(evidence.chain, root=root, now=now)
    leaf, own = certificates[0], certificates[1]
    if report.nonce != evidence.nonce:
        raise NonceMismatch(Factor.NONCE_MATCH, "the device signed another nonce")
    _check_signature(report, leaf)
    _check_firmware(report, leaf)
    architecture = _architecture(evidence.architecture, own)
    ends = min(one.not_after.timestamp() for one in certificates)
    return Device(
        architecture=architecture,
        identity=_identity(certificates),
        leaf=hashlib.sha256(leaf.public_key).digest(),
        report=report,
        chain=certificates,
        ends=int(ends),
    )


def split_chain(pem: bytes) -> list[bytes]:
    """A device's certificates (DER), the leaf first; raises `ValueError`."""
    # Some tools leave out the last end of line; nothing else may differ.
    return split_certificates(pem.removesuffix(b"\n") + b"\n", most=_MOST_CERTIFICATES)


def _chain(pem: bytes, *, root: bytes, now: int) -> tuple[Certificate, ...]:
    if len(pem) > MAX_CHAIN_BYTES:
        raise EvidenceTooLarge(BLAME.factor, "the device's certificates are longer than 24 KiB")
    try:
        chain = split_chain(pem)
    except ValueError as error:
        raise BLAME.is_broken(str(error)) from None
    if len(chain) < _LEAST_CERTIFICATES:
        raise BLAME.is_broken("it lacks the device's own certificate")
    return verify_chain(chain, root, now=now, blame=BLAME)


def _identity(chain: tuple[Certificate, ...]) -> str:
    """Of the device that NVIDIA's own authorities name, whatever it vouches for below.

    A device's certificate may issue, for the key of its firmware, and names no length of path: by
    the key next to the firmware's, one that was torn out of a device would make many distinct ones.
    """
    devices = [one for one in chain[1:] if _line(one)]
    return hashlib.sha256(devices[-1].public_key).hexdigest()


def _line(own: Certificate) -> str:
    """The product line of a device, empty for what is no device's certificate."""
    return next((line for chip, line in _CHIPS if own.name.startswith(chip)), "")


def _check_signature(report: SpdmReport, leaf: Certificate) -> None:
    try:
        signature = encode_dss_signature(*report.signature)
        ec_key(leaf, BLAME).verify(signature, report.signed, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, ValueError):
        raise ForgedEvidence(
            Factor.NVIDIA_SIGNATURE, "the evidence is not signed by the device's key"
        ) from None


def _check_firmware(report: SpdmReport, leaf: Certificate) -> None:
    """The firmware that the device reports is the one that its key was made for."""
    stated = report.opaque.get("fwid")
    if not stated:
        return
    if not any(stated in leaf.extensions.get(oid, b"") for oid in _FWID_OIDS):
        raise FirmwareRefused(
            Factor.NVIDIA_CLAIMS, "the device's key was made for other firmware than it reports"
        )


def _architecture(stated: str, own: Certificate) -> str:
    known = _line(own)
    if not known:
        raise WrongGeneration(
            Factor.NVIDIA_PLATFORM_ALLOWED, "the device is of a generation that is not known"
        )
    if stated not in (known, known.upper()):
        raise WrongGeneration(
            Factor.NVIDIA_PLATFORM_ALLOWED, f"the device is of another architecture: {known}"
        )
    return known
