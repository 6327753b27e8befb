import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from bombyx.errors import SetupError
from worker.engine import smollm


def _pretend(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Pin a small file in place of the real one."""
    monkeypatch.setattr(smollm, "FILE_BYTES", len(content))
    monkeypatch.setattr(smollm, "FILE_SHA256", hashlib.sha256(content).hexdigest())


def test_a_whole_file_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, b"model")
    (tmp_path / smollm.FILE_NAME).write_bytes(b"model")
    steps: list[str] = []
    assert smollm.ensure_smollm2(tmp_path, steps.append) == tmp_path / smollm.FILE_NAME
    assert steps == []


def test_offline_it_says_what_to_do_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(SetupError, match="try again"):
        smollm.ensure_smollm2(tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_file_of_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, b"model")
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"inside/{smollm.FILE_NAME}", b"lodel")
    with pytest.raises(SetupError, match="hash"):
        smollm._unzip(wheel, tmp_path / "out")


def test_a_wheel_without_the_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(monkeypatch, b"model")
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("inside/other", b"model")
    with pytest.raises(SetupError, match="does not hold"):
        smollm._unzip(wheel, tmp_path / "out")
