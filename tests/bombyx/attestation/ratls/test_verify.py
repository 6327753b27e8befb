"""Which gateway may be told a request (SPEC 17.11): one rule per test, on simulated machines."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from bombyx.attestation.evidence import GpuEvidence
from bombyx.attestation.ratls.certificate import MAX_LIFE_SECONDS, public_key_der
from bombyx.attestation.ratls.claims import EVIDENCE_OID, encode_claims, ratls_report_data
from bombyx.attestation.ratls.steps import GATEWAY_STEPS, GatewayStep, may_be_unknown
from bombyx.attestation.ratls.verify import Presented, VerifiedGateway, verify_gateway
from bombyx.attestation.steps import Result
from bombyx.errors import GatewayRefused
from tests.bombyx.attestation import world
from tests.bombyx.attestation.ratls.minting import (
    GATEWAY,
    HONEST,
    NOW,
    POLICY,
    TLS,
    Recipe,
    examine,
    failed,
    gateway_table,
    policy,
)
from worker.attest.simulated_collateral import LIFE_SECONDS
from worker.attest.simulated_platform import SimulatedPlatform
from worker.attest.simulated_root import SimulatedRoot


def presented(recipe: Recipe = HONEST) -> Presented:
    return Presented(recipe.certificate(), TLS, is_resumed=False)


def test_an_honest_gateway_is_verified_and_known_by_its_identity_key() -> None:
    found = verify_gateway(presented(), policy=POLICY, now=NOW)
    assert (found.gateway, found.platform) == (GATEWAY, "simulated")
    assert found.expires_at == NOW + 3600
    assert repr(found) == f"VerifiedGateway(simulated, {GATEWAY[:16]}…)"


def test_steps_that_nothing_shows_are_unknown_and_all_others_pass() -> None:
    found = examine(HONEST.certificate())
    unknown = {one.name for one in found.findings if one.result is Result.UNKNOWN}
    assert unknown == {
        GatewayStep.GATEWAY_PINNED,
        GatewayStep.PLATFORM_IDENTITY,
        GatewayStep.PHYSICAL_ATTACK_RESISTANCE,
    }
    assert [one.name for one in found.findings] == list(GatewayStep) == list(GATEWAY_STEPS)
    assert failed(found) == []


def test_nothing_but_a_verification_makes_a_verified_gateway() -> None:
    with pytest.raises(TypeError):
        VerifiedGateway(GATEWAY, "simulated", "", "", NOW + 1, (), "", maker=None)


@pytest.mark.spec("17.11-b")
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.1", ""])
def test_another_version_of_tls_is_refused(version: str) -> None:
    found = examine(HONEST.certificate(), tls_version=version)
    assert failed(found) == [(GatewayStep.TLS_CHANNEL, "tls_refused")]


@pytest.mark.spec("17.11-b")
def test_a_resumed_connection_is_refused() -> None:
    found = examine(HONEST.certificate(), is_resumed=True)
    assert failed(found) == [(GatewayStep.TLS_CHANNEL, "tls_refused")]


def plain(key: Any = None, *, extension: bytes | None = None, **changes: Any) -> bytes:
    """A certificate by somebody who is no gateway of ours."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = changes.get("signer", key)
    now = datetime.fromtimestamp(NOW, UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(9)
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if extension is not None:
        oid = x509.ObjectIdentifier(EVIDENCE_OID)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, extension), critical=False)
    is_ed = isinstance(signer, ed25519.Ed25519PrivateKey)
    digest = changes.get("digest", hashes.SHA256())
    return builder.sign(signer, None if is_ed else digest).public_bytes(Encoding.DER)


@pytest.mark.spec("17.11-c")
def test_a_plain_certificate_is_refused() -> None:
    assert failed(examine(plain())) == [(GatewayStep.TLS_CERTIFICATE, "evidence_missing")]


@pytest.mark.spec("17.11-c")
@pytest.mark.parametrize("torn", [b"", b"\x30", HONEST.certificate()[:-1]])
def test_what_is_no_certificate_is_refused(torn: bytes) -> None:
    assert failed(examine(torn)) == [(GatewayStep.TLS_CERTIFICATE, "evidence_malformed")]


def test_a_certificate_beyond_64_kib_is_not_read() -> None:
    found = examine(bytes(64 * 1024 + 1))
    assert failed(found) == [(GatewayStep.TLS_CERTIFICATE, "evidence_too_large")]


