"""A whole TPM in software seals the journal's key to what booted, and counts (SPEC 21)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bombyx.errors import SetupError
from tests.worker.attest.software_tpm import SoftwareTpm, needs_swtpm, software_tpm
from worker.ledger.journal import Journal
from worker.sealing.tpm_key import TpmSealing

pytestmark = needs_swtpm


def _copy(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


@pytest.fixture(scope="module")
def tpm() -> Iterator[SoftwareTpm]:
    with software_tpm() as one:
        yield one


async def test_the_key_comes_back_and_is_not_in_the_file(tpm: SoftwareTpm, tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    first = await TpmSealing(tpm.path).key(journal)
    await TpmSealing(tpm.path).used(journal)
    again = await TpmSealing(tpm.path).key(journal)
    assert (len(first.key), first.was_used) == (32, False)
    assert (again.key, again.was_used) == (first.key, True)
    file = tmp_path / "journal.tpm"
    assert file.stat().st_mode & 0o777 == 0o600
    assert first.key.hex() not in file.read_text()
    assert (await TpmSealing(tpm.path).key(tmp_path / "other.db")).key != first.key


async def test_a_counter_only_goes_up(tpm: SoftwareTpm, tmp_path: Path) -> None:
    counter = (await TpmSealing(tpm.path).key(tmp_path / "journal.db")).counter
    assert counter is not None
    before = counter.read()
    assert [counter.raise_once(), counter.raise_once()] == [before + 1, before + 2]
    assert counter.read() == before + 2
    other = (await TpmSealing(tpm.path).key(tmp_path / "other.db")).counter
    assert other is not None
    other.raise_once()
    assert counter.read() == before + 2, "each state folder has a counter of its own"


@pytest.mark.spec("21-b")
async def test_an_old_copy_of_the_whole_folder_is_noticed(tpm: SoftwareTpm, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await Journal.open(path, TpmSealing(tpm.path))
    assert (journal.rollback.verdict, journal.sealed_by) == ("none", "vtpm")
    await journal.close()
    copy = _copy(tmp_path)
    journal = await Journal.open(path, TpmSealing(tpm.path))
    assert journal.rollback.verdict == "none"
    await journal.close()
    for name, data in copy.items():
        (tmp_path / name).write_bytes(data)
    journal = await Journal.open(path, TpmSealing(tpm.path))
    assert journal.rollback.verdict == "noticed"
    await journal.close()


@pytest.mark.spec("21-a")
async def test_another_tpm_and_another_boot_open_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with software_tpm() as mine, software_tpm() as other:
        await (await Journal.open(path, TpmSealing(mine.path))).close()
        with pytest.raises(SetupError, match=r"does not open .*journal\.tpm .*another TPM's"):
            await Journal.open(path, TpmSealing(other.path))
        await (await Journal.open(path, TpmSealing(mine.path))).close()
        mine.extend(10, b"\1" * 32)  # what the running system measures changes nothing
        await (await Journal.open(path, TpmSealing(mine.path))).close()
        mine.extend(8, b"\1" * 32)
        with pytest.raises(SetupError, match=r"booted something else since.*move both"):
            await Journal.open(path, TpmSealing(mine.path))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"private": "zz", "public": "", "counter": 1}'])
async def test_a_damaged_file_is_named(tpm: SoftwareTpm, tmp_path: Path, text: str) -> None:
    (tmp_path / "journal.tpm").write_text(text)
    with pytest.raises(SetupError, match=r"journal\.tpm is damaged.*bring back its copy"):
        await TpmSealing(tpm.path).key(tmp_path / "journal.db")


async def test_a_journal_that_vanished_is_missed(tpm: SoftwareTpm, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await (await Journal.open(path, TpmSealing(tpm.path))).close()
    path.unlink()
    with pytest.raises(SetupError, match="is gone and its key is here"):
        await Journal.open(path, TpmSealing(tpm.path))


async def test_a_tpm_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"the TPM at .*no-tpm cannot be used"):
        await TpmSealing(tmp_path / "no-tpm").key(tmp_path / "journal.db")
