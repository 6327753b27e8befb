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
from bombyx.attestation.nvidia.device import split_chain
from bombyx.attestation.nvidia.reference import reference_names
from bombyx.attestation.nvidia.revocation import issuer_hashes, links_of
from bombyx.attestation.nvidia.spdm import parse_report
from bombyx.attestation.pem import split_certificates
from bombyx.attestation.snp.endorsement import KINDS, key_kind
from bombyx.attestation.snp.product import PRODUCTS
from bombyx.attestation.snp.report import REPORT_BYTES
from bombyx.attestation.vendor import (
    VendorDocument,
    authority_name,
    read_document,
    reference_name,
    status_name,
)
from bombyx.errors import EvidenceRefused, NotCanonical

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


def wanted_of_device(report: bytes, chain: bytes) -> tuple[str, ...]:
    """The same for one NVIDIA device: references, then its certificates' standing.

    `chain` in PEM, leaf first. Raises `ValueError` or `EvidenceRefused` for what cannot be read.
    """
    certificates = [parse_certificate(one) for one in split_chain(chain)]
    chip = certificates[1].name if len(certificates) > 1 else ""
    names = [reference_name(one) for one in reference_names(parse_report(report), chip)]
    for child, issuer in links_of(certificates):
        if child.serial > 0:
            names.append(status_name(*issuer_hashes(issuer), child.serial))
    return tuple(names)


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


def _of_gpu(gpu: GpuEvidence) -> tuple[str, ...]:
    return wanted_of_device(_decoded(gpu.report), _decoded(gpu.certificate))