@pytest.mark.spec("17.11-c")
def test_a_certificate_that_its_own_key_did_not_sign_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    raw = plain(signer=other, extension=encode_claims(HONEST.made()))
    assert failed(examine(raw)) == [(GatewayStep.TLS_CERTIFICATE, "evidence_forged")]


@pytest.mark.parametrize(
    ("key", "changes", "code"),
    [
        (ec.generate_private_key(ec.SECP384R1()), {}, "evidence_malformed"),
        (ec.generate_private_key(ec.SECP256R1()), {"digest": hashes.SHA384()}, "evidence_forged"),
    ],
)
def test_other_kinds_of_keys_and_signatures_are_refused(
    key: Any, changes: dict[str, Any], code: str
) -> None:
    raw = plain(key, extension=encode_claims(HONEST.made()), **changes)
    assert failed(examine(raw)) == [(GatewayStep.TLS_CERTIFICATE, code)]


def test_a_point_beside_the_curve_is_refused() -> None:
    raw = HONEST.certificate()
    spki = HONEST.subject.public_key
    raw = raw.replace(spki, spki[:27] + bytes(64))
    assert failed(examine(raw)) == [(GatewayStep.TLS_CERTIFICATE, "evidence_malformed")]


def test_a_key_of_ed25519_passes_too() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    recipe = replace(
        HONEST, bound={"public_key": public_key_der(key.public_key()), "not_after": NOW + 3600}
    )
    found = examine(plain(key, extension=encode_claims(recipe.made())))
    assert failed(found) == []
    assert found.refusal is None


@pytest.mark.spec("17.11-d")
@pytest.mark.parametrize(
    ("seconds", "code"),
    [(3600, "evidence_expired"), (7200, "evidence_expired"), (-301, "evidence_from_future")],
)
def test_a_certificate_counts_only_within_its_dates(seconds: int, code: str) -> None:
    found = examine(HONEST.certificate(), now=NOW + seconds)
    assert failed(found) == [(GatewayStep.TLS_DATES, code)]


@pytest.mark.spec("17.11-d")
def test_a_certificate_of_more_than_24_hours_is_refused() -> None:
    recipe = replace(HONEST, life=MAX_LIFE_SECONDS - 299)
    assert failed(examine(recipe.certificate())) == [(GatewayStep.TLS_DATES, "evidence_malformed")]
    whole = replace(HONEST, life=MAX_LIFE_SECONDS - 300)
    assert failed(examine(whole.certificate())) == []


@pytest.mark.spec("17.11-a")
@pytest.mark.parametrize(
    "bound",
    [
        {"public_key": public_key_der(ec.generate_private_key(ec.SECP256R1()).public_key())},
        {"gateway": "b8" * 32},
        {"not_before": NOW - 301},
        {"not_after": NOW + 3601},
    ],
)
def test_the_quote_binds_key_gateway_and_both_dates(bound: dict[str, Any]) -> None:
    found = examine(replace(HONEST, bound=bound).certificate())
    assert failed(found) == [(GatewayStep.REPORT_DATA_BINDING, "evidence_binding")]


@pytest.mark.spec("17.11-a")
def test_genuine_evidence_under_another_key_is_refused() -> None:
    raw = plain(extension=encode_claims(HONEST.made()))
    assert failed(examine(raw)) == [(GatewayStep.REPORT_DATA_BINDING, "evidence_binding")]


@pytest.mark.spec("17.11-a")
def test_a_workers_quote_is_none_of_a_gateways() -> None:
    body = {"report_data": world.body().report_data}
    found = examine(replace(HONEST, body=body).certificate())
    assert failed(found) == [(GatewayStep.REPORT_DATA_BINDING, "evidence_binding")]


@pytest.mark.spec("17.11-e")
def test_a_policy_without_the_table_or_with_an_empty_one_allows_no_gateway() -> None:
    empty = policy(gateway_table(platforms=[]))
    for one in (world.POLICY, empty):
        found = examine(HONEST.certificate(), policy=one)
        assert failed(found) == [(GatewayStep.PLATFORM_ALLOWED, "platform_not_allowed")]


@pytest.mark.spec("17.11-e")
@pytest.mark.parametrize("images", [[], [world.IMAGE.hex()]])
def test_another_image_is_refused_and_an_empty_list_allows_none(images: list[str]) -> None:
    rules = world.simulated_rules(mr_td=images)
    found = examine(HONEST.certificate(), policy=policy(gateway_table(simulated=rules)))
    assert failed(found) == [(GatewayStep.MEASUREMENT, "measurement_refused")]


