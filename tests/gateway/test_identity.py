"""The gateway's keys: made once, whole, for their owner alone."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bombyx.errors import SetupError
from gateway import identity
from gateway.identity import load_keys

NAMES = ("identity.key", "payer.key", "channel.key", "cluster.key")


def test_keys_stay_the_same_and_are_their_owners_alone(tmp_path: Path) -> None:
    first, second = load_keys(tmp_path), load_keys(tmp_path)
    assert first.gateway == second.gateway == first.identity.public_hex
    assert first.cluster == second.cluster
    assert first.payer.public_hex == second.payer.public_hex != first.gateway
    assert first.channel.public_key == second.channel.public_key
    for name in NAMES:
        assert (tmp_path / "gateway" / name).stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "gateway").iterdir()) == sorted(NAMES)


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(load_keys, [tmp_path] * 16))
    assert len({keys.gateway for keys in found}) == 1
    assert len({keys.cluster for keys in found}) == 1


def test_one_that_comes_second_takes_the_first_ones_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cluster.key"
    real = os.link

    def late(source: Path, target: Path) -> None:
        path.write_text("ab" * 32)
        path.chmod(0o600)
        real(source, target)

    monkeypatch.setattr(os, "link", late)
    assert identity._secret(path, 32) == b"\xab" * 32
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "mode"), [("", 0o600), ("xyz", 0o600), ("ab" * 31, 0o600), ("ab" * 32, 0o640)]
)
def test_torn_or_open_files_are_refused(tmp_path: Path, text: str, mode: int) -> None:
    load_keys(tmp_path)
    path = tmp_path / "gateway" / "identity.key"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(SetupError):
        load_keys(tmp_path)


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_links_are_refused(tmp_path: Path, target: str) -> None:
    load_keys(tmp_path)
    path = tmp_path / "gateway" / "identity.key"
    other = path.rename(tmp_path / "there")
    path.symlink_to(other.with_name(target))
    with pytest.raises(SetupError):
        load_keys(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot write"):
        load_keys(tmp_path / "file")
    assert "ab" not in repr(load_keys(tmp_path))[:40]
