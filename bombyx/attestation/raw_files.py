"""Evidence as tools write it to files: what is in it, and nothing judged (SPEC 17.4 to 17.6).

Every limit is checked before anything is parsed.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

import msgspec

from bombyx import canonical
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.event_log import parse_event_log
from bombyx.attestation.factors import Factor
from bombyx.attestation.nvidia.device import DeviceEvidence
from bombyx.attestation.pem import split_certificates
from bombyx.attestation.snp.report import REPORT_BYTES
from bombyx.attestation.snp.verify import SnpEvidence
from bombyx.attestation.tdx.verify import TdxEvidence
from bombyx.errors import CollateralMalformed, EvidenceMalformed, EvidenceTooLarge, NotCanonical

MAX_EVIDENCE_BYTES = 1024 * 1024
"""16 devices with their certificates, in base64, have 200 KiB."""
MAX_COLLATERAL_BYTES = 3 * 1024 * 1024
MAX_CERTIFICATE_FILE_BYTES = 64 * 1024
_MOST_CERTIFICATES = 8
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_HEX = re.compile(rb"0x[0-9a-f]+\n?|[0-9a-f]+\n?")
MAX_HEX_BYTES = 64 * 1024
"""Twice a quote of 16 KiB or dstack's attestation with its certificates, and as much to spare."""
_DSTACK_SNP = b"\x00\x03"
"""Version and kind of a dstack attestation, before its parts in SCALE's lengths."""
_SCALE_MODES = 3
Text = Annotated[str, msgspec.Meta(max_length=MAX_EVIDENCE_BYTES)]
T = TypeVar("T")


class _Quoted(msgspec.Struct):
    quote: Text
    event_log: str | list[Any] | msgspec.UnsetType = msgspec.UNSET


class _Attestation(msgspec.Struct):
    attestation: Text


class _Device(msgspec.Struct):
    evidence: Text
    certificate: Text
    arch: Text | msgspec.UnsetType = msgspec.UNSET
    nonce: Text | msgspec.UnsetType = msgspec.UNSET


class _Devices(msgspec.Struct):
    evidence_list: list[_Device]
    nonce: Text
    arch: Text


def read_tdx(data: bytes, collateral: bytes | None) -> TdxEvidence:
    """A quote: its bytes, its hex, or dstack's answer with an event log."""
    events = None
    if data[:1] == b"{":
        quoted = _decode(data, _Quoted)
        quote = _hex(quoted.quote.encode())
        if quoted.event_log is not msgspec.UNSET:
            log = quoted.event_log
            events = parse_event_log(log.encode() if isinstance(log, str) else _encode(log))
    else:
        quote = _hex(data) if _HEX.fullmatch(data, 0, MAX_HEX_BYTES) else data
    return TdxEvidence(quote, None if collateral is None else read_dcap(collateral), events)


def read_dcap(data: bytes) -> Collateral:
    """DCAP's nine texts as a JSON object, in any order and with any spaces between them."""
    factor = Factor.INTEL_PCS_COLLATERAL
    if len(data) > MAX_COLLATERAL_BYTES:
        raise EvidenceTooLarge(factor, "the collateral is longer than 3 MiB")
    try:
        fields = msgspec.json.decode(data, type=dict[str, str])
        return canonical.decode(canonical.encode(fields), Collateral)
    except (msgspec.DecodeError, NotCanonical, UnicodeDecodeError, RecursionError):
        raise CollateralMalformed(factor, "the collateral is not DCAP's") from None


def read_snp(data: bytes, certificates: Iterable[bytes], crl: bytes | None) -> SnpEvidence:
    """A report of 1184 bytes, or dstack's attestation with certificates behind the report."""
    shown = [one for file in certificates for one in read_certificates(file)]
    if data[:1] == b"{":
        data, inside = _dstack_snp(_hex(_decode(data, _Attestation).attestation.encode()))
        shown += [one for one in inside if one not in shown]
    return SnpEvidence(data, tuple(shown), crl)