@pytest.mark.spec("17.11-e")
def test_a_worker_of_the_network_cannot_pose_as_its_gateway() -> None:
    found = examine(replace(HONEST, image=world.IMAGE).certificate())
    assert failed(found) == [(GatewayStep.MEASUREMENT, "measurement_refused")]


def test_a_strangers_root_is_refused() -> None:
    stranger = SimulatedPlatform.create(SimulatedRoot.create(now=NOW), now=NOW)
    found = examine(replace(HONEST, platform=stranger).certificate())
    assert failed(found) == [(GatewayStep.CERTIFICATE_CHAIN, "evidence_root")]


def test_evidence_whose_collateral_has_ended_is_refused_though_its_certificate_lives() -> None:
    recipe = replace(HONEST, minted=NOW + 600 - LIFE_SECONDS)
    raw = recipe.certificate()
    shown = Presented(raw, TLS, is_resumed=False)
    assert verify_gateway(shown, policy=POLICY, now=NOW).expires_at <= NOW + 600
    found = examine(raw, now=NOW + 601)
    assert failed(found) == [(GatewayStep.COLLATERAL_CURRENT, "collateral_expired")]


@pytest.mark.spec("17.11-e")
def test_a_gateway_that_the_policy_does_not_pin_is_refused() -> None:
    pinned = policy(gateways=[GATEWAY])
    other = policy(gateways=["c9" * 32])
    assert failed(examine(HONEST.certificate(), policy=pinned)) == []
    found = examine(HONEST.certificate(), policy=other)
    assert failed(found) == [(GatewayStep.GATEWAY_PINNED, "evidence_refused")]


def test_a_gateway_shows_no_gpus() -> None:
    gpu = GpuEvidence(arch="hopper", certificate="", report="")
    evidence = msgspec.structs.replace(HONEST.made().evidence, gpus=[gpu])
    found = examine(replace(HONEST, claims={"evidence": evidence}).certificate())
    assert failed(found) == [(GatewayStep.EVIDENCE_FORM, "evidence_malformed")]


def test_collateral_must_be_the_one_that_the_evidence_names() -> None:
    found = examine(replace(HONEST, claims={"collateral": msgspec.UNSET}).certificate())
    assert failed(found) == [(GatewayStep.COLLATERAL_PRESENT, "collateral_missing")]


@pytest.mark.parametrize("platform", ["tdx", "sev-snp", "vtpm"])
def test_a_simulated_quote_is_none_of_a_real_platform(platform: str) -> None:
    made = HONEST.made()
    evidence = msgspec.structs.replace(made.evidence, platform=platform)
    claims = {"evidence": evidence, "collateral": made.collateral}
    raw = replace(HONEST, claims=claims).certificate()
    allowed = policy(gateway_table(platforms=["sev-snp", "tdx", "vtpm"]))
    found = examine(raw, policy=allowed)
    assert found.refusal is not None
    assert found.refusal.result is Result.FAIL
    assert found.platform == platform


def test_a_refusal_names_the_step_and_carries_all_of_them() -> None:
    with pytest.raises(GatewayRefused, match=r"^tls_dates: ") as caught:
        verify_gateway(presented(), policy=POLICY, now=NOW + 3600)
    assert len(caught.value.steps) == len(GatewayStep)
    assert caught.value.code == "gateway_refused"


def test_a_platform_that_nobody_knows_may_leave_nothing_open() -> None:
    assert may_be_unknown("sgx") == frozenset()
    assert may_be_unknown("tdx") == {
        GatewayStep.GATEWAY_PINNED,
        GatewayStep.PLATFORM_IDENTITY,
        GatewayStep.PHYSICAL_ATTACK_RESISTANCE,
    }


def test_report_data_is_a_function_of_all_that_a_certificate_says() -> None:
    assert ratls_report_data(HONEST.subject) == ratls_report_data(replace(HONEST).subject)
    assert len(ratls_report_data(HONEST.subject)) == 64


@pytest.mark.spec("17.11-c")
def test_no_byte_of_a_certificate_may_change() -> None:
    raw = HONEST.certificate()
    for at in range(0, len(raw), 11):
        found = examine(raw[:at] + bytes((raw[at] ^ 0x10,)) + raw[at + 1 :])
        assert [step for step, _ in failed(found)] == [GatewayStep.TLS_CERTIFICATE], at
