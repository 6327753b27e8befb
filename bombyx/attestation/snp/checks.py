"""The checks behind a report's factors: one each, refusing with a sentence (SPEC 17.5)."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bombyx.attestation import der
from bombyx.attestation.checklist import Checklist
from bombyx.attestation.factors import Factor
from bombyx.attestation.listing import check_listed
from bombyx.attestation.platform_rules import SnpPolicy
from bombyx.attestation.snp.chain import endorsed_key
from bombyx.attestation.snp.endorsement import BLAME, HW_ID, TCB_OIDS, Endorsement
from bombyx.attestation.snp.product import Product, product_of_cpu
from bombyx.attestation.snp.report import SnpReport
from bombyx.errors import (
    AttributesRefused,
    BrokenChain,
    DebugEnabled,
    ForgedEvidence,
    PlatformNotListed,
    TcbRefused,
    WrongGeneration,
)

_MIGRATION, _DEBUG = 1 << 18, 1 << 19
"""Bits of the guest policy (AMD's SEV-SNP ABI)."""
_OCTETS_OF_64 = b"\x04\x40"
"""Some certificates wrap the chip's id once more."""


def check_signature(report: SnpReport, endorsement: Endorsement) -> None:
    """The endorsed key signed the report."""
    try:
        signature = encode_dss_signature(*report.signature)
        endorsed_key(endorsement).verify(signature, report.signed, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, ValueError):
        raise ForgedEvidence(
            Factor.TEE_QUOTE_SIGNATURE, "the report is not signed by the endorsed key"
        ) from None


def check_chip(report: SnpReport, endorsement: Endorsement) -> None:
    """A chip's key is that of the chip that the report names; a cloud's has no chip."""
    if report.signing_key != 0:
        return
    stated = endorsement.extensions.get(HW_ID, b"")
    chip = stated.removeprefix(_OCTETS_OF_64) if len(stated) > len(report.chip_id) else stated
    if not chip:
        raise BLAME.is_broken("it names no chip")
    if report.chip_is_masked:
        return
    if report.chip_id != chip.ljust(len(report.chip_id), b"\0"):
        raise BrokenChain(Factor.TEE_CERT_CHAIN, "AMD's certificate is for another chip")


def check_certified_tcb(
    report: SnpReport, endorsement: Endorsement, product: Product
) -> dict[str, int]:
    """The patch level that the report states is the one that its key was certified for."""
    tcb = product.tcb(report.reported_tcb)
    for part, value in tcb.items():
        try:
            certified = der.small_integer(endorsement.extensions.get(TCB_OIDS[part], b""))
        except ValueError:
            raise BLAME.is_broken(f"it names no patch level of {part}") from None
        if certified != value:
            raise TcbRefused(
                Factor.TEE_TCB_CURRENT,
                f"the report states {part} {value}, its key is certified for {certified}",
            )
    return tcb


def check_guest(report: SnpReport, policy: SnpPolicy, checklist: Checklist) -> None:
    """Nobody debugs or migrates the guest; its settings and the platform's are as wanted."""
    if report.policy & _DEBUG:
        raise DebugEnabled(Factor.TEE_DEBUG_DISABLED, "the guest's policy allows a debugger")
    checklist.holds(Factor.TEE_DEBUG_DISABLED, "the guest's policy allows no debugger")
    factor = Factor.TEE_ATTRIBUTES
    if report.policy & _MIGRATION:
        raise AttributesRefused(factor, "the guest may be migrated by an agent of its host")
    if report.vmpl > policy.max_vmpl:
        raise AttributesRefused(factor, f"the report is from privilege level {report.vmpl}")
    for what, value, wanted in (
        ("guest policy", report.policy, policy.guest_policy),
        ("platform", report.platform_info, policy.platform_info),
    ):
        lacking = wanted & ~value
        if lacking:
            raise AttributesRefused(factor, f"the {what} lacks the bits {lacking:#x}")
    checklist.holds(factor, f"no migration, privilege level {report.vmpl}, all wanted bits set")


def check_generation(
    report: SnpReport, product: Product, policy: SnpPolicy, checklist: Checklist
) -> None:
    """The processor is of the generation that its certificate says, and that one is allowed."""
    factor = Factor.TEE_PLATFORM_ALLOWED
    if report.cpu is not None and not _is_of(report.cpu, product):
        family, model = report.cpu
        raise WrongGeneration(
            factor, f"the processor (family {family:#x}, model {model:#x}) is no {product.name}"
        )
    if product.name not in policy.generations:
        raise WrongGeneration(factor, f"the policy does not allow the generation {product.name}")
    kind = ("vcek", "vlek")[report.signing_key]
    if kind not in policy.signing_keys:
        raise WrongGeneration(factor, f"the policy does not allow keys of the kind {kind}")
    checklist.holds(factor, f"{product.name}, which the policy allows")


def _is_of(cpu: tuple[int, int], product: Product) -> bool:
    stated = product_of_cpu(*cpu)
    return stated is not None and stated.name == product.name


def check_floor(tcb: dict[str, int], policy: SnpPolicy, checklist: Checklist) -> None:
    """No part of the patch level is below the policy's least."""
    for part, least in policy.min_tcb:
        if tcb.get(part, -1) < least:
            raise TcbRefused(
                Factor.TEE_TCB_CURRENT, f"{part} is {tcb.get(part)}, the policy wants {least}"
            )
    stated = ", ".join(f"{part} {value}" for part, value in tcb.items())
    floor = "not below the policy's floor" if policy.min_tcb else "the policy names no floor"
    checklist.holds(Factor.TEE_TCB_CURRENT, f"{stated}, as AMD certified; {floor}")


def check_lists(report: SnpReport, policy: SnpPolicy, checklist: Checklist) -> None:
    """What runs, and on which chip."""
    images = {"measurement": (report.measurement.hex(), policy.measurements)}
    check_listed(checklist, Factor.TEE_MEASUREMENT, images)
    host = {
        "host data": (report.host_data.hex(), policy.host_data),
        "id key": (report.id_key_digest.hex(), policy.id_keys),
    }
    check_listed(checklist, Factor.TEE_BOOT_CONFIG, host)
    chips = {"chip": (report.chip_id.hex(), policy.platforms)}
    check_listed(checklist, Factor.CPU_ID_REGISTRY, chips, refusal=PlatformNotListed)
