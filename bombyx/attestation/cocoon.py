"""Cocoon's names for images and models, so that its lists can be read (SPEC 17.9)."""

import hashlib
import re

from bombyx.attestation.snp.report import SnpReport
from bombyx.attestation.tdx_quote import TdxQuote

_NO_REPORT_DATA = bytes(64)
_PLACE = re.compile(r"[A-Za-z0-9._/-]{1,200}@[0-9a-f]{7,64}")
_ROOT = re.compile(r"[0-9a-f]{64}")


def image_hash(quote: TdxQuote) -> bytes:
    """32 bytes over everything that TDX measures: firmware, configuration, boot, runtime."""
    parts = (quote.mr_td, quote.mr_config, *quote.rtmrs, _NO_REPORT_DATA)
    return hashlib.sha256(b"".join(parts)).digest()


def snp_image_hash(report: SnpReport) -> bytes:
    """32 bytes over SEV-SNP's launch measurement."""
    return hashlib.sha256(report.measurement + _NO_REPORT_DATA).digest()


def model_hash(place: str, verity_root: str) -> bytes:
    """32 bytes of a model by where it is from (`name@commit`) and its dm-verity root in hex.

    Raises `ValueError` for anything else, since `:` separates the two.
    """
    if not _PLACE.fullmatch(place) or not _ROOT.fullmatch(verity_root):
        raise ValueError("a model is named by name@commit, and by 32 bytes in hex")
    return hashlib.sha256(f"{place}:{verity_root}".encode()).digest()
