"""Mnemonics and seeds, against what other wallets make of them."""

from pathlib import Path

import pytest
from ton_core import NetworkGlobalID
from tonutils.clients import ToncenterClient
from tonutils.contracts import WalletV5R1

from ton.settings import MAINNET, TESTNET
from ton.wallet import keys, w5
from ton.wallet.errors import WalletKeyRefused
from ton.wallet.keys import WalletKey, key_of_words, new_words, read_key, read_or_create_key


def written(folder: Path, data: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "wallet.key"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)
    return path


@pytest.mark.parametrize("network", [NetworkGlobalID.MAINNET, NetworkGlobalID.TESTNET])
def test_words_give_the_key_and_address_of_other_wallets(network: NetworkGlobalID) -> None:
    words = new_words()
    client = ToncenterClient(network, base_url="http://127.0.0.1:9/api/v2")
    theirs, public, *_ = WalletV5R1.from_mnemonic(client, words.split())
    ours = key_of_words(words)
    assert ours.public_key == public.as_bytes
    address = w5.wallet_address(ours.public_key, network=int(network))
    assert address.hash_part == theirs.address.hash_part


def test_ids_of_wallets_are_those_of_the_public_networks() -> None:
    assert w5.wallet_id(MAINNET) == 2147483409
    assert w5.wallet_id(TESTNET) == 2147483645


def test_the_code_is_the_published_one() -> None:
    published = "20834b7b72b112147e1b2fb457b84e74d1a30f04f737d4f62a668e9552d2b72f"
    assert w5.wallet_code().hash.hex() == published


def test_a_new_key_is_kept_as_words_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "wallet.key"
    key = read_or_create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text().split()) == keys.WORDS
    assert read_or_create_key(path).public_key == key.public_key
    assert repr(key).count(key.public_key.hex()[:16]) == 1
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("data", [b"\x07" * 32, "07" * 32, "07" * 32 + "\n"])
def test_a_seed_is_taken_as_bytes_or_hex(tmp_path: Path, data: str | bytes) -> None:
    assert read_key(written(tmp_path, data)).public_key == WalletKey(b"\x07" * 32).public_key


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("07" * 31, "a seed is 32 bytes|seed"),
        ("", "seed"),
        ("not hex", "24 words, not 2"),
        (b"\xff" * 40, "neither 24 words nor a seed"),
        ("zz" * 32, "neither 24 words nor a seed"),
        ("abandon " * 23 + "bombyx", "word 24 of the mnemonic"),
        ("abandon " * 24, "no TON mnemonic"),
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(
    tmp_path: Path, data: str | bytes, reason: str
) -> None:
    with pytest.raises(WalletKeyRefused, match=reason) as refused:
        read_key(written(tmp_path, data))
    assert "abandon" not in refused.value.message


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WalletKeyRefused, match="chmod 600"):
        read_key(written(tmp_path, "07" * 32, mode=0o640))
    link = tmp_path / "link"
    link.symlink_to(written(tmp_path, "07" * 32))
    with pytest.raises(WalletKeyRefused):
        read_key(link)
    with pytest.raises(WalletKeyRefused, match="cannot read"):
        read_key(tmp_path / "nothing")


@pytest.mark.parametrize("between", ["\n", "\r\n", "\t", "  "])
def test_words_are_read_however_they_are_spaced(tmp_path: Path, between: str) -> None:
    words = new_words()
    spaced = written(tmp_path, between.join(words.split()) + "\n")
    assert read_key(spaced).public_key == key_of_words(words).public_key
