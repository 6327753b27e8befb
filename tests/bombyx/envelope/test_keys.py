"""SPEC 2.9: the key schedule."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from bombyx.envelope.keys import (
    WRAP_BYTES,
    FrameCipher,
    PublicSealingKey,
    SealingKey,
    decode_public_key,
    encode_public_key,
    expand,
    wrap_info,
)
from bombyx.errors import CannotOpen
from tests.factories import seed, worker

SMALL_ORDER_X25519 = [0, 1, 2**255 - 19 - 1, 2**255 - 19]


@pytest.mark.spec("2.9-a")
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(1, 32))
def test_expand_is_hkdf_expand_of_rfc_5869(secret: bytes, info: bytes, length: int) -> None:
    assert expand(secret, info, length) == HKDFExpand(hashes.SHA256(), length, info).derive(secret)


@pytest.mark.spec("2.9-a")
@given(st.integers(0, 2**64 - 1), st.binary(max_size=64), st.binary(max_size=64))
def test_the_nonce_is_the_base_xor_the_sequence(seq: int, payload: bytes, aad: bytes) -> None:
    secret = seed("secret")
    base = expand(secret, b"nonce", 12)
    nonce = bytes(a ^ b for a, b in zip(base, seq.to_bytes(12), strict=True))
    sealed = FrameCipher(secret).seal(seq, payload, aad)
    assert sealed == AESGCM(expand(secret, b"key")).encrypt(nonce, payload, aad)
    assert FrameCipher(secret).open(seq, sealed, aad) == payload


@pytest.mark.parametrize("change", ["seq", "aad", "flip", "cut", "empty", "secret"])
def test_what_was_changed_does_not_open(change: str) -> None:
    sealed = FrameCipher(seed("secret")).seal(5, b"payload", b"aad")
    seq, aad = (6 if change == "seq" else 5), (b"AAD" if change == "aad" else b"aad")
    sealed = {
        "flip": sealed[:3] + bytes([sealed[3] ^ 1]) + sealed[4:],
        "cut": sealed[:-1],
        "empty": b"",
    }.get(change, sealed)
    cipher = FrameCipher(seed("other" if change == "secret" else "secret"))
    with pytest.raises(CannotOpen):
        cipher.open(seq, sealed, aad)


@pytest.mark.spec("2.9-c")
def test_a_wrap_opens_with_its_key_and_info_alone() -> None:
    public = PublicSealingKey.from_bytes(worker().sealing.public_bytes)
    info = wrap_info(seed("w"), seed("h"), seed("c"))
    assert info == b"bombyx/1/wrap\0" + seed("w") + seed("h") + seed("c")
    blob = public.wrap(b"x" * 64, info)
    assert len(blob) == WRAP_BYTES
    assert worker().sealing.unwrap(blob, info) == b"x" * 64
    bad = bytearray(blob)
    bad[500] ^= 1
    attempts = [
        (worker("other").sealing, blob, info),
        (worker().sealing, blob, info + b"x"),
        (worker().sealing, bytes(bad), info),
        (worker().sealing, blob[:-1], info),
        (worker().sealing, b"", info),
    ]
    messages = set()
    for key, data, about in attempts:
        with pytest.raises(CannotOpen) as caught:
            key.unwrap(data, about)
        messages.add(caught.value.message)
    assert len(messages) == 1


def test_the_public_key_is_mlkem_then_x25519() -> None:
    sealing = worker().sealing
    assert len(sealing.public_bytes) == 1216
    again = SealingKey.from_seeds(seed("worker mlkem", 64), seed("worker x25519"))
    assert again.public_bytes == sealing.public_bytes


def test_an_unusable_public_key_is_refused_when_it_is_parsed() -> None:
    good = worker().sealing.public_bytes
    for bad in (good[:-1], good + b"\0", b"", b"\xff" * 1184 + good[1184:]):
        with pytest.raises(CannotOpen):
            PublicSealingKey.from_bytes(bad)


@pytest.mark.parametrize("point", SMALL_ORDER_X25519)
def test_a_small_order_curve_key_is_refused_when_it_is_used(point: int) -> None:
    raw = worker().sealing.public_bytes[:1184] + point.to_bytes(32, "little")
    with pytest.raises(CannotOpen):
        PublicSealingKey.from_bytes(raw).wrap(b"x" * 64, b"")


def test_a_public_key_has_one_spelling() -> None:
    raw = worker().sealing.public_bytes
    text = encode_public_key(raw)
    assert "=" not in text
    assert decode_public_key(text) == raw
    # 1216 bytes leave four spare bits in the last character
    spare = text[:-1] + chr(ord(text[-1]) + 1)
    for bad in (
        text + "==",
        text[:5] + "\n" + text[5:],
        text[:5] + "!" + text[5:],
        "a",
        "é",
        spare,
    ):
        with pytest.raises(CannotOpen):
            decode_public_key(bad)


def test_private_and_secret_things_do_not_show() -> None:
    assert seed("worker x25519").hex() not in repr(worker().sealing)
    assert "x25519" not in repr(worker().sealing)
