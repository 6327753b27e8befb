import msgspec
import pytest

from bombyx.attestation import dcap
from bombyx.attestation.collateral import Collateral
from bombyx.attestation.simulated import FMSPC
from bombyx.attestation.steps import StepName
from bombyx.errors import EvidenceRefused
from tests.bombyx.attestation import genuine
from tests.bombyx.attestation.world import COLLATERAL, DAY, NOW, PLATFORM, ROOT, body
from worker.attest.simulated_collateral import VendorView, mint_collateral
from worker.attest.simulated_platform import SimulatedPlatform
from worker.attest.simulated_root import SimulatedRoot

QUOTE = PLATFORM.quote(body())
OLD = mint_collateral(PLATFORM, now=NOW - 31 * DAY)
NEW = mint_collateral(PLATFORM, now=NOW + 3 * DAY)
SIBLING = SimulatedPlatform.create(ROOT, now=NOW)
STRANGER = SimulatedPlatform.create(SimulatedRoot.create(now=NOW), now=NOW)


def changed(**fields: str) -> Collateral:
    return msgspec.structs.replace(COLLATERAL, **fields)


def taken(other: Collateral, *fields: str) -> Collateral:
    return changed(**{field: getattr(other, field) for field in fields})


def viewed(**view: str) -> Collateral:
    return mint_collateral(PLATFORM, now=NOW, view=VendorView(**view))  # type: ignore[arg-type]


def flipped(at: int) -> bytes:
    quote = bytearray(QUOTE)
    quote[at] ^= 1
    return bytes(quote)


def refusal(
    quote: bytes, collateral: Collateral, *, root: bytes | None = ROOT.der, now: int = NOW
) -> EvidenceRefused:
    with pytest.raises(EvidenceRefused) as caught:
        dcap.verify_quote(quote, collateral, root=root, now=now)
    return caught.value


def test_claims_of_an_honest_simulated_machine() -> None:
    claims = dcap.verify_quote(QUOTE, COLLATERAL, root=ROOT.der, now=NOW)
    assert claims.status == "UpToDate"
    assert claims.advisory_ids == ()
    assert claims.fmspc == FMSPC.hex()
    assert len(bytes.fromhex(claims.ppid)) == 16
    assert claims.expires_at == NOW + 29 * DAY


def test_a_genuine_machine_passes_under_intels_root_alone() -> None:
    claims = dcap.verify_quote(genuine.QUOTE, genuine.COLLATERAL, root=None, now=genuine.NOW)
    assert (claims.status, claims.fmspc, claims.eval_number) == ("UpToDate", "90c06f000000", 18)
    refused = refusal(genuine.QUOTE, genuine.COLLATERAL, now=genuine.NOW)
    assert refused.step == StepName.CERTIFICATE_CHAIN


def test_a_simulated_machine_never_passes_under_intels_root() -> None:
    assert refusal(QUOTE, COLLATERAL, root=None).step == StepName.CERTIFICATE_CHAIN


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        (("root_ca_crl",), 10),
        (("pck_crl",), 10),
        (("tcb_info", "tcb_info_signature"), 9),
        (("qe_identity", "qe_identity_signature"), 9),
    ],
)
def test_claims_expire_with_the_first_part_of_the_collateral(
    fields: tuple[str, ...], days: int
) -> None:
    collateral = taken(mint_collateral(PLATFORM, now=NOW - 20 * DAY), *fields)
    claims = dcap.verify_quote(QUOTE, collateral, root=ROOT.der, now=NOW)
    assert claims.expires_at == NOW + days * DAY


@pytest.mark.parametrize(
    ("collateral", "cause"),
    [
        (viewed(status="Revoked"), "the patch level is revoked"),
        (viewed(qe_status="Revoked"), "the patch level is revoked"),
        (viewed(module_status="Revoked"), "the patch level is revoked"),
        (viewed(status="TDRelaunchAdvised"), "unknown status"),
        (taken(OLD, "tcb_info", "tcb_info_signature"), "TCB info has expired"),
        (taken(OLD, "qe_identity", "qe_identity_signature"), "QE identity has expired"),
        (taken(OLD, "root_ca_crl"), "revocation list has expired"),
        (taken(OLD, "pck_crl"), "revocation list has expired"),
        (taken(NEW, "tcb_info", "tcb_info_signature"), "from later"),
        (taken(NEW, "qe_identity", "qe_identity_signature"), "from later"),
        (changed(tcb_info="{}"), "TCB info cannot be read"),
        (changed(qe_identity="{}"), "QE identity cannot be read"),
        (changed(pck_crl="00"), "revocation list cannot be read"),
        (changed(root_ca_crl="00"), "foreign root"),
        (changed(tcb_info_issuer_chain="x"), "signer is missing"),
        (changed(qe_identity_issuer_chain="x"), "signer is missing"),
        (changed(tcb_info=COLLATERAL.tcb_info + " "), "TCB info is altered"),
        (changed(qe_identity=COLLATERAL.qe_identity + " "), "QE identity is altered"),
        (mint_collateral(STRANGER, now=NOW), "foreign root"),
        (mint_collateral(SIBLING, now=NOW), "does not lead to the root"),
    ],
)
def test_each_fault_of_collateral_has_its_cause(collateral: Collateral, cause: str) -> None:
    assert cause in refusal(QUOTE, collateral).message


@pytest.mark.parametrize(
    ("quote", "cause"),
    [
        (b"", "cannot be read"),
        (flipped(10), "header, body or signature"),
        (flipped(60), "header, body or signature"),
        (flipped(640), "header, body or signature"),
        (flipped(710), "attestation key"),
        (flipped(780), "QE report"),
        (flipped(1160), "QE report"),
        (flipped(1300), "certificate cannot be read"),
        (STRANGER.quote(body()), "does not lead to the root"),
        (PLATFORM.quote(body(td_attributes=b"\1\0\0\x10\0\0\0\0")), "debugger"),
        (PLATFORM.quote(body(td_attributes=bytes(8))), "SEPT_VE_DISABLE"),
        (PLATFORM.quote(body(td_attributes=b"\2\0\0\x10\0\0\0\0")), "reserved"),
        (PLATFORM.quote(body(tee_tcb_svn=b"\2\1\1".ljust(16, b"\0"))), "patch level is older"),
        (PLATFORM.quote(body(tee_tcb_svn=b"\2\1\3".ljust(16, b"\0"))), "module is older"),
    ],
)
def test_each_fault_of_a_quote_has_its_cause(quote: bytes, cause: str) -> None:
    assert cause in refusal(quote, COLLATERAL).message


def test_a_text_without_a_name_refuses_as_well() -> None:
    for text in ("", "Everything is fine", "Verification failed: something new"):
        assert dcap.name_cause(text).step == StepName.QUOTE_SIGNATURE


def test_a_root_that_is_no_certificate_refuses() -> None:
    assert refusal(QUOTE, COLLATERAL, root=b"x").step == StepName.QUOTE_SIGNATURE
