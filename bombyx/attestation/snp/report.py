"""The bytes of an SEV-SNP attestation report (SPEC 17.5). Parses and judges nothing.

The signature covers the first 0x2a0 bytes. What follows it is reserved and must be zero, so that
no second report is accepted for the first.
"""

from dataclasses import dataclass

from bombyx.attestation.factors import Factor
from bombyx.errors import EvidenceMalformed, EvidenceTooLarge

REPORT_BYTES = 0x4A0
SIGNED_BYTES = 0x2A0
_VERSIONS = range(2, 6)
_ECDSA_P384_SHA384 = 1
_WITH_CPU = 3
"""From this version on the report names the processor."""
_SCALAR = 72
_RESERVED_AT = SIGNED_BYTES + 2 * _SCALAR


@dataclass(frozen=True, slots=True)
class SnpReport:
    """The fields that somebody judges; TCB versions as their 8 bytes, `cpu` family and model."""

    version: int
    policy: int
    vmpl: int
    platform_info: int
    flags: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    chip_id: bytes
    reported_tcb: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    current_tcb: bytes
    cpu: tuple[int, int] | None
    signed: bytes
    signature: tuple[int, int]

    @property
    def signing_key(self) -> int:
        """0 for a chip's key (VCEK), 1 for a cloud's (VLEK)."""
        return self.flags >> 2 & 7

    @property
    def chip_is_masked(self) -> bool:
        """Whether the chip's id is withheld: then it is zeros."""
        return bool(self.flags >> 1 & 1)


def parse_report(raw: bytes) -> SnpReport:
    """Take a report apart; refuses at `tee_quote_structure`."""
    if len(raw) > REPORT_BYTES:
        raise EvidenceTooLarge(Factor.TEE_QUOTE_STRUCTURE, "the report is longer than 1184 bytes")
    if len(raw) < REPORT_BYTES:
        raise _malformed("it breaks off")
    version = _number(raw, 0x00, 4)
    if version not in _VERSIONS:
        raise _malformed("its version is not 2 to 5")
    if _number(raw, 0x34, 4) != _ECDSA_P384_SHA384:
        raise _malformed("it is not signed by ECDSA P-384 with SHA-384")
    if any(raw[_RESERVED_AT:]):
        raise _malformed("bytes behind its signature are not zero")
    return _fields(raw, version)


def _fields(raw: bytes, version: int) -> SnpReport:
    r_at, s_at = SIGNED_BYTES, SIGNED_BYTES + _SCALAR
    return SnpReport(
        version=version,
        policy=_number(raw, 0x08, 8),
        vmpl=_number(raw, 0x30, 4),
        platform_info=_number(raw, 0x40, 8),
        flags=_number(raw, 0x48, 4),
        report_data=raw[0x50:0x90],
        measurement=raw[0x90:0xC0],
        host_data=raw[0xC0:0xE0],
        id_key_digest=raw[0xE0:0x110],
        author_key_digest=raw[0x110:0x140],
        chip_id=raw[0x1A0:0x1E0],
        reported_tcb=raw[0x180:0x188],
        committed_tcb=raw[0x1E0:0x1E8],
        launch_tcb=raw[0x1F0:0x1F8],
        current_tcb=raw[0x38:0x40],
        cpu=(raw[0x188], raw[0x189]) if version >= _WITH_CPU else None,
        signed=raw[:SIGNED_BYTES],
        signature=(_number(raw, r_at, _SCALAR), _number(raw, s_at, _SCALAR)),
    )


def _number(raw: bytes, at: int, size: int) -> int:
    return int.from_bytes(raw[at : at + size], "little")


def _malformed(why: str) -> EvidenceMalformed:
    return EvidenceMalformed(Factor.TEE_QUOTE_STRUCTURE, f"the report is malformed: {why}")
