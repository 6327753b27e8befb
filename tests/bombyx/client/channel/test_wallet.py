"""A broken channel's folder hides no other, and is told of (SPEC 7.9)."""

import logging
from pathlib import Path

import pytest

from bombyx.client.channel.marks import CLOSED, clear_mark, is_marked, set_mark
from bombyx.client.channel.wallet import Wallet, channel_folders, named_folders, survey
from bombyx.errors import SetupError
from tests.bombyx.client.channel.conftest import CAPS, PAYER
from tests.bombyx.client.conftest import Clock
from tests.factories import GATEWAY, hex_of

ORIGIN = "http://gateway"
RECORD, BOOKS = "channel.json", "books.json"


def broken_copy(funded: Path, name: str, *files: str) -> Path:
    """A channel like this one, with files that are cut off."""
    folder = funded.with_name(name)
    folder.mkdir()
    for file in (RECORD, BOOKS):
        folder.joinpath(file).write_bytes(b"{" if file in files else (funded / file).read_bytes())
    return folder


@pytest.mark.parametrize("files", [(RECORD,), (BOOKS,), (RECORD, BOOKS)])
def test_a_broken_channel_hides_no_other_and_is_told_of_once(
    funded: Path, root: Path, clock: Clock, caplog: pytest.LogCaptureFixture, files: tuple[str]
) -> None:
    broken = broken_copy(funded, "00" * 32, *files)
    wallet = Wallet(root, CAPS, clock=clock)
    with caplog.at_level(logging.WARNING):
        found = wallet.find(GATEWAY.public_hex, PAYER)
        assert wallet.find(hex_of("another"), PAYER) is None
        assert wallet.open_for(ORIGIN) == [found]
    assert found is not None
    assert found.store.folder == funded
    (record,) = caplog.records
    assert "is left out" in record.getMessage()
    assert channel_folders(root) == [funded]
    assert [one.folder for one in survey(named_folders(root)).broken] == [broken]
    wallet.close()


def test_a_request_is_not_billed_elsewhere_because_its_channel_is_broken(
    funded: Path, root: Path, clock: Clock
) -> None:
    (funded / BOOKS).write_bytes(b"{")
    wallet = Wallet(root, CAPS, clock=clock)
    with pytest.raises(SetupError, match="are broken"):
        wallet.find(GATEWAY.public_hex, PAYER)
    with pytest.raises(SetupError, match="are broken"):
        wallet.open_for(ORIGIN)
    assert wallet.find(hex_of("another"), PAYER) is None
    assert wallet.open_for("http://another") == []
    set_mark(funded, CLOSED)
    assert wallet.find(GATEWAY.public_hex, PAYER) is None


def test_a_name_chooses_before_anything_is_read(funded: Path, root: Path) -> None:
    broken_copy(funded, "00" * 32, RECORD)
    assert named_folders(root, funded.name[:6]) == [funded]
    assert named_folders(root, "0000") == [root / ("00" * 32)]
    assert named_folders(root, "xyz") == []


def test_a_mark_is_set_and_cleared_and_a_disk_that_refuses_is_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        set_mark(tmp_path, CLOSED)
        assert is_marked(tmp_path, CLOSED)
    for _ in range(2):
        clear_mark(tmp_path, CLOSED)
        assert not is_marked(tmp_path, CLOSED)
    with pytest.raises(SetupError, match="cannot be written"):
        set_mark(tmp_path / "absent", CLOSED)
    with pytest.raises(SetupError, match="cannot be removed"):
        clear_mark(tmp_path / "absent", CLOSED)
