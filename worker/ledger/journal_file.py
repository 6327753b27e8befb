"""The journal's SQLite file (SPEC 6.8): blocking, one thread, every commit on disk.

Terminal statements stay here until the gateway says what became of them, across restarts of the
worker; so does the keyset that a statement was signed under. What was billed and not yet paid is
summed up per gateway.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bombyx.errors import SetupError

_LOCK_SECONDS = 0.5
"""For a predecessor that is just closing the file."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS keyset (worker TEXT PRIMARY KEY, document BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS receipt (
    statement TEXT PRIMARY KEY, gateway TEXT NOT NULL, worker TEXT NOT NULL, boot TEXT NOT NULL,
    n INTEGER NOT NULL, at INTEGER NOT NULL, amount INTEGER NOT NULL, document BLOB NOT NULL,
    c TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS billed (gateway TEXT PRIMARY KEY, amount INTEGER NOT NULL) STRICT;
"""


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
    document: bytes
    c: str


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


Operation = Entry | KeysetEntry | Disposed


class JournalFile:
    """Opens or makes the file; raises `SetupError` when another worker holds it."""

    def __init__(self, path: Path) -> None:
        try:
            # Commits are explicit: they are groups.
            self._db = sqlite3.connect(path, isolation_level=None, timeout=_LOCK_SECONDS)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise SetupError(
                f"the worker's journal {path} cannot be opened ({error}): does another worker use "
                "this --state?"
            ) from None

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
                if isinstance(operation, KeysetEntry):
                    self._keep_keyset(operation)
                    continue
                change = (
                    self._keep(operation)
                    if isinstance(operation, Entry)
                    else self._dispose(operation)
                )
                changes[operation.gateway] = changes.get(operation.gateway, 0) + change
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return changes

    def _keep(self, one: Entry) -> int:
        known = (one.statement, one.gateway, one.worker, one.boot, one.n, one.at, one.amount)
        done = self._db.execute(
            "INSERT OR IGNORE INTO receipt VALUES (?,?,?,?,?,?,?,?,?)",
            (*known, one.document, one.c),
        )
        return one.amount if done.rowcount == 1 else 0

    def _keep_keyset(self, one: KeysetEntry) -> None:
        self._db.execute("INSERT OR IGNORE INTO keyset VALUES (?,?)", (one.worker, one.document))

    def _dispose(self, word: Disposed) -> int:
        """Delete a statement; what is owed for it moves to `billed` at most once."""
        found = self._db.execute(
            "DELETE FROM receipt WHERE statement = ? AND gateway = ? RETURNING amount, c",
            (word.statement, word.gateway),
        ).fetchone()
        if found is None:
            return 0
        amount = int(found[0])
        if not word.is_owed or word.winner_c == found[1]:
            return -amount
        self._db.execute(
            "INSERT INTO billed VALUES (?,?) ON CONFLICT (gateway) "
            "DO UPDATE SET amount = amount + excluded.amount",
            (word.gateway, amount),
        )
        return 0

    def receipts(self, gateway: str) -> list[Entry]:
        """What the gateway has not disposed of, oldest boot first, each in its order."""
        rows = self._db.execute(
            "SELECT statement, gateway, worker, boot, n, at, amount, document, c FROM receipt "
            "WHERE gateway = ? ORDER BY (SELECT MIN(at) FROM receipt AS r WHERE "
            "r.boot = receipt.boot), boot, n",
            (gateway,),
        )
        return [Entry(*row) for row in rows]

    def unpaid(self) -> dict[str, int]:
        """Per gateway: earned by undisposed and by billed statements, in nano."""
        rows = self._db.execute(
            "SELECT gateway, SUM(amount) FROM (SELECT gateway, amount FROM receipt UNION ALL "
            "SELECT gateway, amount FROM billed) GROUP BY gateway"
        )
        return dict(rows.fetchall())

    def keyset(self, worker: str) -> bytes | None:
        """The keyset document that receipts of this worker id were signed under."""
        row = self._db.execute("SELECT document FROM keyset WHERE worker = ?", (worker,)).fetchone()
        return None if row is None else bytes(row[0])

    def forget_keysets(self) -> None:
        """Drop keysets that no receipt needs any more."""
        self._db.execute("DELETE FROM keyset WHERE worker NOT IN (SELECT worker FROM receipt)")
