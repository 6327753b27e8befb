"""The committed code is what the committed sources compile to, and is known by its hash."""

from base64 import b64decode
from pathlib import Path

import pytest

from ton.codec.cells import parse_boc
from ton.contracts import FOLDER, artefact, payment_channel
from ton.contracts.build import CONTRACTS, DoesNotCompile, compile_contract

HASHES = {"payment_channel": "c5173e90998774a12823520a2b59d5ba1af3b90bb0c6b2433c31d53f135eb518"}
"""A new hash is another contract: wallets, gateways and registries have to hear of it."""


@pytest.mark.spec("7.1-a")
def test_the_code_has_the_hash_that_is_published() -> None:
    assert set(HASHES) == set(CONTRACTS)
    for name, expected in HASHES.items():
        made = artefact(name)
        assert made.code.hash.hex() == made.code_hash == expected
    assert payment_channel().hash.hex() == HASHES["payment_channel"]


def test_compiling_the_sources_gives_the_committed_code(node_modules: Path) -> None:
    for name in CONTRACTS:
        made = compile_contract(name)
        assert made["code_hash"] == HASHES[name]
        assert parse_boc(b64decode(made["code_boc"])).hash.hex() == HASHES[name]
        assert made["compiler"] == artefact(name).compiler


def test_what_does_not_compile_is_the_compilers_complaint(
    node_modules: Path, tmp_path: Path
) -> None:
    for source in FOLDER.glob("*.tolk"):
        (tmp_path / source.name).write_text(source.read_text().replace("fun close(", "fun open("))
    with pytest.raises(DoesNotCompile, match="close"):
        compile_contract("payment_channel", tmp_path)


def test_the_lock_file_pins_everything_by_hash_and_names_no_place() -> None:
    text = (FOLDER / "package-lock.json").read_text()
    assert "resolved" not in text
    assert text.count('"integrity": "sha512-') == text.count('"node_modules/')
