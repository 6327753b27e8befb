"""The bytes of a TDX quote, version 4 or 5 (SPEC 17). Parses and judges nothing.

Every length must be exact: the quoting enclave signs header and body only, and a parser that
skips bytes accepts many quotes for one.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

from bombyx.attestation.pem import split_certificates
from bombyx.attestation.steps import StepName
from bombyx.errors import EvidenceMalformed, EvidenceTooLarge

MAX_QUOTE_BYTES = 16 * 1024
HEADER_BYTES = 48
BODY_BYTES = 584
_VERSIONS = (4, 5)
_ECDSA_P256 = 2
_TDX = 0x81
_QE_REPORT_DATA = 6
_PEM_CHAIN = 5
_CHAIN_CERTIFICATES = 3
"""PCK, intermediate CA, root."""
_HEADER = struct.Struct("<HHI20x20s")
_BODY_HEAD = struct.Struct("<HI")
"""Version 5 names the kind and length of its body."""
_BODIES = {2: BODY_BYTES, 3: BODY_BYTES + 64}
"""TD report 1.0, and 1.5 with a second TCB version and the service TD's measurement."""
_SIGNATURE_HEAD = struct.Struct("<I64s64sHI")
"""Length of the rest, signature, key, kind and length of the certification data."""
_QE_REPORT_AND_SIGNATURE = 384 + 64

# The body's fields as offsets, each up to the next one (Intel TDX DCAP, TD report 1.0).
_TCB_SVN, _SEAM, _ATTRIBUTES, _XFAM, _MR_TD, _CONFIG = 0, 16, 120, 128, 136, 184
_RTMRS, _REPORT_DATA = 328, 520
_RTMR_BYTES, _MRSEAM_BYTES = 48, 48
_SERVICE_TD = BODY_BYTES + 16


@dataclass(frozen=True, slots=True)
class TdxQuote:
    """The fields of a quote that somebody judges; `chain` is DER, leaf first.

    `seam` is MRSEAM, its signer and attributes (104 bytes), `mr_config` is MRCONFIGID, MROWNER
    and MROWNERCONFIG (144 bytes). `signed` is what the quote's signature covers: its identity.
    """

    version: int
    user_data: bytes
    tee_tcb_svn: bytes
    seam: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config: bytes
    rtmrs: tuple[bytes, ...]
    report_data: bytes
    mr_service_td: bytes
    attestation_key: bytes
    chain: tuple[bytes, ...]
    signed: bytes

    @property
    def mr_seam(self) -> bytes:
        """The TDX module's measurement."""
        return self.seam[:_MRSEAM_BYTES]


def parse_quote(raw: bytes) -> TdxQuote:
    """Take a quote apart; raises `EvidenceRefused` at `quote_structure`."""
    if len(raw) > MAX_QUOTE_BYTES:
        raise EvidenceTooLarge(StepName.QUOTE_STRUCTURE, "the quote is longer than 16 KiB")
    try:
        return _parse(raw)
    except struct.error:
        raise _malformed("it breaks off") from None


def _parse(raw: bytes) -> TdxQuote:
    version, key_type, tee, user_data = _HEADER.unpack_from(raw)
    if version not in _VERSIONS or (key_type, tee) != (_ECDSA_P256, _TDX):
        raise _malformed("it is no TDX quote of version 4 or 5 with an ECDSA P-256 key")
    body_at, body_size = _body_place(raw, version)
    end = body_at + body_size
    body = raw[body_at:end]
    key, chain = read_signature_data(raw, end)
    rtmrs = range(_RTMRS, _REPORT_DATA + 1, _RTMR_BYTES)
    return TdxQuote(
        version=version,
        user_data=user_data,
        tee_tcb_svn=body[_TCB_SVN:_SEAM],
        seam=body[_SEAM:_ATTRIBUTES],
        td_attributes=body[_ATTRIBUTES:_XFAM],
        xfam=body[_XFAM:_MR_TD],
        mr_td=body[_MR_TD:_CONFIG],
        mr_config=body[_CONFIG:_RTMRS],
        rtmrs=tuple(body[start:stop] for start, stop in pairwise(rtmrs)),
        report_data=body[_REPORT_DATA:BODY_BYTES],
        mr_service_td=body[_SERVICE_TD:],
        attestation_key=key,
        chain=chain,
        signed=raw[:end],
    )


def _body_place(raw: bytes, version: int) -> tuple[int, int]:
    """Where the body starts, and its length."""
    if version == _VERSIONS[0]:
        return HEADER_BYTES, BODY_BYTES
    kind, size = _BODY_HEAD.unpack_from(raw, HEADER_BYTES)
    if _BODIES.get(kind) != size:
        raise _malformed("its body is no TD report 1.0 or 1.5")
    return HEADER_BYTES + _BODY_HEAD.size, size


def read_signature_data(raw: bytes, at: int) -> tuple[bytes, tuple[bytes, ...]]:
    """The attestation key and certificates out of the signature data at an offset."""
    length, _, key, kind, inner_length = _SIGNATURE_HEAD.unpack_from(raw, at)
    inner_at = at + _SIGNATURE_HEAD.size
    if kind != _QE_REPORT_DATA or inner_at + inner_length != len(raw):
        raise _malformed("its certification data does not end where the quote ends")
    if at + 4 + length != len(raw):
        raise _malformed("its signature data does not end where the quote ends")
    return key, read_certification(raw, inner_at)


def read_certification(raw: bytes, at: int) -> tuple[bytes, ...]:
    """The certificates behind the quoting enclave's report, signature and data at an offset."""
    auth_at = at + _QE_REPORT_AND_SIGNATURE
    (auth_length,) = struct.unpack_from("<H", raw, auth_at)
    chain_at = auth_at + 2 + auth_length
    kind, chain_length = struct.unpack_from("<HI", raw, chain_at)
    if kind != _PEM_CHAIN or chain_at + 6 + chain_length != len(raw):
        raise _malformed("its certificates do not end where the quote ends")
    return _certificates(raw[chain_at + 6 :])


def _certificates(pem: bytes) -> tuple[bytes, ...]:
    try:
        # Intel's quoting enclave ends the text with a NUL of C, which is no part of it.
        chain = tuple(split_certificates(pem.removesuffix(b"\0")))
    except ValueError as error:
        raise _malformed(f"its certificates are not canonical: {error}") from None
    if len(chain) != _CHAIN_CERTIFICATES:
        raise _malformed("its chain does not have exactly three certificates")
    return chain


def _malformed(why: str) -> EvidenceMalformed:
    return EvidenceMalformed(StepName.QUOTE_STRUCTURE, f"the quote is malformed: {why}")
