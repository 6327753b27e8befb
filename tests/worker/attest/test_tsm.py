"""configfs-tsm as the kernel documents it; see `fake_tsm` for what is real in these tests."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bombyx.errors import AttestationError
from tests.worker.attest.fake_tsm import FakeTsm, running
from worker.attest import tsm
from worker.attest.tsm import ATTEMPTS, find_provider, get_report

ASKED = b"\x07" * 64
OTHER = b"\x08" * 64


def echo(data: bytes) -> tuple[bytes, bytes]:
    return b"quote of " + data, b""


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsm, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[FakeTsm]:
    with running(FakeTsm(tmp_path, "tdx_guest", echo)) as fake:
        yield fake


def others_write(tree: FakeTsm, *, into: str = "outblob", times: int = 1) -> None:
    """Just before the quoter opens an attribute, another process writes its own report data."""
    tree.before[into] = [lambda entry: tree.write(entry, "inblob", OTHER)] * times


def test_a_report_is_over_what_was_asked_and_nothing_stays_behind(tree: FakeTsm) -> None:
    found = get_report(ASKED, root=tree.root)
    assert (found.provider, found.report, found.certificates) == (
        "tdx_guest",
        b"quote of " + ASKED,
        b"",
    )
    assert tree.written == [("inblob", ASKED)]


def test_certificates_come_with_a_report_where_the_host_has_some(tmp_path: Path) -> None:
    with running(FakeTsm(tmp_path, "sev_guest", lambda data: (data, b"table"))) as tree:
        assert get_report(ASKED, root=tree.root).certificates == b"table"


@pytest.mark.parametrize("moment", ["outblob", "auxblob"])
def test_a_report_that_another_process_changed_is_never_taken(tree: FakeTsm, moment: str) -> None:
    others_write(tree, into=moment)
    assert get_report(ASKED, root=tree.root).report == b"quote of " + ASKED
    assert tree.written == [("inblob", ASKED)] * 2  # it asked again


def test_a_change_between_report_and_count_is_noticed(tree: FakeTsm) -> None:
    # The first opening of `generation` is the count before, the second the one after.
    tree.before["generation"] = [
        lambda _entry: None,
        lambda entry: tree.write(entry, "inblob", OTHER),
    ]
    assert get_report(ASKED, root=tree.root).report == b"quote of " + ASKED
    assert len(tree.written) == 2


def test_who_races_without_end_is_given_up_on(tree: FakeTsm) -> None:
    others_write(tree, times=ATTEMPTS)
    with pytest.raises(AttestationError, match="others keep changing"):
        get_report(ASKED, root=tree.root)
    assert len(tree.written) == ATTEMPTS


def test_a_host_that_throttles_is_asked_again(tree: FakeTsm) -> None:
    def throttle(_entry: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    tree.before["outblob"] = [throttle, throttle]
    assert get_report(ASKED, root=tree.root).report == b"quote of " + ASKED


def test_any_other_failure_of_the_driver_is_told_by_its_name(tree: FakeTsm) -> None:
    def fail(_entry: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    tree.before["outblob"] = [fail]
    with pytest.raises(AttestationError, match="configfs-tsm failed: Input/output error"):
        get_report(ASKED, root=tree.root)


@pytest.mark.parametrize("floor", [0, 2])
def test_a_guest_above_an_svsm_asks_for_the_level_that_it_has(tmp_path: Path, floor: int) -> None:
    with running(FakeTsm(tmp_path, "sev_guest", echo, floor=floor)) as tree:
        assert get_report(ASKED, root=tree.root).report == b"quote of " + ASKED
        assert tree.written == [("privlevel", b"2")] * bool(floor) + [("inblob", ASKED)]


def test_an_empty_report_is_none(tmp_path: Path) -> None:
    tree = FakeTsm(tmp_path, "tdx_guest", lambda _: (b"", b""))
    with running(tree), pytest.raises(AttestationError, match="empty"):
        get_report(ASKED, root=tmp_path)


def test_a_report_without_end_is_cut_short(tmp_path: Path) -> None:
    endless = bytes(tsm.MAX_BLOB_BYTES + 1)
    tree = FakeTsm(tmp_path, "tdx_guest", lambda _: (endless, b""))
    with running(tree), pytest.raises(AttestationError, match="longer"):
        get_report(ASKED, root=tmp_path)


def test_a_count_that_is_none_is_refused(tree: FakeTsm) -> None:
    tree.before["generation"] = [lambda entry: _spoil(entry / "generation")]
    with pytest.raises(AttestationError, match="generation is no number"):
        get_report(ASKED, root=tree.root)


def _spoil(path: Path) -> None:
    path.write_text("²")


def test_the_driver_is_found_without_asking_for_a_report(tree: FakeTsm) -> None:
    assert find_provider(tree.root) == "tdx_guest"
    assert tree.written == []


def test_the_folder_alone_is_no_tee(tmp_path: Path) -> None:
    tree = FakeTsm(tmp_path, "tdx_guest", echo, has_tee=False)
    with running(tree), pytest.raises(AttestationError, match="no TEE behind it"):
        find_provider(tmp_path)


def test_without_the_folder_there_is_no_interface(tmp_path: Path) -> None:
    with pytest.raises(AttestationError, match="no configfs-tsm at"):
        get_report(ASKED, root=tmp_path / "absent")


def test_a_user_who_may_not_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(AttestationError, match="may not be used by this user"):
        find_provider(tmp_path)


def test_a_write_that_the_kernel_refuses_for_now_is_tried_again(tree: FakeTsm) -> None:
    calls: list[int] = []
    real = os.write

    def throttled(file: int, data: bytes) -> int:
        calls.append(file)
        if len(calls) == 1:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return real(file, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", throttled)
        assert get_report(ASKED, root=tree.root).report == b"quote of " + ASKED
    assert len(calls) == 2


def test_a_write_that_is_taken_in_part_is_no_request(tree: FakeTsm) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda _file, data: len(data) - 1)
        with pytest.raises(AttestationError, match="only a part of inblob"):
            get_report(ASKED, root=tree.root)


def test_report_data_has_64_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        get_report(b"short", root=tmp_path)
