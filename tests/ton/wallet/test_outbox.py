"""The outbox in a file."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bombyx.errors import SetupError
from tests.ton.wallet.fixtures import OWN
from tests.ton.wallet.outbox_contract import EVERYTHING, OutboxContract, batch
from ton.wallet.errors import WalletBusy
from ton.wallet.outbox import Outbox, State
from ton.wallet.sqlite_outbox import SqliteOutbox


class TestSqliteOutbox(OutboxContract):
    """See there."""

    @pytest.fixture
    def box(self, tmp_path: Path) -> Iterator[Outbox]:
        opened = SqliteOutbox(tmp_path / "outbox.db", source=OWN)
        yield opened
        opened.close()


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        box = SqliteOutbox(tmp_path / "outbox.db", source=OWN)
        order = await box.put("one", EVERYTHING)
        await box.sign(batch(0, "one"))
        box.close()
    assert order.state is State.SIGNED


def test_a_file_is_one_process_s(tmp_path: Path) -> None:
    box = SqliteOutbox(tmp_path / "outbox.db", source=OWN)
    with pytest.raises(WalletBusy):
        SqliteOutbox(tmp_path / "outbox.db", source=OWN)
    box.close()


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, whatever its name says" * 50)
    with pytest.raises(SetupError, match="no outbox"):
        SqliteOutbox(tmp_path / "text", source=OWN)
    with pytest.raises(SetupError, match="cannot open"):
        SqliteOutbox(tmp_path / "no" / "folder", source=OWN)
    later = sqlite3.connect(tmp_path / "later.db")
    later.execute("PRAGMA user_version = 9")
    later.close()
    with pytest.raises(SetupError, match="version 9"):
        SqliteOutbox(tmp_path / "later.db", source=OWN)


async def test_a_write_that_fails_is_undone(tmp_path: Path) -> None:
    box = SqliteOutbox(tmp_path / "outbox.db", source=OWN)
    await box.put("a", EVERYTHING)
    await box.sign(batch(0, "a"))
    await box.expire(batch(0, "a"))
    with pytest.raises(sqlite3.IntegrityError):
        await box.sign(batch(0, "a"))
    order = await box.get("a")
    assert order is not None
    assert order.state is State.QUEUED
    box.close()
