"""Names of images and models: Cocoon's hashes, and dm-verity roots."""

import hashlib

import pytest

from bombyx.attestation.cocoon import image_hash, model_hash, snp_image_hash
from bombyx.attestation.snp.report import parse_report
from bombyx.attestation.tdx.raw import parse_raw_quote
from bombyx.attestation.tdx_quote import TdxQuote
from bombyx.attestation.verity import BLOCK_BYTES, named_root, verity_root
from tests.bombyx.attestation import tee

ROOT = "ab" * 32


@pytest.mark.spec("17.9-b")
def test_the_image_hash_of_cocoons_own_quote() -> None:
    _, quote = parse_raw_quote(tee.COCOON)
    assert isinstance(quote, TdxQuote)
    assert image_hash(quote).hex().startswith("04b3afd931d28680")
    report = parse_report(tee.MILAN)
    assert snp_image_hash(report) == hashlib.sha256(report.measurement + bytes(64)).digest()


@pytest.mark.spec("17.9-b")
def test_a_model_is_named_by_its_commit_and_root() -> None:
    place = "Qwen/Qwen3-0.6B@" + "c" * 40
    assert model_hash(place, ROOT) == hashlib.sha256(f"{place}:{ROOT}".encode()).digest()
    for wrong in ("Qwen/Qwen3", "a:b@" + "c" * 40, "@" + "c" * 40, "a@xyz"):
        with pytest.raises(ValueError, match="name@commit"):
            model_hash(wrong, ROOT)
    with pytest.raises(ValueError, match="name@commit"):
        model_hash(place, "AB" * 32)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.mark.parametrize("count", [1, 2, 128, 129, 300])
def test_a_verity_root_is_the_hash_of_its_tree(count: int) -> None:
    salt = b"salt"
    blocks = [at.to_bytes(4, "big") * (BLOCK_BYTES // 4) for at in range(count)]
    leaves = [sha256(salt + block) for block in blocks]
    packs = [leaves[at : at + 128] for at in range(0, count, 128)]
    middle = [sha256(salt + b"".join(pack).ljust(BLOCK_BYTES, b"\0")) for pack in packs]
    top = sha256(salt + b"".join(middle).ljust(BLOCK_BYTES, b"\0"))
    expected = leaves[0] if count == 1 else middle[0] if count <= 128 else top
    assert verity_root(blocks, salt=salt) == expected


def test_what_is_no_image_has_no_root() -> None:
    for blocks, salt in (([], b""), ([b"x"], b""), ([bytes(BLOCK_BYTES)], bytes(257))):
        with pytest.raises(ValueError, match=r"block|salt"):
            verity_root(blocks, salt=salt)


@pytest.mark.parametrize(
    ("line", "root"),
    [
        (f"quiet roothash={ROOT} ro", bytes.fromhex(ROOT)),
        (f"systemd.verity_root_hash={ROOT}", bytes.fromhex(ROOT)),
        (f"roothash={ROOT} roothash={'cd' * 32}", None),
        (f"myroothash={ROOT}", None),
        ("roothash=xyz", None),
        ("quiet", None),
    ],
)
def test_a_command_line_names_at_most_one_root(line: str, root: bytes | None) -> None:
    assert named_root(line) == root
