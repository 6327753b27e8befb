"""SPEC 6.8: on disk before it is sent, there until disposed of, the same bytes ever after."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from bombyx.errors import JournalFailed, SetupError
from tests.worker.ledger.samples import (
    GATEWAY,
    OTHER_GATEWAY,
    document,
    make_receipt,
    make_scribe,
    word,
)
from worker.ledger import journal as journal_module
from worker.ledger.journal import Journal
from worker.ledger.journal_file import Entry, KeysetEntry


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = await Journal.open(tmp_path / "journal.db")
    yield journal
    await journal.close()


async def test_a_receipt_is_readable_by_the_next_process_once_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = await Journal.open(path)
    receipt = make_receipt(make_scribe())
    await first.keep(receipt, document(receipt))
    await first.close()
    second = await Journal.open(path)
    (entry,) = await second.undisposed(GATEWAY)
    assert entry.document == document(receipt)
    assert second.unpaid(GATEWAY) == int(receipt.statement.amount_nano)
    await second.close()


async def test_every_commit_is_synced(journal: Journal) -> None:
    def pragmas() -> tuple[str, int]:
        database = journal._file._db
        mode = database.execute("PRAGMA journal_mode").fetchone()[0]
        return mode, database.execute("PRAGMA synchronous").fetchone()[0]

    assert await journal._call(pragmas) == ("wal", 2)


async def test_a_second_worker_on_the_same_state_is_refused(
    journal: Journal, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match="another worker"):
        await Journal.open(tmp_path / "journal.db")
    assert await journal.undisposed(GATEWAY) == []


@pytest.mark.spec("6.8-b")
async def test_only_a_disposition_of_its_gateway_deletes(journal: Journal) -> None:
    mine, other = make_scribe(), make_scribe(OTHER_GATEWAY)
    receipts = [make_receipt(mine, 1), make_receipt(mine, 2), make_receipt(other, 3)]
    for receipt in receipts:
        await journal.keep(receipt, document(receipt))
    await journal.dispose(GATEWAY, [word(receipts[0]), word(receipts[2])])
    assert [one.n for one in await journal.undisposed(GATEWAY)] == [1]
    assert [one.n for one in await journal.undisposed(OTHER_GATEWAY)] == [0]


async def test_billed_stays_unpaid_and_the_rest_is_written_off(journal: Journal) -> None:
    scribe = make_scribe()
    receipts = [make_receipt(scribe, number) for number in range(3)]
    amount = int(receipts[0].statement.amount_nano)
    for receipt in receipts:
        await journal.keep(receipt, document(receipt))
    assert journal.unpaid(GATEWAY) == 3 * amount
    other = make_receipt(make_scribe(boot="cc" * 16), 1)
    proved = word(receipts[1], "superseded", winner=other)
    await journal.dispose(GATEWAY, [word(receipts[0]), proved])
    assert journal.unpaid(GATEWAY) == 2 * amount
    await journal.dispose(GATEWAY, [word(receipts[0]), word(receipts[2], "expired")])
    assert journal.unpaid(GATEWAY) == amount
    assert await journal._call(journal._file.unpaid) == {GATEWAY: amount}


@pytest.mark.spec("6.6-b")
@pytest.mark.parametrize("proof", ["none", "another request's winner", "its own receipt"])
async def test_superseded_without_proof_stays_owed(journal: Journal, proof: str) -> None:
    mine = make_receipt(make_scribe(), 1)
    await journal.keep(mine, document(mine))
    foreign = make_receipt(make_scribe(boot="cc" * 16), 2)
    shown = {"another request's winner": foreign, "its own receipt": mine}.get(proof, UNSET)
    await journal.dispose(GATEWAY, [word(mine, "superseded", winner=shown)])
    assert await journal.undisposed(GATEWAY) == []
    assert journal.unpaid(GATEWAY) == int(mine.statement.amount_nano)


async def test_keeping_twice_counts_once(journal: Journal) -> None:
    receipt = make_receipt(make_scribe())
    await asyncio.gather(*(journal.keep(receipt, document(receipt)) for _ in range(3)))
    assert len(await journal.undisposed(GATEWAY)) == 1
    assert journal.unpaid(GATEWAY) == int(receipt.statement.amount_nano)


async def test_what_comes_together_is_committed_together(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    apply = journal._file.apply

    def counted(operations: list[object]) -> dict[str, int]:
        sizes.append(len(operations))
        return apply(operations)  # type: ignore[arg-type]

    monkeypatch.setattr(journal._file, "apply", counted)
    scribe = make_scribe()
    receipts = [make_receipt(scribe, number) for number in range(20)]
    await asyncio.gather(*(journal.keep(receipt, document(receipt)) for receipt in receipts))
    assert sum(sizes) == 20
    assert len(sizes) <= 2


async def test_older_boots_come_first_each_in_its_order(journal: Journal) -> None:
    for boot in ("ff" * 16, "11" * 16):
        scribe = make_scribe(boot=boot)
        for number in range(2):
            receipt = make_receipt(scribe, number)
            await journal.keep(receipt, document(receipt))
    assert [one.n for one in await journal.undisposed(GATEWAY)] == [0, 1, 0, 1]


async def test_a_keyset_is_kept_as_long_as_a_receipt_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = await Journal.open(path)
    receipt = make_receipt(make_scribe())
    await first._submit(KeysetEntry(receipt.statement.worker, b"keyset"))
    await first._submit(KeysetEntry("ee" * 32, b"unused"))
    await first.keep(receipt, document(receipt))
    await first.close()
    second = await Journal.open(path)
    assert await second.keyset(receipt.statement.worker) == b"keyset"
    assert await second.keyset("ee" * 32) is None
    await second.close()


async def test_a_disk_that_fails_is_told_to_who_waits(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> dict[str, int]:
        raise sqlite3.OperationalError("database or disk is full")

    receipt = make_receipt(make_scribe())
    with monkeypatch.context() as patch:
        patch.setattr(journal._file, "apply", full)
        patch.setattr(journal_module, "PATIENCE_SECONDS", 0.05)
        patch.setattr(journal_module, "RETRY_SECONDS", 0.02)
        with pytest.raises(JournalFailed):
            await journal.keep(receipt, document(receipt))
        assert "full" in (journal.trouble or "")
    await journal.keep(receipt, document(receipt))
    assert len(await journal.undisposed(GATEWAY)) == 1


class TakenBack:
    """A database on a full disk: SQLite ends the transaction itself, before anybody can."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)

    def execute(self, statement: str, *given: Any) -> sqlite3.Cursor:
        if statement != "COMMIT":
            return self._database.execute(statement, *given)
        self._database.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")


