"""Whatever signature our check accepts, CHKSIGNU accepts: else a gateway would serve for nothing.

The other way round does not hold and need not: the TVM takes weak keys and commitments.
"""

import hashlib
from random import Random

import pytest
from nacl.bindings import crypto_core_ed25519_add, crypto_core_ed25519_is_valid_point
from nacl.signing import SigningKey
from pytoniq_core import Cell

from bombyx.errors import BadSignature
from bombyx.money.voucher import check_digest
from ton.codec.cells import Writer
from ton.tvm.getters import stack_of, values_of
from ton.tvm.machine import Call, Tvm

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CHECK = Writer().uint(0x30, 8).uint(0x01D001, 24).uint(0xF910, 16).cell()
"""DROP the method's id; SWAP, CTOS, SWAP: the signature's cell becomes a slice; CHKSIGNU."""
SMALL = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
"""All points of small order."""
LOOSE = [(P + small).to_bytes(32, "little").hex() for small in (0, 1)] + [
    (P + small | 1 << 255).to_bytes(32, "little").hex() for small in (0, 1)
]
"""Other spellings of two of them."""
KEY = SigningKey(hashlib.sha256(b"key").digest())
PUBLIC = bytes(KEY.verify_key)


def in_tvm(tvm: Tvm, digest: bytes, signature: bytes, key: bytes) -> bool:
    cell = Writer().octets(signature, 64).cell()
    arguments = (int.from_bytes(digest), cell, int.from_bytes(key))
    data, code = Writer().cell().to_boc(), CHECK.to_boc()
    stack = stack_of(*arguments)
    answer = tvm.get(Call(code, data, 0, stack, "0:" + "0" * 64, 10**9, 1_790_000_000))
    assert answer.exit_code in (0, 1), answer.exit_code
    (verdict,) = values_of(answer.stack)
    assert not isinstance(verdict, Cell)
    return verdict != 0


def by_us(digest: bytes, signature: bytes, key: bytes) -> bool:
    try:
        check_digest(digest, signature=signature, key=key)
    except BadSignature:
        return False
    return True


def scalar(signature: bytes) -> int:
    return int.from_bytes(signature[32:], "little")


def challenge(commitment: bytes, key: bytes, digest: bytes) -> int:
    return int.from_bytes(hashlib.sha512(commitment + key + digest).digest(), "little") % ORDER


def sign_with(key: SigningKey, public: bytes, commitment_seed: int, digest: bytes) -> bytes:
    """A signature of `key` that hashes in another spelling of its public key."""
    secret = hashlib.sha512(bytes(key)).digest()
    a = int.from_bytes(secret[:32], "little") & (1 << 254) - 8 | 1 << 254
    r = commitment_seed % ORDER
    commitment = base_times(r)
    s = (r + challenge(commitment, public, digest) * a) % ORDER
    return commitment + s.to_bytes(32, "little")


def base_times(r: int) -> bytes:
    from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp  # noqa: PLC0415

    return crypto_scalarmult_ed25519_base_noclamp(r.to_bytes(32, "little"))


def edge_cases() -> dict[str, tuple[bytes, bytes, bytes]]:
    """Digest, signature and key, by what is odd about them."""
    digest = hashlib.sha256(b"voucher").digest()
    good = KEY.sign(digest).signature
    cases = {
        "good": (digest, good, PUBLIC),
        "scalar plus order": (
            digest, good[:32] + (scalar(good) + ORDER).to_bytes(32, "little"), PUBLIC,
        ),
        "scalar zero": (digest, good[:32] + bytes(32), PUBLIC),
        "scalar of all ones": (digest, good[:32] + b"\xff" * 32, PUBLIC),
        "scalar of the order": (digest, good[:32] + ORDER.to_bytes(32, "little"), PUBLIC),
        "sign of the commitment": (
            digest, good[:31] + bytes((good[31] ^ 0x80,)) + good[32:], PUBLIC,
        ),
        "sign of the key": (digest, good, PUBLIC[:31] + bytes((PUBLIC[31] ^ 0x80,))),
        "another key": (digest, good, bytes(SigningKey(bytes(32)).verify_key)),
        "all zeros": (bytes(32), bytes(64), bytes(32)),
    }  # fmt: skip
    weak = [bytes.fromhex(one) for one in (*SMALL, *LOOSE)]
    for at, point in enumerate(weak):
        cases[f"weak key {at}"] = (digest, point + bytes(32), point)
        cases[f"weak commitment {at}"] = (digest, point + good[32:], PUBLIC)
        for nth, other in enumerate(weak):
            cases[f"weak key {at}, weak commitment {nth}"] = (digest, other + bytes(32), point)
    for at, small in enumerate(SMALL[1:], 1):
        mixed = crypto_core_ed25519_add(PUBLIC, bytes.fromhex(small))
        assert not crypto_core_ed25519_is_valid_point(mixed)
        for seed in range(8):  # where 8 divides the challenge, the small part vanishes
            signature = sign_with(KEY, mixed, seed + 2, digest)
            cases[f"key with a small part {at}/{seed}"] = (digest, signature, mixed)
        commitment = crypto_core_ed25519_add(good[:32], bytes.fromhex(small))
        cases[f"commitment with a small part {at}"] = (digest, commitment + good[32:], PUBLIC)
    return cases


CASES = edge_cases()


@pytest.mark.spec("7.2-b")
def test_odd_signatures_that_we_accept_are_accepted_by_the_tvm(tvm: Tvm) -> None:
    ours = {name for name, case in CASES.items() if by_us(*case)}
    theirs = {name for name, case in CASES.items() if in_tvm(tvm, *case)}
    assert ours <= theirs
    assert "good" in ours
    assert theirs - ours, "the TVM is known to be looser; else this test tests nothing"
    assert not [name for name in ours if name.startswith(("weak", "scalar", "all"))]


@pytest.mark.spec("7.2-b")
def test_random_damage_is_seen_by_both(tvm: Tvm) -> None:
    rnd = Random(1)
    for _ in range(60):
        digest = rnd.randbytes(32)
        key = SigningKey(rnd.randbytes(32))
        whole = bytearray(digest + key.sign(digest).signature + bytes(key.verify_key))
        assert by_us(digest, bytes(whole[32:96]), bytes(whole[96:]))
        assert in_tvm(tvm, digest, bytes(whole[32:96]), bytes(whole[96:]))
        whole[rnd.randrange(len(whole))] ^= 1 << rnd.randrange(8)
        bent = bytes(whole[:32]), bytes(whole[32:96]), bytes(whole[96:])
        assert by_us(*bent) <= in_tvm(tvm, *bent)
        assert not by_us(*bent)
