"""The journal's SQLite file (SPEC 6.8, 21): blocking, one thread, every commit on disk.

Terminal statements stay here until the gateway says what became of them, across restarts of the
worker; so does the keyset that a statement was signed under. What was billed and not yet paid is
summed up per gateway.

Values are encrypted (`worker.sealing.cipher`); in the clear are only the names that rows are found
by: hash of the statement, gateway and worker, all of which the gateway knows.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bombyx.errors import SetupError
from worker.ledger.journal_schema import damaged, open_database, take_back
from worker.ledger.payout_books import NOTES, Payee, PayoutBooks, books_of, note_of
from worker.sealing.cipher import Cipher, Unreadable
from worker.sealing.port import SealingKey


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """The encrypted part of a statement's row."""

    boot: str
    n: int
    at: int
    amount: int
    document: bytes
    c: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A terminal statement's receipt; `statement` is its hash in hex, `amount` nano earned."""

    statement: str
    gateway: str
    worker: str
    boot: str
    n: int
    at: int
    amount: int
    document: bytes = field(repr=False)
    c: str

    def inside(self) -> bytes:
        """What of it is encrypted."""
        row = _Row(self.boot, self.n, self.at, self.amount, self.document, self.c)
        return msgspec.msgpack.encode(row)


@dataclass(frozen=True, slots=True)
class KeysetEntry:
    """A keyset's canonical bytes under its digest."""

    worker: str
    document: bytes


@dataclass(frozen=True, slots=True)
class Disposed:
    """A gateway's final word on a statement.

    `is_owed`: billed, or superseded. A superseded one is forgiven where `winner_c` is its own `c`:
    the gateway has shown the receipt that won in its place (SPEC 6.6).
    """

    statement: str
    gateway: str
    is_owed: bool
    winner_c: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """Nothing to keep: something is written, to see whether it can be."""


@dataclass(slots=True)
class Payment:
    """A step of the books of what a gateway pays; `after` is what came of it."""

    gateway: str
    step: Callable[[PayoutBooks], PayoutBooks]
    payee: Payee | None
    after: PayoutBooks = field(default_factory=PayoutBooks)


Operation = Entry | KeysetEntry | Disposed | Payment | Probe


