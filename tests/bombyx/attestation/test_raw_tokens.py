"""Tokens of attestation services as raw evidence: a second opinion, with a step of its own."""

from typing import Any

import pytest

from bombyx.attestation.checklist import Verdict
from bombyx.attestation.factors import Factor
from bombyx.attestation.steps import Result
from bombyx.attestation.tokens.trust_authority import TRUST_AUTHORITY
from tests.bombyx.attestation import tee
from tests.bombyx.attestation.tee import code
from tests.bombyx.attestation.test_tokens import NONCE, NOW, TDX, eat, jwks, token

KEYS = jwks()
INTEL = token(TRUST_AUTHORITY, **TDX).encode()


def examine(kind: str, data: bytes, **more: Any) -> Verdict:
    return tee.examine(kind, data, NOW, **{"collateral": KEYS, **more})


def passed(verdict: Verdict) -> set[Factor]:
    return {one.name for one in verdict.findings if one.result is Result.PASS}


@pytest.mark.spec("17.8-a")
@pytest.mark.parametrize(
    ("kind", "data", "nonce", "factor"),
    [
        ("nras", eat(), NONCE, Factor.NVIDIA_NRAS_VERIFIED),
        ("trust-authority", INTEL, bytes(64), Factor.TRUST_AUTHORITY_VERIFIED),
        ("trust-authority", INTEL + b"\n", b"\0", Factor.TRUST_AUTHORITY_VERIFIED),
    ],
)
def test_a_token_shows_what_its_service_says_and_nothing_else(
    kind: str, data: bytes, nonce: bytes, factor: Factor
) -> None:
    verdict = examine(kind, data, nonce=nonce)
    assert passed(verdict) == {Factor.RESPONSE_SCHEMA, Factor.NONCE_MATCH, factor}
    assert verdict.claims
    assert passed(examine(kind, data)) == {Factor.RESPONSE_SCHEMA, factor}
    refused = examine(kind, data, nonce=b"other")
    assert code(refused) == "token_claims"
    assert next(one for one in refused.findings if one.result is Result.FAIL).name is factor


@pytest.mark.spec("17.8-a")
@pytest.mark.parametrize(
    ("kind", "data", "more", "refused"),
    [
        ("nras", eat(), {"collateral": None}, "collateral_missing"),
        ("nras", eat(), {"collateral": [KEYS, KEYS]}, "collateral_malformed"),
        ("nras", eat(), {"collateral": b"{"}, "collateral_malformed"),
        ("nras", eat(), {"collateral": b'{"keys":[]}'}, "token_forged"),
        ("nras", b"[]", {}, "token_malformed"),
        ("trust-authority", b"\xff", {}, "token_malformed"),
        ("trust-authority", INTEL[:-2], {}, "token_forged"),
        ("trust-authority", eat(), {}, "token_malformed"),
    ],
)
def test_a_token_that_is_none_or_without_keys_is_refused(
    kind: str, data: bytes, more: dict[str, Any], refused: str
) -> None:
    assert code(examine(kind, data, **more)) == refused


@pytest.mark.parametrize("kind", ["tdx", "snp"])
def test_a_cpu_has_one_file_of_collateral(kind: str) -> None:
    assert code(examine(kind, b"x", collateral=[b"a", b"b"])) == "collateral_malformed"
