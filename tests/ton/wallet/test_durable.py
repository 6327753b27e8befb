"""A file is there whole or not at all, and never in another's place."""

from pathlib import Path

import pytest

from ton.wallet.durable import drafted, write_new


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_new(path, b"first")
    write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_no_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="exists"):
        write_new(tmp_path / "file" / "key", b"key")


def test_a_draft_that_got_no_name_is_gone(tmp_path: Path) -> None:
    with drafted(tmp_path / "file", b"data") as draft:
        assert draft.read_bytes() == b"data"
        assert draft.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