async def test_a_full_disk_is_waited_for_where_sqlite_has_taken_the_commit_back(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0.01)
    receipt, file = make_receipt(make_scribe()), journal._file
    before = file._db
    file._db = TakenBack(before)  # type: ignore[assignment]
    keeping = asyncio.create_task(journal.keep(receipt, document(receipt)))
    async with asyncio.timeout(5):
        while journal.trouble is None:
            await asyncio.sleep(0.01)
    assert "database or disk is full" in journal.trouble
    with pytest.raises(sqlite3.Error, match="is full"):
        await journal._call(lambda: file.take_notes({"a": "b"}))
    file._db = before
    await asyncio.wait_for(keeping, 5)
    assert [one.statement for one in await journal.undisposed(GATEWAY)] != []


async def test_a_failed_commit_keeps_nothing_of_it(journal: Journal) -> None:
    receipt = make_receipt(make_scribe())
    bad: object = object()

    def half() -> None:
        entry = Entry("x", GATEWAY, "w", "b", 0, 0, 1, b"d", "c")
        broken = Entry("y", GATEWAY, bad, "b", 0, 0, 1, b"d", "c")  # type: ignore[arg-type]
        journal._file.apply([entry, broken])

    with pytest.raises(sqlite3.Error):
        await journal._call(half)
    assert await journal.undisposed(GATEWAY) == []
    await journal.keep(receipt, document(receipt))


async def test_who_is_cancelled_while_waiting_still_keeps(journal: Journal) -> None:
    receipt = make_receipt(make_scribe())
    keeping = asyncio.create_task(journal.keep(receipt, document(receipt)))
    await asyncio.sleep(0)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    other = make_receipt(make_scribe(), 7)
    await journal.keep(other, document(other))
    assert len(await journal.undisposed(GATEWAY)) == 2


@pytest.mark.parametrize(
    ("table", "ask"),
    [
        ("billed", lambda one: one.billed(GATEWAY)),
        ("receipt", lambda one: one.waiting()),
        ("receipt", lambda one: one.undisposed(GATEWAY)),
        ("keyset", lambda one: one.keyset("ab" * 32)),
        ("meta", lambda one: one.kept_payout()),
        ("meta", lambda one: one.payout("unset")),
        ("meta", lambda one: one.payout("wallet:1")),
        ("meta", lambda one: one.all_books(None)),
    ],
)
async def test_whatever_cannot_be_read_or_written_is_a_journal_that_failed(
    journal: Journal, table: str, ask: Callable[[Journal], Awaitable[object]]
) -> None:
    await journal._call(lambda: journal._file._db.execute(f"DROP TABLE {table}"))
    with pytest.raises(JournalFailed, match=f"no such table.*{table}"):
        await ask(journal)
