import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bombyx.errors import SetupError
from tests.bombyx.attestation.world import NOW
from worker.attest.simulated_root import (
    NAME,
    SimulatedRoot,
    load_or_create_root,
    load_root,
    root_sha256,
    save_root,
)


def test_a_saved_root_is_the_same_root(tmp_path: Path) -> None:
    root = SimulatedRoot.create(now=NOW)
    save_root(root, tmp_path / "root.pem")
    loaded = load_root(tmp_path / "root.pem")
    assert (loaded.der, root_sha256(loaded)) == (root.der, root_sha256(root))
    assert loaded.authority.key.private_numbers() == root.authority.key.private_numbers()
    assert stat.S_IMODE((tmp_path / "root.pem").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["root.pem"]


def test_a_root_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    save_root(SimulatedRoot.create(now=NOW), path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        save_root(SimulatedRoot.create(now=NOW), path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["root.pem"]


def test_workers_that_start_together_share_one_root(tmp_path: Path) -> None:
    def start(_: int) -> str:
        return root_sha256(load_or_create_root(tmp_path / "root.pem", now=NOW))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(16)))) == 1


def test_a_root_says_what_it_is_and_hides_its_key() -> None:
    root = SimulatedRoot.create(now=NOW)
    assert NAME == "SIMULATED NOT INTEL Root CA"
    assert NAME in root.authority.certificate.subject.rfc4514_string()
    secret = root.authority.key.private_numbers().private_value
    assert str(secret) not in repr(root) + repr(root.authority)


def _broken(text: bytes, mode: int, path: Path) -> Path:
    path.write_bytes(text)
    path.chmod(mode)
    return path


def test_a_missing_broken_or_open_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot read"):
        load_root(tmp_path / "none.pem")
    with pytest.raises(SetupError, match="holds no simulated root"):
        load_root(_broken(b"junk", 0o600, tmp_path / "junk.pem"))
    save_root(SimulatedRoot.create(now=NOW), tmp_path / "open.pem")
    (tmp_path / "open.pem").chmod(0o644)
    with pytest.raises(SetupError, match="chmod 600"):
        load_root(tmp_path / "open.pem")


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    texts = []
    for name in ("a.pem", "b.pem"):
        save_root(SimulatedRoot.create(now=NOW), tmp_path / name)
        texts.append((tmp_path / name).read_bytes())
    marker = b"-----BEGIN CERTIFICATE-----"
    mixed = texts[0].partition(marker)[0] + marker + texts[1].partition(marker)[2]
    with pytest.raises(SetupError, match="do not belong together"):
        load_root(_broken(mixed, 0o600, tmp_path / "mixed.pem"))
