"""SEV-SNP reports of every generation, each with one thing wrong, under authorities of our own."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bombyx.attestation.checklist import Verdict, judge
from bombyx.attestation.factors import Factor
from bombyx.attestation.platform_rules import SnpPolicy
from bombyx.attestation.snp.product import PRODUCTS, product_of_cpu
from bombyx.attestation.snp.verify import SnpEvidence, SnpProof, verify_snp
from bombyx.attestation.steps import Result
from tests.bombyx.attestation.amd import CHIP, NOW, OURS, TCB, Machine, build, crl, rsa_key
from tests.bombyx.attestation.tee import code

EVERYTHING = SnpPolicy(generations=("milan", "genoa", "turin"))
VLEK = 1 << 2
MASKED = 1 << 1


def examine(
    machine: Machine,
    rules: SnpPolicy = EVERYTHING,
    *,
    more: tuple[bytes, ...] = (),
    revoked: bytes | None = None,
    report_data: bytes | None = None,
    now: int = NOW,
) -> Verdict:
    report, certificate = machine.shown()
    evidence = SnpEvidence(report, (certificate, *more), revoked)
    return judge(
        lambda checklist: verify_snp(
            evidence,
            policy=rules,
            now=now,
            report_data=report_data,
            checklist=checklist,
            products=OURS,
        )
    )


def rules(**changes: Any) -> SnpPolicy:
    return replace(EVERYTHING, **changes)


@pytest.mark.spec("17.5-a")
@pytest.mark.parametrize("generation", PRODUCTS)
@pytest.mark.parametrize("flags", [0, VLEK, MASKED])
def test_an_honest_machine_of_each_generation_and_key_passes(generation: str, flags: int) -> None:
    verdict = examine(Machine(generation=generation, flags=flags))
    assert code(verdict) == ""
    assert verdict.claims["generation"] == generation
    assert verdict.claims["signing_key"] == ("vlek" if flags & VLEK else "vcek")
    assert verdict.claims["chip_id"] == ("" if flags & MASKED else CHIP.hex())
    assert "fmc" in verdict.claims["tcb"]["reported"] or generation != "turin"


@pytest.mark.spec("17.5-b")
def test_milan_passes_only_by_name() -> None:
    assert code(examine(Machine(generation="milan"), SnpPolicy())) == "platform_generation"
    assert code(examine(Machine(generation="genoa"), SnpPolicy())) == ""


def test_a_report_that_names_no_processor_is_of_its_certificates_generation() -> None:
    verdict = examine(Machine(generation="milan", version=2))
    assert (code(verdict), verdict.claims["generation"]) == ("", "milan")


OTHER_KEY = ec.generate_private_key(ec.SECP384R1())
FAULTS: list[tuple[str, Machine, SnpPolicy, str]] = [
    ("another family", Machine(cpu=(0x17, 1)), EVERYTHING, "platform_generation"),
    ("another generation", Machine(cpu=(0x1A, 2)), EVERYTHING, "platform_generation"),
    ("no cloud's keys", Machine(flags=VLEK), rules(signing_keys=("vcek",)), "platform_generation"),
    ("debug", Machine(policy=0x80000), EVERYTHING, "evidence_debug"),
    ("migration", Machine(policy=0x40000), EVERYTHING, "evidence_attributes"),
    ("privilege", Machine(vmpl=1), EVERYTHING, "evidence_attributes"),
    ("guest bits", Machine(), rules(guest_policy=1 << 25), "evidence_attributes"),
    ("platform bits", Machine(), rules(platform_info=1 << 4), "evidence_attributes"),
    ("floor", Machine(), rules(min_tcb=(("snp", 23),)), "tcb_refused"),
    ("a floor of another generation", Machine(), rules(min_tcb=(("fmc", 1),)), "tcb_refused"),
    ("certified for less", Machine(certified={"snp": b"\2\1\x05"}), EVERYTHING, "tcb_refused"),
    ("certified oddly", Machine(certified={"snp": b"\2\2\0\5"}), EVERYTHING, "evidence_chain"),
    ("certified for nothing", Machine(certified={"snp": b""}), EVERYTHING, "evidence_chain"),
    ("another chip", Machine(hw_id=bytes(64)), EVERYTHING, "evidence_chain"),
    ("no chip", Machine(hw_id=None), EVERYTHING, "evidence_chain"),
    ("another key", Machine(certificate_key=OTHER_KEY), EVERYTHING, "evidence_forged"),
    ("another curve", Machine(curve=ec.SECP256R1()), EVERYTHING, "evidence_chain"),
    ("no curve", Machine(certificate_key=rsa_key("x")), EVERYTHING, "evidence_chain"),
    ("a name of nobody", Machine(common_name="SEV-XXXX"), EVERYTHING, "evidence_chain"),
    ("a cloud's name", Machine(common_name="SEV-VLEK"), EVERYTHING, "evidence_chain"),
    ("version 1", Machine(version=1), EVERYTHING, "evidence_malformed"),
    ("version 6", Machine(version=6), EVERYTHING, "evidence_malformed"),
    ("no image", Machine(), rules(measurements=()), "measurement_refused"),
    ("another image", Machine(), rules(measurements=("22" * 48,)), "measurement_refused"),
    ("other host data", Machine(host_data=b"h" * 32), rules(host_data=("00" * 32,)),
     "measurement_refused"),
    ("another id key", Machine(), rules(id_keys=()), "measurement_refused"),
    ("another machine", Machine(), rules(platforms=()), "platform_not_listed"),
    ("revocation wanted", Machine(), rules(require_revocation=True), "revocation_unknown"),
]  # fmt: skip


@pytest.mark.spec("17.5-a")
@pytest.mark.parametrize(
    ("machine", "policy", "refused"),
    [fault[1:] for fault in FAULTS],
    ids=[fault[0] for fault in FAULTS],
)
def test_each_fault_has_its_code(machine: Machine, policy: SnpPolicy, refused: str) -> None:
    assert code(examine(machine, policy)) == refused


def test_a_chip_id_wrapped_once_more_is_the_same_chip() -> None:
    assert code(examine(Machine(hw_id=b"\x04\x40" + CHIP))) == ""


def test_a_short_chip_id_fills_up_with_zeros() -> None:
    assert (
        code(examine(Machine(generation="turin", hw_id=CHIP[:8], chip=CHIP[:8] + bytes(56)))) == ""
    )
    assert code(examine(Machine(generation="turin", hw_id=CHIP[:8]))) == "evidence_chain"


def test_lists_that_hold_the_machine_pass_and_say_so() -> None:
    machine = Machine(report_data=b"r" * 64)
    listed = rules(
        measurements=(machine.measurement.hex(),),
        host_data=("00" * 32,),
        id_keys=("00" * 48,),
        platforms=(CHIP.hex(),),
        min_tcb=tuple((part, TCB[part]) for part in ("bl", "snp")),
    )
    verdict = examine(machine, listed, report_data=b"r" * 64)
    results = {one.name: one.result for one in verdict.findings}
    assert verdict.ok
    for name in (
        Factor.TEE_MEASUREMENT,
        Factor.TEE_BOOT_CONFIG,
        Factor.CPU_ID_REGISTRY,
        Factor.TEE_REPORTDATA_BINDING,
    ):
        assert results[name] is Result.PASS
    partly = examine(machine, rules(host_data=("00" * 32,)))
    found = next(one for one in partly.findings if one.name is Factor.TEE_BOOT_CONFIG)
    assert (found.result, "id key" in found.detail) == (Result.UNKNOWN, True)
    assert code(examine(machine, report_data=bytes(64))) == "evidence_binding"


def test_certificates_shown_beside_must_be_the_ones_above() -> None:
    ours = OURS["genoa"]
    assert code(examine(Machine(), more=(ours.ask, ours.ark))) == ""
    assert code(examine(Machine(), more=(OURS["turin"].ark,))) == "evidence_root"
    assert code(examine(Machine(), more=(OURS["turin"].ask,))) == "evidence_chain"
    forged = build("SEV-Genoa", "ARK-Genoa", rsa_key("y"), rsa_key("z"), {})
    assert code(examine(Machine(), more=(forged,))) == "evidence_chain"


@pytest.mark.spec("17.5-c")
def test_the_revocation_list_counts_while_it_is_current() -> None:
    verdict = examine(Machine(), rules(require_revocation=True), revoked=crl("genoa", [9]))
    results = {one.name: one.result for one in verdict.findings}
    assert verdict.ok
    assert results[Factor.TEE_TCB_NOT_REVOKED] is Result.PASS
    assert code(examine(Machine(), revoked=crl("genoa", [7]))) == "evidence_revoked"
    assert code(examine(Machine(flags=VLEK), revoked=crl("genoa", [7]))) == "evidence_revoked"
    old = crl("genoa", [], at=NOW - 11 * 86400)
    assert code(examine(Machine(), revoked=old)) == "collateral_expired"
    new = crl("genoa", [], at=NOW + 86400)
    assert code(examine(Machine(), revoked=new)) == "collateral_from_future"
    assert code(examine(Machine(), revoked=crl("genoa", [], signer="ask"))) == "collateral_altered"


def test_dates_of_certificates_count() -> None:
    assert code(examine(Machine(), now=NOW - 31 * 86400)) == "evidence_from_future"
    assert code(examine(Machine(), now=NOW + 336 * 86400)) == "evidence_expired"


def test_the_decision_ends_with_its_certificate_or_its_list() -> None:
    report, certificate = Machine().shown()
    for revoked, ends in ((None, NOW + 335 * 86400), (crl("genoa", []), NOW + 10 * 86400)):
        found: list[SnpProof] = []
        judge(
            lambda checklist, revoked=revoked, found=found: found.append(  # type: ignore[misc]
                verify_snp(
                    SnpEvidence(report, (certificate,), revoked),
                    policy=EVERYTHING,
                    now=NOW,
                    report_data=None,
                    checklist=checklist,
                    products=OURS,
                )
            )
        )
        assert found[0].expires_at == ends


def test_a_report_is_of_exactly_one_form() -> None:
    report, certificate = Machine().shown()
    wrong = {
        "another algorithm": report[:0x34] + b"\2" + report[0x35:],
        "bytes behind its signature": report[:-1] + b"\1",
        "a signature of zeros": report[:0x2A0] + bytes(0x200),
    }
    codes = {}
    for name, raw in wrong.items():
        evidence = SnpEvidence(raw, (certificate,))
        codes[name] = code(
            judge(
                lambda checklist, evidence=evidence: verify_snp(  # type: ignore[misc]
                    evidence,
                    policy=EVERYTHING,
                    now=NOW,
                    report_data=None,
                    checklist=checklist,
                    products=OURS,
                )
            )
        )
    assert list(codes.values()) == ["evidence_malformed", "evidence_malformed", "evidence_forged"]


def test_a_clouds_report_is_not_signed_by_a_chips_key() -> None:
    report, _ = Machine(flags=VLEK).shown()
    _, certificate = Machine().shown()
    verdict = judge(
        lambda checklist: verify_snp(
            SnpEvidence(report, (certificate,)),
            policy=EVERYTHING,
            now=NOW,
            report_data=None,
            checklist=checklist,
            products=OURS,
        )
    )
    assert code(verdict) == "evidence_chain"


def test_authorities_have_rsa_keys() -> None:
    from bombyx.attestation.snp.chain import _key  # noqa: PLC0415
    from tests.bombyx.attestation.gpus import ROOT  # noqa: PLC0415

    with pytest.raises(TypeError, match="RSA"):
        _key(ROOT)


def test_a_generation_of_nobody_is_refused() -> None:
    report, certificate = Machine(generation="turin").shown()
    verdict = judge(
        lambda checklist: verify_snp(
            SnpEvidence(report, (certificate,)),
            policy=EVERYTHING,
            now=NOW,
            report_data=None,
            checklist=checklist,
            products={"milan": OURS["milan"]},
        )
    )
    assert code(verdict) == "evidence_chain"


def test_every_known_processor_has_a_generation() -> None:
    for family, model, name in (
        (0x19, 0x0F, "milan"),
        (0x19, 0x10, "genoa"),
        (0x19, 0xA0, "genoa"),
        (0x1A, 0x11, "turin"),
    ):
        found = product_of_cpu(family, model)
        assert found is not None
        assert found.name == name
    for family, model in ((0x19, 0x20), (0x1A, 0x12), (0x17, 0)):
        assert product_of_cpu(family, model) is None


def test_the_built_in_authorities_vouch_for_each_other() -> None:
    import hashlib  # noqa: PLC0415

    from cryptography import x509  # noqa: PLC0415

    from bombyx.attestation.snp.chain import _is_signed, _key  # noqa: PLC0415

    roots = {
        "milan": "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
        "genoa": "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
        "turin": "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
    }
    for name, one in PRODUCTS.items():
        assert hashlib.sha256(one.ark).hexdigest() == roots[name]
        for authority in (one.ark, one.ask, one.asvk):
            certificate = x509.load_der_x509_certificate(authority)
            signed = certificate.tbs_certificate_bytes
            assert _is_signed(_key(one.ark), certificate.signature, signed)
    assert isinstance(_key(PRODUCTS["milan"].ark), rsa.RSAPublicKey)
