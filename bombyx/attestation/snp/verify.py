"""Whether an SEV-SNP report is authentic, and allowed by a policy (SPEC 17.5).

Pure: AMD's authorities are built in, the clock is an argument, and nothing is fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bombyx.attestation.checklist import Checklist
from bombyx.attestation.cocoon import snp_image_hash
from bombyx.attestation.factors import Factor
from bombyx.attestation.nonce import check_report_data
from bombyx.attestation.platform_rules import SnpPolicy
from bombyx.attestation.snp import checks
from bombyx.attestation.snp.chain import authenticate, authority_serial, check_revocation
from bombyx.attestation.snp.endorsement import Endorsement, key_kind
from bombyx.attestation.snp.product import PRODUCTS, Product
from bombyx.attestation.snp.report import SnpReport, parse_report
from bombyx.attestation.vendor import authority_name
from bombyx.errors import RevocationUnknown


@dataclass(frozen=True, slots=True)
class SnpEvidence:
    """A report, the certificates shown with it (DER, any order), and AMD's revocation list.

    `lists` holds such lists by the name of their document (SPEC 17.10), for who does not know yet
    which authority the key has.
    """

    report: bytes
    certificates: tuple[bytes, ...]
    crl: bytes | None = None
    lists: Mapping[str, bytes] = field(default_factory=dict)

    def list_of(self, product: str, kind: str) -> bytes | None:
        """The revocation list above keys of a kind (`vcek`, `vlek`), if it is at hand."""
        return self.crl or self.lists.get(authority_name(product, kind))


@dataclass(frozen=True, slots=True)
class SnpProof:
    """What follows from a report that passes; `expires_at` in unix seconds."""

    report: SnpReport
    generation: str
    expires_at: int


def verify_snp(
    evidence: SnpEvidence,
    *,
    policy: SnpPolicy,
    now: int,
    report_data: bytes | None,
    checklist: Checklist,
    products: Mapping[str, Product] = PRODUCTS,
) -> SnpProof:
    """The argument, in order; raises `EvidenceRefused` at the factor that does not hold.

    1. The bytes are a report, signed by a key for which AMD's pinned root vouches, for this chip
       and this patch level, and which AMD has not revoked as far as can be told.
    2. Nobody debugs or migrates the guest, and its generation is allowed.
    3. It was made for this report data, runs a listed image, on a listed machine.
    """
    # 1
    report = parse_report(evidence.report)
    checklist.holds(Factor.TEE_QUOTE_PRESENT, f"a report of {len(evidence.report)} bytes")
    checklist.holds(Factor.TEE_QUOTE_STRUCTURE, f"an SEV-SNP report of version {report.version}")
    endorsement, product = authenticate(evidence.certificates, report, products=products, now=now)
    checklist.holds(Factor.TEE_CERT_CHAIN, f"{endorsement.name} under AMD's root, {product.name}")
    checks.check_signature(report, endorsement)
    checklist.holds(Factor.TEE_QUOTE_SIGNATURE, "signed by the endorsed key")
    checks.check_chip(report, endorsement)
    checklist.claims.update(_claims(report, product, endorsement))
    tcb = checks.check_certified_tcb(report, endorsement, product)
    expires_at = _revocation(evidence, endorsement, product, policy, now, checklist)
    # 2
    checks.check_guest(report, policy, checklist)
    checks.check_generation(report, product, policy, checklist)
    checks.check_floor(tcb, policy, checklist)
    # 3
    check_report_data(report.report_data, report_data, checklist)
    checks.check_lists(report, policy, checklist)
    return SnpProof(report, product.name, expires_at)


def _revocation(
    evidence: SnpEvidence,
    endorsement: Endorsement,
    product: Product,
    policy: SnpPolicy,
    now: int,
    checklist: Checklist,
) -> int:
    """Unix seconds until which the argument holds."""
    asked = authority_serial(endorsement, product)
    crl = evidence.list_of(product.name, key_kind(endorsement))
    until = check_revocation(crl, product, asked=asked, now=now)
    end = int(endorsement.not_after.timestamp())
    if until is not None:
        checklist.holds(Factor.VENDOR_COLLATERAL, "AMD's revocation list, signed and current")
        checklist.holds(Factor.TEE_TCB_NOT_REVOKED, "AMD's list does not name the key's authority")
        return min(end, until)
    if policy.require_revocation:
        raise RevocationUnknown(Factor.TEE_TCB_NOT_REVOKED, "AMD's revocation list is not at hand")
    return end


def _claims(report: SnpReport, product: Product, endorsement: Endorsement) -> dict[str, Any]:
    return {
        "platform": "sev-snp",
        "generation": product.name,
        "version": report.version,
        "signing_key": key_kind(endorsement),
        "measurement": report.measurement.hex(),
        "report_data": report.report_data.hex(),
        "host_data": report.host_data.hex(),
        "id_key_digest": report.id_key_digest.hex(),
        "author_key_digest": report.author_key_digest.hex(),
        "guest_policy": f"{report.policy:#x}",
        "platform_info": f"{report.platform_info:#x}",
        "vmpl": report.vmpl,
        "tcb": {
            "reported": product.tcb(report.reported_tcb),
            "committed": product.tcb(report.committed_tcb),
            "launch": product.tcb(report.launch_tcb),
        },
        "chip_id": "" if report.chip_is_masked else report.chip_id.hex(),
        "image_hash": snp_image_hash(report).hex(),
    }
