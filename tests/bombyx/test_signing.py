"""SPEC 1.1, 1.2: a signature says one thing, and a key says only what its role allows."""

import hashlib
import itertools

import pytest
from nacl.bindings import crypto_core_ed25519_add

from bombyx import canonical, signing
from bombyx.errors import BadSignature
from bombyx.signing import Kind, Role, Signer, verify
from tests.factories import seed

DOCUMENT = {"c": "00" * 32}
ORDER = 2**252 + 27742317777372353535851937790883648493
ALLOWED = {
    Role.RECEIPT: {Kind.BATCH, Kind.SETTLE, Kind.REFUSAL},
    Role.LINK: {Kind.LINK_WORKER, Kind.OFFER},
    Role.GATEWAY: {Kind.LINK_GATEWAY, Kind.LOST},
    Role.PAYER: {Kind.REQUEST},
}
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def signer(role: Role = Role.PAYER) -> Signer:
    return Signer(role, seed("signing"))


@pytest.mark.spec("1.1-a")
def test_the_message_is_prefix_kind_zero_and_digest() -> None:
    expected = b"bombyx/1/request\0" + hashlib.sha256(canonical.encode(DOCUMENT)).digest()
    assert signing.message(Kind.REQUEST, DOCUMENT) == expected


def test_a_signature_verifies() -> None:
    signature = signer().sign(Kind.REQUEST, DOCUMENT)
    assert len(signature) == 64
    verify(Kind.REQUEST, DOCUMENT, signature, signer().public_key)


@pytest.mark.spec("1.2-a")
@pytest.mark.parametrize(("role", "kind"), list(itertools.product(Role, Kind)))
def test_a_key_signs_the_kinds_of_its_role_alone(role: Role, kind: Kind) -> None:
    if kind in ALLOWED[role]:
        verify(kind, DOCUMENT, signer(role).sign(kind, DOCUMENT), signer().public_key)
        return
    with pytest.raises(ValueError, match=f"a {role} key does not sign {kind}"):
        signer(role).sign(kind, DOCUMENT)


@pytest.mark.spec("1.2-a")
def test_every_kind_belongs_to_exactly_one_role() -> None:
    kinds = [kind for allowed in ALLOWED.values() for kind in allowed]
    assert sorted(kinds) == sorted(Kind)


@pytest.mark.spec("1.1-c")
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind != Kind.REQUEST])
def test_a_signature_of_one_kind_is_none_of_another(kind: Kind) -> None:
    signature = signer().sign(Kind.REQUEST, DOCUMENT)
    with pytest.raises(BadSignature):
        verify(kind, DOCUMENT, signature, signer().public_key)


def test_another_document_or_key_is_refused() -> None:
    signature = signer().sign(Kind.REQUEST, DOCUMENT)
    with pytest.raises(BadSignature):
        verify(Kind.REQUEST, {"c": "01" * 32}, signature, signer().public_key)
    with pytest.raises(BadSignature):
        verify(Kind.REQUEST, DOCUMENT, signature, Signer(Role.PAYER, seed("other")).public_key)


@pytest.mark.spec("1.1-a")
@pytest.mark.parametrize("at", range(0, 64, 3))
def test_a_flipped_bit_is_refused(at: int) -> None:
    signature = bytearray(signer().sign(Kind.REQUEST, DOCUMENT))
    signature[at] ^= 1
    with pytest.raises(BadSignature):
        verify(Kind.REQUEST, DOCUMENT, bytes(signature), signer().public_key)


@pytest.mark.parametrize(("signature_size", "key_size"), [(63, 32), (65, 32), (64, 31), (64, 33)])
def test_wrong_lengths_are_refused(signature_size: int, key_size: int) -> None:
    with pytest.raises(BadSignature, match="wrong length"):
        verify(Kind.REQUEST, DOCUMENT, bytes(signature_size), bytes(key_size))


@pytest.mark.spec("1.1-b")
@pytest.mark.parametrize("key", SMALL_ORDER)
def test_a_small_order_key_is_refused_though_the_equation_holds(key: str) -> None:
    # R = the neutral element, S = 0: with A of order 1 this "signature" fits every message.
    neutral = bytes.fromhex(SMALL_ORDER[0])
    with pytest.raises(BadSignature):
        verify(Kind.REQUEST, DOCUMENT, neutral + bytes(32), bytes.fromhex(key))


@pytest.mark.spec("1.1-b")
def test_a_small_order_commitment_is_refused() -> None:
    with pytest.raises(BadSignature):
        verify(
            Kind.REQUEST,
            DOCUMENT,
            bytes.fromhex(SMALL_ORDER[0]) + bytes(32),
            signer().public_key,
        )


@pytest.mark.spec("1.1-b")
def test_a_scalar_beyond_the_order_is_refused() -> None:
    signature = signer().sign(Kind.REQUEST, DOCUMENT)
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    with pytest.raises(BadSignature):
        verify(
            Kind.REQUEST,
            DOCUMENT,
            signature[:32] + scalar.to_bytes(32, "little"),
            signer().public_key,
        )


@pytest.mark.parametrize("torsion", SMALL_ORDER[3:8])
def test_a_key_with_a_torsion_component_takes_none_of_the_signatures(torsion: str) -> None:
    mixed = crypto_core_ed25519_add(signer().public_key, bytes.fromhex(torsion))
    with pytest.raises(BadSignature):
        verify(Kind.REQUEST, DOCUMENT, signer().sign(Kind.REQUEST, DOCUMENT), mixed)


@pytest.mark.spec("1.1-b")
def test_a_non_canonical_key_is_refused() -> None:
    # y = p + 3, the second spelling of y = 3
    key = (2**255 - 19 + 3).to_bytes(32, "little")
    with pytest.raises(BadSignature):
        verify(Kind.REQUEST, DOCUMENT, signer().sign(Kind.REQUEST, DOCUMENT), key)


def test_a_signer_never_shows_its_key() -> None:
    shown = repr(signer()) + str(signer())
    assert seed("signing").hex() not in shown
    assert repr(seed("signing")) not in shown
    assert signer().public_hex[:16] in shown
