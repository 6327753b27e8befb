"""The bytes of a TDX quote, version 4 (SPEC 17). Parses and judges nothing.

Every length must be exact: the quoting enclave signs header and body only, and a parser that
skips bytes accepts many quotes for one.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

from bombyx.attestation.pem import split_certificates
from bombyx.attestation.steps import StepName
from bombyx.errors import EvidenceRefused

MAX_QUOTE_BYTES = 16 * 1024
HEADER_BYTES = 48
BODY_BYTES = 584
_VERSION = 4
_ECDSA_P256 = 2
_TDX = 0x81
_QE_REPORT_DATA = 6
_PEM_CHAIN = 5
_CHAIN_CERTIFICATES = 3
"""PCK, intermediate CA, root."""
_HEADER = struct.Struct("<HHI20x20s")
_TAIL_AT = HEADER_BYTES + BODY_BYTES
_SIGNATURE_HEAD = struct.Struct("<I128xHI")
"""Length of the rest, signature and key (64 each), kind and length of the certification data."""
_QE_REPORT_AND_SIGNATURE = 384 + 64

# The body's fields as offsets, each up to the next one (Intel TDX DCAP, TD report 1.0).
_SEAM, _ATTRIBUTES, _XFAM, _MR_TD, _CONFIG = 16, 120, 128, 136, 184
_RTMRS, _REPORT_DATA = 328, 520
_RTMR_BYTES = 48


@dataclass(frozen=True, slots=True)
class TdxQuote:
    """The fields of a quote that somebody judges; `chain` is DER, leaf first."""

    user_data: bytes
    seam: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config: bytes
    rtmrs: tuple[bytes, ...]
    report_data: bytes
    chain: tuple[bytes, ...]


def parse_quote(raw: bytes) -> TdxQuote:
    """Take a quote apart; raises `EvidenceRefused` at `quote_structure`.

    `seam` is MRSEAM, its signer and attributes (104 bytes), `mr_config` is MRCONFIGID, MROWNER
    and MROWNERCONFIG (144 bytes).
    """
    if len(raw) > MAX_QUOTE_BYTES:
        raise _refused("it is longer than 16 KiB")
    try:
        return _parse(raw)
    except struct.error:
        raise _refused("it breaks off") from None


def _parse(raw: bytes) -> TdxQuote:
    version, key_type, tee, user_data = _HEADER.unpack_from(raw)
    if (version, key_type, tee) != (_VERSION, _ECDSA_P256, _TDX):
        raise _refused("it is no TDX quote of version 4 with an ECDSA P-256 key")
    body = raw[HEADER_BYTES:_TAIL_AT]
    chain = _chain(raw)
    rtmrs = range(_RTMRS, _REPORT_DATA + 1, _RTMR_BYTES)
    return TdxQuote(
        user_data=user_data,
        seam=body[_SEAM:_ATTRIBUTES],
        td_attributes=body[_ATTRIBUTES:_XFAM],
        xfam=body[_XFAM:_MR_TD],
        mr_td=body[_MR_TD:_CONFIG],
        mr_config=body[_CONFIG:_RTMRS],
        rtmrs=tuple(body[start:end] for start, end in pairwise(rtmrs)),
        report_data=body[_REPORT_DATA:],
        chain=chain,
    )


def _chain(raw: bytes) -> tuple[bytes, ...]:
    length, kind, inner_length = _SIGNATURE_HEAD.unpack_from(raw, _TAIL_AT)
    inner_at = _TAIL_AT + _SIGNATURE_HEAD.size
    if kind != _QE_REPORT_DATA or inner_at + inner_length != len(raw):
        raise _refused("its certification data does not end where the quote ends")
    if _TAIL_AT + 4 + length != len(raw):
        raise _refused("its signature data does not end where the quote ends")
    auth_at = inner_at + _QE_REPORT_AND_SIGNATURE
    (auth_length,) = struct.unpack_from("<H", raw, auth_at)
    chain_at = auth_at + 2 + auth_length
    kind, chain_length = struct.unpack_from("<HI", raw, chain_at)
    if kind != _PEM_CHAIN or chain_at + 6 + chain_length != len(raw):
        raise _refused("its certificates do not end where the quote ends")
    return _certificates(raw[chain_at + 6 :])


def _certificates(pem: bytes) -> tuple[bytes, ...]:
    try:
        # Intel's quoting enclave ends the text with a NUL of C, which is no part of it.
        chain = tuple(split_certificates(pem.removesuffix(b"\0")))
    except ValueError as error:
        raise _refused(f"its certificates are not canonical: {error}") from None
    if len(chain) != _CHAIN_CERTIFICATES:
        raise _refused("its chain does not have exactly three certificates")
    return chain


def _refused(why: str) -> EvidenceRefused:
    return EvidenceRefused(StepName.QUOTE_STRUCTURE, f"the quote is malformed: {why}")
