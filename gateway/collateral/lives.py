"""Until when a vendor's document may be served: its own word, read from the document (SPEC 17.10).

Never taken from whoever brought it: a file or a database that lies about dates serves nothing
stale. Signatures are not checked here; verifiers check them, and the same dates, themselves.
"""

import base64
import binascii
import warnings
from datetime import UTC, datetime
from functools import singledispatch
from typing import Final

import msgspec
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from bombyx.attestation.certificates import parse_certificate
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.nvidia.revocation import parse_answer
from bombyx.attestation.vendor import (
    AmdAuthority,
    AmdEndorsement,
    NvidiaReference,
    NvidiaStatus,
    VendorDocument,
)
from bombyx.errors import EvidenceRefused

REFERENCE_SECONDS: Final = 7 * 24 * 3600
"""Reference measurements carry no date of their own: they are asked for anew each week."""


class Dated(msgspec.Struct):
    """The dates of signed JSON of Intel's."""

    nextUpdate: datetime  # noqa: N815 - Intel's name


def next_update_of(document: VendorDocument, *, fetched_at: int) -> int:
    """Unix seconds; raises `ValueError` for a document without readable dates."""
    try:
        with warnings.catch_warnings():
            # AMD's certificates have the serial number 0.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return int(_end(document, fetched_at))
    except msgspec.DecodeError as error:
        raise ValueError(f"a vendor's document cannot be read: {error}") from None


@singledispatch
def _end(document: VendorDocument, fetched_at: int) -> float:  # noqa: ARG001
    raise TypeError(f"no life of a {type(document).__name__} is known")


@_end.register
def _(document: Collateral, fetched_at: int) -> float:  # noqa: ARG001
    lists = (document.root_ca_crl, document.pck_crl)
    dates = [_list_end(bytes.fromhex(text)) for text in lists]
    dates += [_json_end(text) for text in (document.tcb_info, document.qe_identity)]
    return min(dates)


@_end.register
def _(document: AmdEndorsement, fetched_at: int) -> float:  # noqa: ARG001
    return parse_certificate(base64.b64decode(document.certificate)).not_after.timestamp()


@_end.register
def _(document: AmdAuthority, fetched_at: int) -> float:  # noqa: ARG001
    chain = x509.load_pem_x509_certificates(document.chain.encode())
    ends = [one.not_valid_after_utc.timestamp() for one in chain]
    return min([_list_end(base64.b64decode(document.crl)), *ends])


@_end.register
def _(document: NvidiaReference, fetched_at: int) -> float:
    if not document.rim.lstrip().startswith("<"):
        raise ValueError("reference measurements are XML")
    return fetched_at + REFERENCE_SECONDS


@_end.register
def _(document: NvidiaStatus, fetched_at: int) -> float:  # noqa: ARG001
    try:
        return parse_answer(base64.b64decode(document.response, validate=True)).until
    except (binascii.Error, EvidenceRefused):
        raise ValueError("the vendor's OCSP service gives no status") from None


def _list_end(der: bytes) -> float:
    end = x509.load_der_x509_crl(der).next_update_utc
    if end is None:
        raise ValueError("a revocation list says nothing of its end")
    return end.timestamp()


def _json_end(text: str) -> float:
    end = msgspec.json.decode(text, type=Dated).nextUpdate
    return end.replace(tzinfo=end.tzinfo or UTC).timestamp()