class JournalFile:
    """Opens or makes the file; raises `SetupError` where it may not be used as it is."""

    def __init__(self, path: Path, key: SealingKey) -> None:
        self._path = path
        self._cipher = Cipher(key.key)
        self._db = open_database(path, key, self._cipher)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def apply(self, operations: Sequence[Operation]) -> dict[str, int]:
        """All of them in one commit; raises `sqlite3.Error` and then nothing is kept.

        Returns by how many nano each gateway's unpaid sum changed.
        """
        changes: dict[str, int] = {}
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for operation in operations:
                if isinstance(operation, Probe):
                    self.take_note("probe", "")
                    continue
                if isinstance(operation, KeysetEntry):
                    self._keep_keyset(operation)
                    continue
                if isinstance(operation, Payment):
                    change = self._pay(operation)
                elif isinstance(operation, Entry):
                    change = self._keep(operation)
                else:
                    change = self._dispose(operation)
                changes[operation.gateway] = changes.get(operation.gateway, 0) + change
            self._db.execute("COMMIT")
        except BaseException:
            take_back(self._db)
            raise
        return changes

    def _keep(self, one: Entry) -> int:
        sealed = self._cipher.seal(_of_receipt(one.statement, one.gateway), one.inside())
        done = self._db.execute(
            "INSERT OR IGNORE INTO receipt VALUES (?,?,?,?)",
            (one.statement, one.gateway, one.worker, sealed),
        )
        return one.amount if done.rowcount == 1 else 0

    def _keep_keyset(self, one: KeysetEntry) -> None:
        sealed = self._cipher.seal(_of_keyset(one.worker), one.document)
        self._db.execute("INSERT OR IGNORE INTO keyset VALUES (?,?)", (one.worker, sealed))

    def _dispose(self, word: Disposed) -> int:
        """Delete a statement; what is owed for it moves to `billed` at most once."""
        found = self._db.execute(
            "DELETE FROM receipt WHERE statement = ? AND gateway = ? RETURNING sealed",
            (word.statement, word.gateway),
        ).fetchone()
        if found is None:
            return 0
        row = self._row(word.statement, word.gateway, found[0])
        if not word.is_owed or word.winner_c == row.c:
            return -row.amount
        self._bill(word.gateway, self.billed(word.gateway) + row.amount)
        return 0

    def _bill(self, gateway: str, amount: int) -> None:
        sealed = self._cipher.seal(_of_billed(gateway), str(amount).encode())
        self._db.execute("INSERT OR REPLACE INTO billed VALUES (?,?)", (gateway, sealed))

    def _pay(self, one: Payment) -> int:
        """Take a step; what a voucher covers is billed no more."""
        before = self.books(one.gateway, one.payee)
        one.after = one.step(before)
        self.take_note(NOTES + one.gateway, note_of(one.after))
        change = one.after.earnings.billed - before.earnings.billed
        if change:
            self._bill(one.gateway, one.after.earnings.billed)
        return change

    def books(self, gateway: str, payee: Payee | None) -> PayoutBooks:
        """How a gateway pays, with what it has billed and not paid."""
        return books_of(self.note(NOTES + gateway), payee).billed(self.billed(gateway))

    def all_books(self, payee: Payee | None) -> dict[str, PayoutBooks]:
        """The same of every gateway that ever named a channel."""
        names = [name.removeprefix(NOTES) for name in self.notes(NOTES)]
        return {name: self.books(name, payee) for name in names}

    def receipts(self, gateway: str) -> list[Entry]:
        """What the gateway has not disposed of, oldest boot first, each in its order."""
        entries = list(self._entries("WHERE gateway = ?", gateway))
        oldest: dict[str, int] = {}
        for one in entries:
            oldest[one.boot] = min(one.at, oldest.get(one.boot, one.at))
        return sorted(entries, key=lambda one: (oldest[one.boot], one.boot, one.n))

    def count(self) -> int:
        """Statements that nobody has disposed of."""
        return int(self._db.execute("SELECT COUNT(*) FROM receipt").fetchone()[0])

    def unpaid(self) -> dict[str, int]:
        """Per gateway: earned by undisposed and by billed statements, in nano.

        Reads every value there is: raises `SetupError` where one is damaged.
        """
        sums: dict[str, int] = {}
        try:
            for one in self._entries(""):
                sums[one.gateway] = sums.get(one.gateway, 0) + one.amount
            for (gateway,) in self._db.execute("SELECT gateway FROM billed").fetchall():
                sums[gateway] = sums.get(gateway, 0) + self.billed(gateway)
        except sqlite3.DatabaseError as error:
            raise SetupError(damaged(self._path, str(error))) from None
        return sums

    def billed(self, gateway: str) -> int:
        """What a gateway has billed and not paid, in nano."""
        found = self._db.execute(
            "SELECT sealed FROM billed WHERE gateway = ?", (gateway,)
        ).fetchone()
        return 0 if found is None else int(self._open(_of_billed(gateway), found[0]))

    def keyset(self, worker: str) -> bytes | None:
        """The keyset document that receipts of this worker id were signed under."""
        row = self._db.execute("SELECT sealed FROM keyset WHERE worker = ?", (worker,)).fetchone()
        return None if row is None else self._open(_of_keyset(worker), row[0])

    def forget_keysets(self) -> None:
        """Drop keysets that no receipt needs any more."""
        self._db.execute("DELETE FROM keyset WHERE worker NOT IN (SELECT worker FROM receipt)")

    def note(self, name: str) -> str | None:
        """A word of the worker to its next process."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else self._open(f"meta/{name}", row[0]).decode()

    def take_note(self, name: str, value: str) -> None:
        """Keep such a word; raises `sqlite3.Error`."""
        sealed = self._cipher.seal(f"meta/{name}", value.encode())
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (name, sealed))

    def notes(self, prefix: str) -> dict[str, str]:
        """All notes whose names begin so; one that does not open is passed over."""
        rows = self._db.execute("SELECT name, value FROM meta").fetchall()
        found = {}
        for name, sealed in rows:
            if name.startswith(prefix):
                with contextlib.suppress(Unreadable):
                    found[name] = self._cipher.open(f"meta/{name}", sealed).decode()
        return found

    def take_notes(self, notes: Mapping[str, str | None]) -> None:
        """Keep several at once, and drop those that are None; raises `sqlite3.Error`."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for name, value in notes.items():
                if value is None:
                    self._db.execute("DELETE FROM meta WHERE name = ?", (name,))
                else:
                    self.take_note(name, value)
            self._db.execute("COMMIT")
        except BaseException:
            take_back(self._db)
            raise

    def _entries(self, where: str, *given: str) -> Iterator[Entry]:
        rows = self._db.execute(f"SELECT * FROM receipt {where}", given)  # noqa: S608 - ours
        for statement, gateway, worker, sealed in rows:
            row = self._row(statement, gateway, sealed)
            yield Entry(
                statement=statement,
                gateway=gateway,
                worker=worker,
                boot=row.boot,
                n=row.n,
                at=row.at,
                amount=row.amount,
                document=row.document,
                c=row.c,
            )

    def _row(self, statement: str, gateway: str, sealed: bytes) -> _Row:
        opened = self._open(_of_receipt(statement, gateway), sealed)
        return msgspec.msgpack.decode(opened, type=_Row)

    def _open(self, place: str, sealed: bytes) -> bytes:
        try:
            return self._cipher.open(place, sealed)
        except Unreadable:
            raise sqlite3.DatabaseError(f"the value of {place} does not open") from None


def _of_receipt(statement: str, gateway: str) -> str:
    return f"receipt/{statement}/{gateway}"


def _of_keyset(worker: str) -> str:
    return f"keyset/{worker}"


def _of_billed(gateway: str) -> str:
    return f"billed/{gateway}"
