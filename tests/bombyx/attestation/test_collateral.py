import hashlib

import msgspec
import pytest

from bombyx import canonical
from bombyx.attestation.collateral import (
    MAX_CHAIN_TEXT,
    MAX_CRL_TEXT,
    MAX_SIGNED_TEXT,
    Collateral,
    collateral_digest,
)
from bombyx.errors import NotCanonical
from tests.bombyx.attestation.world import COLLATERAL


def test_digest_is_sha256_of_the_canonical_document() -> None:
    data = canonical.encode(COLLATERAL)
    assert canonical.decode(data, Collateral) == COLLATERAL
    assert collateral_digest(COLLATERAL) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pck_crl_issuer_chain", ""),
        ("tcb_info_issuer_chain", "x" * (MAX_CHAIN_TEXT + 1)),
        ("root_ca_crl", ""),
        ("root_ca_crl", "AB"),
        ("pck_crl", "ab" * (MAX_CRL_TEXT // 2 + 1)),
        ("tcb_info", "x" * (MAX_SIGNED_TEXT + 1)),
        ("qe_identity", ""),
        ("tcb_info_signature", "ab" * 63),
        ("qe_identity_signature", "ab" * 65),
    ],
)
def test_each_field_has_its_bounds(field: str, value: str) -> None:
    wrong = msgspec.structs.replace(COLLATERAL, **{field: value})
    with pytest.raises(NotCanonical):
        canonical.decode(canonical.encode(wrong), Collateral)
