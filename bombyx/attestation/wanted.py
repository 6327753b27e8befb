"""What a vendor says that bears on evidence and is not in it: documents by name (SPEC 17.10).

A worker cannot bind them: revocation lists and references are published when it runs already. Who
lists a worker finds them, who verifies it takes them if they are at hand. Nothing is judged here:
evidence that cannot be read wants nothing.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping

from bombyx.attestation.certificates import parse_certificate
from bombyx.attestation.evidence import Evidence, GpuEvidence
from bombyx.attestation.nvidia.spdm import parse_report
from bombyx.attestation.pem import split_certificates
from bombyx.attestation.snp.endorsement import KINDS, key_kind
from bombyx.attestation.snp.product import PRODUCTS
from bombyx.attestation.snp.report import REPORT_BYTES
from bombyx.attestation.vendor import (
    NvidiaReference,
    VendorDocument,
    authority_name,
    kind_of,
    read_document,
)
from bombyx.errors import EvidenceRefused, NotCanonical

_HOPPER = "GH100"
"""The chip whose references have a name that is known."""
VendorDocuments = Mapping[str, VendorDocument]


def wanted_documents(evidence: Evidence) -> tuple[str, ...]:
    """Names of documents that can be asked for, in their order, each once."""
    found: dict[str, None] = {}
    try:
        if evidence.platform == "sev-snp":
            found |= dict.fromkeys(_of_snp(_decoded(evidence.quote)))
        for gpu in evidence.gpus:
            found |= dict.fromkeys(_of_gpu(gpu))
    except (ValueError, binascii.Error, EvidenceRefused):
        return ()
    return tuple(found)


def read_documents(texts: Mapping[str, str]) -> dict[str, VendorDocument]:
    """Documents by name out of canonical JSON, without those that are none."""
    found: dict[str, VendorDocument] = {}
    for name, text in texts.items():
        try:
            found[name] = read_document(name, text.encode())
        except (NotCanonical, ValueError):
            continue
    return found


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _of_snp(quote: bytes) -> Iterator[str]:
    for der in split_certificates(quote[REPORT_BYTES:]):
        one = parse_certificate(der)
        product = one.issuer_name.rpartition("-")[2].lower()
        if one.name in KINDS and product in PRODUCTS:
            yield authority_name(product, key_kind(one))


def _of_gpu(gpu: GpuEvidence) -> Iterator[str]:
    report = parse_report(_decoded(gpu.report))
    _, own, *_ = split_certificates(_decoded(gpu.certificate))
    name = f"nvidia/rim/NV_GPU_DRIVER_{_HOPPER}_{report.driver_version}"
    if parse_certificate(own).name.startswith(_HOPPER) and kind_of(name) is NvidiaReference:
        yield name
