"""Tokens of attestation services: one algorithm, keys by collateral, claims that must be there."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bombyx.attestation.factors import Factor
from bombyx.attestation.tokens.jwk import MAX_JWKS_BYTES, parse_jwks
from bombyx.attestation.tokens.jws import MAX_TOKEN_BYTES, Issuer, open_token
from bombyx.attestation.tokens.nras import (
    MAX_EAT_BYTES,
    NRAS,
    check_device,
    check_digests,
    split_eat,
    verify_nras,
)
from bombyx.attestation.tokens.trust_authority import TRUST_AUTHORITY, verify_trust_authority
from bombyx.errors import EvidenceRefused
from tests.bombyx.attestation import tee

NOW = 1_800_000_000
EC_KEY = ec.generate_private_key(ec.SECP384R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
NONCE = bytes(range(32))
RS256 = Issuer("https://issuer.example", "RS256", Factor.NVIDIA_NRAS_VERIFIED)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwks(*extra: dict[str, Any]) -> bytes:
    point = EC_KEY.public_key().public_numbers()
    numbers = RSA_KEY.public_key().public_numbers()
    keys = [
        {"kid": "ec", "kty": "EC", "crv": "P-384", "x": b64(point.x.to_bytes(48, "big")),
         "y": b64(point.y.to_bytes(48, "big"))},
        {"kid": "rsa", "kty": "RSA", "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB"},
        {"kid": "okp", "kty": "OKP", "crv": "Ed25519", "x": "AA"},
        *extra,
    ]  # fmt: skip
    return json.dumps({"keys": keys}).encode()


KEYS = parse_jwks(jwks())


def es384(data: bytes) -> bytes:
    r, s = decode_dss_signature(EC_KEY.sign(data, ec.ECDSA(hashes.SHA384())))
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def ps384(data: bytes) -> bytes:
    scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
    return RSA_KEY.sign(data, scheme, hashes.SHA384())


def rs256(data: bytes) -> bytes:
    return RSA_KEY.sign(data, padding.PKCS1v15(), hashes.SHA256())


SIGN: dict[str, Callable[[bytes], bytes]] = {"ES384": es384, "PS384": ps384, "RS256": rs256}
KID = {"ES384": "ec", "PS384": "rsa", "RS256": "rsa"}


def token(
    issuer: Issuer = NRAS,
    *,
    header: dict[str, Any] | None = None,
    signature: bytes | None = None,
    sign: str | None = None,
    **claims: Any,
) -> str:
    head = {"alg": issuer.algorithm, "kid": KID[issuer.algorithm], **(header or {})}
    said = {"iss": issuer.name, "iat": NOW - 60, "exp": NOW + 600, "nbf": NOW - 60, **claims}
    said = {name: value for name, value in said.items() if value is not ...}
    text = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(said).encode())}"
    made = SIGN[sign or issuer.algorithm](text.encode()) if signature is None else signature
    return f"{text}.{b64(made)}"


def refused(text: str, issuer: Issuer = NRAS, now: int = NOW) -> str:
    with pytest.raises(EvidenceRefused) as caught:
        open_token(text, issuer, KEYS, now=now)
    return caught.value.code


@pytest.mark.parametrize("issuer", [NRAS, TRUST_AUTHORITY, RS256])
def test_a_token_of_its_issuer_opens(issuer: Issuer) -> None:
    claims = open_token(token(issuer, extra=1), issuer, KEYS, now=NOW)
    assert (claims["iss"], claims["extra"]) == (issuer.name, 1)
    assert open_token(token(issuer, nbf=...), issuer, KEYS, now=NOW)


SPKI = EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def confused() -> str:
    """Signed with the public key as if it were a secret: the oldest trick."""
    head = json.dumps({"alg": "HS256", "kid": "ec"}).encode()
    text = f"{b64(head)}.{b64(b'{}')}"
    return f"{text}.{b64(hmac.digest(SPKI, text.encode(), 'sha256'))}"


FAULTS: list[tuple[str, str, str]] = [
    ("alg none", token(header={"alg": "none"}, signature=b""), "token_algorithm"),
    ("alg None", token(header={"alg": "None"}, signature=b""), "token_algorithm"),
    ("a public key as a secret", confused(), "token_algorithm"),
    ("another algorithm of RSA", token(header={"alg": "RS256", "kid": "rsa"}), "token_algorithm"),
    ("a key of another kind", token(header={"kid": "rsa"}), "token_forged"),
    ("an unknown key", token(header={"kid": "x"}), "token_forged"),
    ("no key", token(header={"kid": None}), "token_forged"),
    ("a critical extension", token(header={"crit": ["exp"]}), "token_algorithm"),
    ("an unencoded payload", token(header={"b64": False}), "token_algorithm"),
    ("a key of its own", token(header={"kid": "mine", "jwk": {"kty": "EC"}}), "token_forged"),
    ("another signature", token(signature=bytes(96)), "token_forged"),
    ("a short signature", token(signature=b"x"), "token_forged"),
    ("no signature", token(signature=b""), "token_forged"),
    ("a changed claim", token().replace(".", ".e30", 1), "token_forged"),
    ("another issuer", token(iss="x"), "token_claims"),
    ("no issuer", token(iss=...), "token_claims"),
    ("no end", token(exp=...), "token_claims"),
    ("no beginning", token(iat=...), "token_claims"),
    ("an end that is no number", token(exp=True), "token_claims"),
    ("a fraction", token(exp=NOW + 0.5), "token_claims"),
    ("a life of days", token(exp=NOW + 2 * 86400), "token_claims"),
    ("an end before the beginning", token(exp=NOW - 120), "token_claims"),
    ("expired", token(iat=NOW - 700, nbf=NOW - 700, exp=NOW - 1), "token_expired"),
    ("not yet made", token(iat=NOW + 1), "token_expired"),
    ("not yet valid", token(nbf=NOW + 1), "token_expired"),
    ("empty", "", "token_malformed"),
    ("two parts", "a.b", "token_malformed"),
    ("no base64", "?.?.?", "token_malformed"),
    ("a padded part", token() + "=", "token_malformed"),
    ("a list", f"{b64(b'[]')}.{b64(b'[]')}.AA", "token_malformed"),
    ("deep", f"{b64(b'[' * 10_000)}.{b64(b'{}')}.AA", "token_malformed"),
    ("long", "a" * (MAX_TOKEN_BYTES + 1), "evidence_too_large"),
]  # fmt: skip


@pytest.mark.spec("17.8-a")
@pytest.mark.parametrize(
    ("text", "code"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_each_fault_has_its_code(text: str, code: str) -> None:
    assert refused(text) == code


def test_an_issuer_of_rsa_takes_no_other_signature() -> None:
    assert refused(token(TRUST_AUTHORITY, sign="RS256"), TRUST_AUTHORITY) == "token_forged"
    elliptic = token(TRUST_AUTHORITY, header={"kid": "ec"})
    assert refused(elliptic, TRUST_AUTHORITY) == "token_forged"
    assert refused(token(NRAS, header={"kid": "rsa"}, sign="PS384")) == "token_forged"


WEAK = {"kid": "weak", "kty": "RSA", "n": b64((1 << 1024 | 1).to_bytes(129, "big")), "e": "AQAB"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":[1]}',
        b'{"keys":[{"kid":1}]}',
        json.dumps({"keys": [{"kid": str(n)} for n in range(65)]}).encode(),
        jwks({"kid": "ec"}),
        jwks({"kid": "a", "kty": "EC", "crv": "P-384", "x": "?", "y": "?"}),
        jwks({"kid": "a", "kty": "EC", "crv": "P-384", "x": b64(bytes(48)), "y": b64(bytes(48))}),
        bytes(MAX_JWKS_BYTES + 1),
    ],
)
def test_keys_that_cannot_be_read_are_refused(data: bytes) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        parse_jwks(data)
    assert caught.value.code == "collateral_malformed"


def test_keys_of_other_kinds_or_sizes_are_left_out() -> None:
    short = {"kid": "short", "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}
    assert set(parse_jwks(jwks(WEAK, short)).keys) == {"ec", "rsa"}


GPU = {
    "eat_nonce": NONCE.hex(),
    "ueid": "1",
    "measres": "success",
    "dbgstat": "disabled",
    "secboot": True,
    "x-nvidia-gpu-attestation-report-nonce-match": True,
    "x-nvidia-gpu-attestation-report-signature-verified": True,
    "x-nvidia-gpu-attestation-report-cert-chain-fwid-match": True,
    "x-nvidia-gpu-driver-rim-signature-verified": True,
    "x-nvidia-gpu-driver-rim-version-match": True,
    "x-nvidia-gpu-vbios-rim-signature-verified": True,
    "x-nvidia-gpu-vbios-rim-version-match": True,
}


def eat(gpus: list[dict[str, Any]] | None = None, /, **claims: Any) -> bytes:
    given = [GPU] if gpus is None else gpus
    texts = {f"GPU-{at}": token(**one) for at, one in enumerate(given)}
    submods = {
        name: ["DIGEST", ["SHA-256", hashlib.sha256(text.encode()).hexdigest()]]
        for name, text in texts.items()
    }
    said = {
        "eat_nonce": NONCE.hex(),
        "x-nvidia-overall-att-result": True,
        "submods": submods,
        **claims,
    }
    return json.dumps([["JWT", token(**said)], texts]).encode()


def test_an_answer_of_the_service_is_read() -> None:
    two = [GPU, {**GPU, "ueid": "2"}]
    found = verify_nras(eat(two), KEYS, nonce=NONCE, now=NOW)
    assert [found[name]["ueid"] for name in ("GPU-0", "GPU-1")] == ["1", "2"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (eat(eat_nonce="00"), "token_claims"),
        (eat(None, **{"x-nvidia-overall-att-result": "true"}), "token_claims"),
        (eat(submods={}), "token_claims"),
        (eat([GPU, GPU]), "token_claims"),
        (eat([{**GPU, "dbgstat": "enabled"}]), "token_claims"),
        (eat([{**GPU, "secboot": 1}]), "token_claims"),
        (eat([{**GPU, "measres": ...}]), "token_claims"),
        (eat([{**GPU, "eat_nonce": "00"}]), "token_claims"),
        (eat([]), "token_malformed"),
        (b"[]", "token_malformed"),
        (eat().replace(b'"JWT"', b'"CWT"'), "token_malformed"),
        (bytes(MAX_EAT_BYTES + 1), "evidence_too_large"),
    ],
)
def test_an_answer_that_says_otherwise_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        verify_nras(data, KEYS, nonce=NONCE, now=NOW)
    assert caught.value.code == code


def test_a_genuine_answer_names_its_gpu_by_digest() -> None:
    # The service's keys of that day are gone, so that only the link between its tokens is checked.
    data = tee.file("nvidia/hopperClaimsv3_detached_eat.json")
    overall, texts = split_eat(data)
    payload = overall.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    check_digests(claims, texts)
    decoded = tee.document("nvidia/hopperClaimsv3_decoded.json")["GPU-0"]
    check_device("GPU-0", decoded)
    with pytest.raises(EvidenceRefused):
        verify_nras(data, KEYS, nonce=bytes.fromhex(claims["eat_nonce"]), now=claims["iat"])


TDX: dict[str, Any] = {
    "attester_type": "TDX",
    "attester_tcb_status": "UpToDate",
    "tdx_is_debuggable": False,
    "tdx_report_data": bytes(64).hex(),
}


def test_a_token_of_trust_authority_speaks_of_the_report_data() -> None:
    text = token(TRUST_AUTHORITY, **TDX)
    claims = verify_trust_authority(text, KEYS, report_data=bytes(64), now=NOW)
    assert claims["attester_tcb_status"] == "UpToDate"
    for change in (
        {"attester_type": "SGX"},
        {"attester_tcb_status": "OutOfDate"},
        {"tdx_is_debuggable": True},
        {"tdx_is_debuggable": ...},
        {"tdx_report_data": "00"},
    ):
        with pytest.raises(EvidenceRefused) as caught:
            verify_trust_authority(
                token(TRUST_AUTHORITY, **(TDX | change)), KEYS, report_data=bytes(64), now=NOW
            )
        assert caught.value.code == "token_claims"
