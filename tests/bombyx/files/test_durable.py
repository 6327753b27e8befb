"""A file is there whole or not at all, for its owner alone, and lasts once the call is over."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bombyx.files.durable import drafted, replace_durably, sync_folder, write_new

WRITERS = (replace_durably, write_new)
Write = Callable[[Path, bytes], None]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reaches the disk, in its order."""
    seen: list[str] = []

    def watch(owner: object, name: str, told: str) -> None:
        real = getattr(owner, name)

        def watched(*arguments: object) -> object:
            seen.append(told)
            return real(*arguments)

        monkeypatch.setattr(owner, name, watched)

    watch(os, "fsync", "fsync")
    watch(os, "link", "name")
    watch(Path, "replace", "name")
    return seen


@pytest.mark.parametrize("write", WRITERS)
def test_data_is_on_disk_before_its_name_and_the_name_after_it(
    tmp_path: Path, steps: list[str], write: Write
) -> None:
    write(tmp_path / "file", b"data")
    assert steps == ["fsync", "name", "fsync"]


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path, write: Write) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "file", b"data")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("write", WRITERS)
def test_a_write_that_was_cut_off_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    def cut(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    replace_durably(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cut)
        with pytest.raises(OSError, match="No space left"):
            write(path, b"new")
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path / "none", b"new")
    assert path.read_bytes() == b"old"
    assert not (tmp_path / "none").exists()


# --- In the place of an older one ---


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"first, and longer", b"second"):
        replace_durably(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "file"
    target.write_bytes(b"theirs")
    path.symlink_to(target)
    replace_durably(path, b"ours")
    assert not path.is_symlink()
    assert (path.read_bytes(), target.read_bytes()) == (b"ours", b"theirs")


@pytest.mark.parametrize("place", [Path.symlink_to, Path.hardlink_to])
def test_nothing_is_written_through_a_draft_that_is_a_link(
    tmp_path: Path, place: Callable[[Path, Path], None]
) -> None:
    target, path = tmp_path / "target", tmp_path / "file"
    target.write_bytes(b"theirs")
    target.chmod(0o644)
    place(tmp_path / ".file.new", target)
    replace_durably(path, b"ours")
    assert (path.read_bytes(), target.read_bytes()) == (b"ours", b"theirs")
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "target"]


def test_a_draft_of_a_killed_writer_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"half of something long")
    replace_durably(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


# --- Where there is none ---


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_new(path, b"first")
    write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_link_that_is_there_stays_also_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.symlink_to(tmp_path / "nowhere")
    write_new(path, b"data")
    assert path.is_symlink()
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_at_once_one_is_first(tmp_path: Path) -> None:
    path = tmp_path / "file"
    all_data = [bytes([number]) * 1000 for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: write_new(path, data), all_data))
    assert path.read_bytes() in all_data
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_no_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="exists"):
        write_new(tmp_path / "file" / "key", b"key")


# --- Their parts ---


def test_a_draft_that_got_no_name_is_gone(tmp_path: Path) -> None:
    with drafted(tmp_path / "file", b"data") as draft:
        assert draft.read_bytes() == b"data"
        assert draft.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_draft_that_could_not_be_named_is_gone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(OSError, match="directory"),
        drafted(tmp_path / "folder", b"data") as draft,
    ):
        draft.replace(tmp_path / "folder")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        replace_durably(tmp_path / "absent" / "file", b"data")


def test_where_folders_cannot_be_opened_none_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = tmp_path / "absent"
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        sync_folder(absent)