def _dstack_snp(blob: bytes) -> tuple[bytes, list[bytes]]:
    """Report and certificates; what stands behind them nobody signed."""
    if blob[:2] != _DSTACK_SNP:
        raise _malformed("no attestation of SEV-SNP by dstack")
    report, at = _scale_bytes(blob, 2)
    count, at = _scale(blob, at)
    if len(report) != REPORT_BYTES or count > _MOST_CERTIFICATES:
        raise _malformed("no attestation of SEV-SNP by dstack")
    certificates = []
    for _ in range(count):
        pem, at = _scale_bytes(blob, at)
        certificates += _canonical_pem(pem)
    return report, certificates


def _scale_bytes(blob: bytes, at: int) -> tuple[bytes, int]:
    size, start = _scale(blob, at)
    if start + size > len(blob):
        raise _malformed("it breaks off")
    return blob[start : start + size], start + size


def _scale(blob: bytes, at: int) -> tuple[int, int]:
    """A number in SCALE's compact form, and what is behind it."""
    mode = blob[at] & 3 if at < len(blob) else _SCALE_MODES
    if mode == _SCALE_MODES or at + (1 << mode) > len(blob):
        raise _malformed("it breaks off")
    end = at + (1 << mode)
    return int.from_bytes(blob[at:end], "little") >> 2, end


def read_nvidia(data: bytes, nonce: bytes | None) -> list[DeviceEvidence]:
    """Devices as NVIDIA's tools list them; a nonce given by the caller counts for all of them."""
    if data[:1] == b"[":
        devices = _decode(data, list[_Device])
    else:
        listed = _decode(data, _Devices)
        devices = [
            _Device(one.evidence, one.certificate, listed.arch, listed.nonce)
            for one in listed.evidence_list
        ]
    return [_device(one, nonce) for one in devices]


def _device(one: _Device, nonce: bytes | None) -> DeviceEvidence:
    if one.arch is msgspec.UNSET:
        raise _malformed("a device has no architecture")
    if nonce is None and one.nonce is msgspec.UNSET:
        raise _malformed("a device has no nonce")
    return DeviceEvidence(
        architecture=str(one.arch),
        report=_base64(one.evidence),
        chain=_base64(one.certificate),
        nonce=nonce if nonce is not None else _hex(str(one.nonce).encode()),
    )


def read_certificates(data: bytes) -> list[bytes]:
    """The certificates of a file in DER: one in DER itself, or some in PEM with text between."""
    if len(data) > MAX_CERTIFICATE_FILE_BYTES:
        raise EvidenceTooLarge(Factor.TEE_CERT_CHAIN, "a file of certificates exceeds 64 KiB")
    if _BEGIN not in data:
        return [data]
    texts = [part.partition(_END)[0] for part in data.split(_BEGIN)[1:]]
    try:
        return [base64.b64decode(b"".join(text.split()), validate=True) for text in texts]
    except binascii.Error:
        raise EvidenceMalformed(Factor.TEE_CERT_CHAIN, "a certificate is no base64") from None


def _canonical_pem(pem: bytes) -> list[bytes]:
    try:
        return split_certificates(pem)
    except ValueError as error:
        raise _malformed(f"a certificate in it: {error}") from None


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _malformed("it is no JSON of a known form") from None


def _encode(log: list[Any]) -> bytes:
    return json.dumps(log).encode()


def _hex(data: bytes) -> bytes:
    if len(data) > MAX_HEX_BYTES:
        raise EvidenceTooLarge(Factor.RESPONSE_SCHEMA, "hex in the file is longer than 64 KiB")
    digits = data.removesuffix(b"\n").removeprefix(b"0x")
    if not digits or len(digits) % 2 or not _HEX.fullmatch(data):
        raise _malformed("it holds what is no hex")
    return bytes.fromhex(digits.decode())


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise _malformed("it holds what is no canonical base64")
    return raw


def _malformed(why: str) -> EvidenceMalformed:
    return EvidenceMalformed(Factor.RESPONSE_SCHEMA, f"the file is malformed: {why}")
