"""A machine that does not exist: its certificates and quotes under a simulated root.

One per process, with ids and keys of its own. The quotes have exactly a TDX quote's layout, so
that the real verifier reads them, and their signed header says SIMULATED.
"""

import hashlib
import os
import struct
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from bombyx.attestation.simulated import FMSPC, TD_ATTRIBUTES, USER_DATA, XFAM
from worker.attest.sgx_extension import PlatformDescription
from worker.attest.simulated_certificates import (
    Authority,
    issue_authority,
    issue_leaf,
    new_key,
    pem_chain,
    raw_public_key,
    sign_raw,
)
from worker.attest.simulated_root import SimulatedRoot

CPU_SVN: Final = (3, 3, 2, 2, 4, 1, 0, 5) + (0,) * 8
PCE_SVN: Final = 13
QE_SIGNER: Final = b"\x51" * 32
QE_PRODUCT, QE_SVN = 2, 4
TEE_TCB_SVN: Final = bytes((7, 1, 3)).ljust(16, b"\0")
"""Patch level of TDX module 1.3 as the simulated collateral knows it."""
_VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
"""Intel's quoting enclave vendor id, without which the quote would not parse."""
_QE_AUTH: Final = bytes(range(32))
_ID_BYTES = 16
_MEASUREMENT = 48
_QE_ATTRIBUTES: Final = bytes.fromhex("1500000000000000e700000000000000")


@dataclass(frozen=True, slots=True)
class Body:
    """What a simulated quote says of its machine; the defaults are an honest machine's."""

    image: bytes
    report_data: bytes
    td_attributes: bytes = TD_ATTRIBUTES
    xfam: bytes = XFAM
    tee_tcb_svn: bytes = TEE_TCB_SVN
    mr_config_id: bytes = bytes(_MEASUREMENT)
    rtmrs: tuple[bytes, ...] = (bytes(_MEASUREMENT),) * 4
    user_data: bytes = USER_DATA

    def encode(self) -> bytes:
        """Header and TD report 1.0: 632 bytes."""
        header = struct.pack("<HHIHH16s20s", 4, 2, 0x81, 0, 0, _VENDOR, self.user_data)
        report = struct.pack(
            "<16s104x8s8s48s48s96x192s64s",
            self.tee_tcb_svn,
            self.td_attributes,
            self.xfam,
            self.image,
            self.mr_config_id,
            b"".join(self.rtmrs),
            self.report_data,
        )
        return header + report


@dataclass(frozen=True, slots=True, repr=False)
class SimulatedPlatform:
    """Certificates and keys of one simulated machine."""

    root: Authority
    authority: Authority
    tcb_signer: Authority
    certificate: Authority
    attestation_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    @classmethod
    def create(cls, root: SimulatedRoot, *, now: int) -> "SimulatedPlatform":
        """A new machine under a root, its certificates valid around `now` (unix seconds)."""
        above = root.authority
        authority = issue_authority("SIMULATED NOT INTEL PCK Platform CA", above, now=now)
        description = PlatformDescription(
            ppid=os.urandom(_ID_BYTES),
            instance=os.urandom(_ID_BYTES),
            fmspc=FMSPC,
            cpu_svn=CPU_SVN,
            pce_svn=PCE_SVN,
        )
        name = "SIMULATED NOT INTEL PCK Certificate"
        return cls(
            root=above,
            authority=authority,
            tcb_signer=issue_leaf("SIMULATED NOT INTEL TCB Signing", above, now=now),
            certificate=issue_leaf(name, authority, now=now, platform=description),
        )

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The platform's certificates, leaf first."""
        return tuple(a.certificate for a in (self.certificate, self.authority, self.root))

    def quote(self, body: Body) -> bytes:
        """A signed quote about such a machine."""
        said = body.encode()
        own_key = raw_public_key(self.attestation_key)
        enclave = _enclave_report(own_key)
        chain = pem_chain(*self.chain)
        certification = (
            enclave
            + sign_raw(self.certificate.key, enclave)
            + struct.pack("<H", len(_QE_AUTH))
            + _QE_AUTH
            + struct.pack("<HI", 5, len(chain))
            + chain
        )
        tail = sign_raw(self.attestation_key, said) + own_key
        tail += struct.pack("<HI", 6, len(certification)) + certification
        return said + struct.pack("<I", len(tail)) + tail


def _enclave_report(attestation_key: bytes) -> bytes:
    # SGX report: 384 bytes, whose report data vouches for the attestation key.
    return struct.pack(
        "<16s32x16s32s32x32s96xHH60x32s32x",
        bytes(CPU_SVN),
        _QE_ATTRIBUTES,
        b"\x22" * 32,
        QE_SIGNER,
        QE_PRODUCT,
        QE_SVN,
        hashlib.sha256(attestation_key + _QE_AUTH).digest(),
    )
