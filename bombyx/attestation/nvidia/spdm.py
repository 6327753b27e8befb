"""The bytes of an NVIDIA device's evidence: an SPDM exchange (SPEC 17.6). Parses, judges nothing.

A request GET_MEASUREMENTS with the nonce, the answer MEASUREMENTS, and the device's signature over
both. Every length must be exact and no block may come twice.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from bombyx.attestation.factors import Factor
from bombyx.errors import EvidenceMalformed, EvidenceTooLarge

MAX_REPORT_BYTES = 24 * 1024
"""A driver hands out 8 KiB at most; measured ones have 2 to 5 KiB."""
SIGNATURE_BYTES = 96
_VERSION, _REQUEST, _RESPONSE = 0x11, 0xE0, 0x60
_REQUEST_BYTES = 37
_NONCE = slice(4, 36)
_RESPONSE_NONCE_BYTES = 32
_DMTF = 1
_BLOCK = struct.Struct("<BBHBH")
"""Index, specification, size, and of DMTF's form: type and size of the value."""
_BLOCK_HEAD, _VALUE_HEAD = 4, 3
_VBIOS_BYTES = 8
"""A GPU's: the version backwards, then its extension; a switch writes text."""
_DECODER_OFF = b"\x55"
_TLV = struct.Struct("<HH")
_NAMES = {
    3: "driver_version",
    4: "gpu_info",
    5: "sku",
    6: "vbios_version",
    7: "manufacturer_id",
    11: "nvdec0_status",
    14: "board_id",
    15: "chip_sku",
    16: "chip_sku_mod",
    17: "project",
    18: "project_sku",
    19: "project_sku_mod",
    20: "fwid",
    21: "ppcie",
    22: "switch_pdi",
    34: "opaque_version",
    35: "chip_info",
    36: "feature_flag",
}


@dataclass(frozen=True, slots=True)
class SpdmReport:
    """One exchange; measurements by block index, opaque fields by name."""

    nonce: bytes
    measurements: Mapping[int, bytes]
    opaque: Mapping[str, bytes]
    signed: bytes
    signature: tuple[int, int]

    @property
    def driver_version(self) -> str:
        """The driver's version, empty where the device names none (switches)."""
        return self._text("driver_version")

    @property
    def vbios_version(self) -> str:
        """The VBIOS's version as `96.00.9F.00.01`, empty where the device names none."""
        raw = self.opaque.get("vbios_version", b"")
        if len(raw) != _VBIOS_BYTES:
            return self._text("vbios_version")
        return ".".join(f"{part:02X}" for part in (*raw[3::-1], raw[4]))

    @property
    def has_no_decoder(self) -> bool:
        """Whether the first video decoder is off, so that nothing measured it."""
        return self.opaque.get("nvdec0_status") == _DECODER_OFF

    @property
    def board(self) -> tuple[str, str, str]:
        """Project, its SKU and the chip's SKU: what firmware for the board is named by."""
        return self._text("project"), self._text("project_sku"), self._text("chip_sku")

    def _text(self, name: str) -> str:
        return self.opaque.get(name, b"").partition(b"\0")[0].decode("ascii", "replace")


def parse_report(raw: bytes) -> SpdmReport:
    """Take evidence apart; refuses at `nvidia_claims`."""
    if len(raw) > MAX_REPORT_BYTES:
        raise EvidenceTooLarge(Factor.NVIDIA_CLAIMS, "the device's evidence is longer than 24 KiB")
    try:
        return _parse(raw)
    except (struct.error, IndexError):
        raise _malformed("it breaks off") from None


def _parse(raw: bytes) -> SpdmReport:
    at = _REQUEST_BYTES
    if (raw[0], raw[1], raw[at], raw[at + 1]) != (_VERSION, _REQUEST, _VERSION, _RESPONSE):
        raise _malformed("it is no exchange of SPDM 1.1 about measurements")
    count = raw[at + 4]
    size = int.from_bytes(raw[at + 5 : at + 8], "little")
    end = at + 8 + size
    measurements = _blocks(raw, at + 8, end, count)
    opaque_at = end + _RESPONSE_NONCE_BYTES
    (opaque_size,) = struct.unpack_from("<H", raw, opaque_at)
    tail = opaque_at + 2 + opaque_size
    if len(raw) - tail != SIGNATURE_BYTES:
        raise _malformed("its signature does not end where it ends")
    r, s = raw[tail : tail + SIGNATURE_BYTES // 2], raw[tail + SIGNATURE_BYTES // 2 :]
    return SpdmReport(
        nonce=raw[_NONCE],
        measurements=measurements,
        opaque=_opaque(raw, opaque_at + 2, tail),
        signed=raw[:tail],
        signature=(int.from_bytes(r, "big"), int.from_bytes(s, "big")),
    )


def _blocks(raw: bytes, at: int, end: int, count: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for _ in range(count):
        index, form, size, _, value_size = _BLOCK.unpack_from(raw, at)
        start, at = at + _BLOCK_HEAD + _VALUE_HEAD, at + _BLOCK_HEAD + size
        if form != _DMTF or value_size != size - _VALUE_HEAD or index in found or at > end:
            raise _malformed("a measurement is of another form, or comes twice")
        found[index] = raw[start:at]
    if at != end:
        raise _malformed("its measurements do not fill their record")
    return found


def _opaque(raw: bytes, at: int, end: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while at < end:
        kind, size = _TLV.unpack_from(raw, at)
        start, at = at + _TLV.size, at + _TLV.size + size
        name = _NAMES.get(kind, str(kind))
        if name in found or at > end:
            raise _malformed("an opaque field runs over its end, or comes twice")
        found[name] = raw[start:at]
    return found


def _malformed(why: str) -> EvidenceMalformed:
    return EvidenceMalformed(Factor.NVIDIA_CLAIMS, f"the device's evidence is malformed: {why}")
