"""Vouchers by plain numbers: hashed as a cell, checked strictly (SPEC 7.2)."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from bombyx.errors import BadSignature
from bombyx.money.voucher import (
    MAX_COINS,
    VoucherSigner,
    VoucherTemplate,
    check_digest,
    check_voucher,
    is_strong_key,
)

ACCOUNT = hashlib.sha256(b"channel").digest()
TEMPLATE = VoucherTemplate(-239, ACCOUNT)
SIGNER = VoucherSigner(bytes(range(32)))
ORDER = 2**252 + 27742317777372353535851937790883648493


def reference(network: int, amount: int, seqno: int, valid_until: int) -> bytes:
    """The cell's hash, written out bit by bit."""
    size = (amount.bit_length() + 7) // 8
    bits = f"{0x56434831:032b}{network % 2**32:032b}10000000000{int.from_bytes(ACCOUNT):0256b}"
    bits += f"{size:04b}" + (f"{amount:0{8 * size}b}" if size else "")
    bits += f"{seqno:064b}{valid_until:032b}"
    descriptor = len(bits) // 8 + -(-len(bits) // 8)
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8)
    return hashlib.sha256(bytes((0, descriptor)) + data).digest()


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, MAX_COINS),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
)
def test_the_digest_is_the_hash_of_the_voucher_as_a_cell(
    network: int, amount: int, seqno: int, until: int
) -> None:
    template = VoucherTemplate(network, ACCOUNT)
    digest = template.digest(amount, seqno=seqno, valid_until=until)
    assert digest == reference(network, amount, seqno, until)


@pytest.mark.parametrize("amount", [-1, MAX_COINS + 1])
def test_an_amount_that_no_coins_hold_is_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        TEMPLATE.digest(amount)


@pytest.mark.parametrize(("seqno", "until"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**32)])
def test_numbers_that_do_not_fit_are_refused(seqno: int, until: int) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        TEMPLATE.digest(1, seqno=seqno, valid_until=until)


@pytest.mark.parametrize(("network", "account"), [(2**31, ACCOUNT), (0, ACCOUNT[1:])])
def test_a_channel_has_an_account_and_a_network(network: int, account: bytes) -> None:
    with pytest.raises(ValueError, match="no such channel"):
        VoucherTemplate(network, account)


@pytest.mark.spec("7.2-a")
def test_what_was_signed_is_accepted_and_nothing_else() -> None:
    signature = SIGNER.sign(TEMPLATE, 1000, seqno=2, valid_until=3)

    def check(template: VoucherTemplate, amount: int, *, seqno: int = 2, until: int = 3) -> None:
        check_voucher(
            template, amount, signature=signature, key=SIGNER.public_key, seqno=seqno,
            valid_until=until,
        )  # fmt: skip

    check(TEMPLATE, 1000)
    testnet, other = VoucherTemplate(-3, ACCOUNT), VoucherTemplate(-239, bytes(32))
    for template, amount, seqno, until in (
        (TEMPLATE, 1001, 2, 3),
        (TEMPLATE, 1000, 1, 3),
        (TEMPLATE, 1000, 2, 0),
        (testnet, 1000, 2, 3),
        (other, 1000, 2, 3),
    ):
        with pytest.raises(BadSignature):
            check(template, amount, seqno=seqno, until=until)


@pytest.mark.spec("7.2-b")
def test_loose_encodings_are_refused() -> None:
    digest = TEMPLATE.digest(7)
    signature = SIGNER.sign(TEMPLATE, 7)
    check_digest(digest, signature=signature, key=SIGNER.public_key)
    scalar = int.from_bytes(signature[32:], "little")
    malleable = signature[:32] + (scalar + ORDER).to_bytes(32, "little")
    for bad, key in (
        (malleable, SIGNER.public_key),
        (signature[:-1], SIGNER.public_key),
        (signature, SIGNER.public_key[:-1]),
        (bytes(64), bytes(32)),
        (bytes(64), (1).to_bytes(32, "little")),
    ):
        with pytest.raises(BadSignature):
            check_digest(digest, signature=bad, key=key)


@pytest.mark.spec("7.1-b")
def test_a_channels_key_is_a_point_of_the_large_group() -> None:
    assert is_strong_key(SIGNER.public_key)
    for weak in (
        bytes(32),
        (1).to_bytes(32, "little"),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        (2**255 - 18).to_bytes(32, "little"),
        b"\xff" * 32,
        SIGNER.public_key[:31],
    ):
        assert not is_strong_key(weak)


def test_a_signer_never_shows_its_key() -> None:
    seed = bytes(range(32))
    assert SigningKey(seed).verify_key.encode() == SIGNER.public_key
    assert seed.hex() not in repr(SIGNER)
    assert repr(SIGNER).startswith("VoucherSigner(03a107bff3ce10be")
    assert repr(TEMPLATE) == f"VoucherTemplate(-239, {ACCOUNT.hex()})"
