"""What happened on the devnet, in SQLite: blocks and the transactions in them, nothing else.

An account is what its last transaction left, so going back is deleting blocks. A block is written
whole or not at all; WAL survives a kill at any moment. One thread uses a log at a time.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bombyx.errors import SetupError

VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (
    seqno INTEGER PRIMARY KEY, utime INTEGER NOT NULL, minted TEXT NOT NULL, fees TEXT NOT NULL
);
CREATE TABLE transactions (
    account TEXT NOT NULL, lt INTEGER NOT NULL, hash BLOB NOT NULL UNIQUE, block INTEGER NOT NULL,
    utime INTEGER NOT NULL, trace BLOB NOT NULL, parent BLOB, in_hash BLOB NOT NULL,
    in_norm BLOB NOT NULL, boc BLOB NOT NULL, before BLOB NOT NULL, after BLOB NOT NULL,
    PRIMARY KEY (account, lt)
) WITHOUT ROWID;
CREATE INDEX transactions_block ON transactions (block);
CREATE INDEX transactions_lt ON transactions (lt);
CREATE INDEX transactions_trace ON transactions (trace);
CREATE INDEX transactions_in_hash ON transactions (in_hash);
CREATE INDEX transactions_in_norm ON transactions (in_norm);
CREATE TABLE messages (
    hash BLOB NOT NULL, norm BLOB NOT NULL, source TEXT, destination TEXT, lt INTEGER NOT NULL,
    op INTEGER, block INTEGER NOT NULL, sent_by BLOB, received_by BLOB, boc BLOB NOT NULL,
    PRIMARY KEY (hash, lt)
) WITHOUT ROWID;
CREATE INDEX messages_block ON messages (block);
CREATE INDEX messages_norm ON messages (norm);
CREATE INDEX messages_source ON messages (source, lt);
CREATE INDEX messages_destination ON messages (destination, lt);
CREATE INDEX messages_lt ON messages (lt);
"""
_COLUMNS: Final = (
    "account, lt, hash, block, utime, trace, parent, in_hash, in_norm, boc, before, after"
)
_MESSAGE_COLUMNS: Final = (
    "hash, norm, source, destination, lt, op, block, sent_by, received_by, boc"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction: its bag of cells, and the ShardAccounts before and after it.

    `trace` is the hash of the first transaction of its cause, `parent` of the one that sent its
    message.
    """

    account: str
    lt: int
    hash: bytes
    block: int
    utime: int
    trace: bytes
    parent: bytes | None
    in_hash: bytes
    in_norm: bytes
    boc: bytes
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class Posted:
    """One message and the transactions (by hash) that sent and received it, where there are."""

    hash: bytes
    norm: bytes
    source: str | None
    destination: str | None
    lt: int
    op: int | None
    block: int
    sent_by: bytes | None
    received_by: bytes | None
    boc: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """One message from outside or from the faucet, and all that it caused. Amounts are nano."""

    seqno: int
    utime: int
    minted: int
    fees: int


@dataclass(frozen=True, slots=True)
class Query:
    """A WHERE clause of fixed text and its values, an order and a window."""

    where: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    order: str = "lt DESC"
    limit: int = 100
    offset: int = 0

    def sql(self, columns: str, table: str) -> tuple[str, tuple[Any, ...]]:
        """The statement and its parameters; no value is ever part of the text."""
        where = " AND ".join(self.where) or "1"
        text = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY {self.order} LIMIT ? OFFSET ?"  # noqa: S608 - fixed texts
        return text, (*self.values, self.limit, self.offset)


class Log:
    """The file, or memory for `None`; raises `SetupError` where it is somebody else's."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        # Opened on one thread and used on another, never on two at a time.
        self._db = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False
        )
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise SetupError(f"{path} is no devnet of this version: {error}") from None
        except SetupError:
            self._db.close()
            raise

    def _open(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
        elif version != VERSION:
            raise SetupError(
                f"{self._path} holds a devnet of version {version}, not {VERSION}: "
                "move it away to begin a new one"
            )

    def close(self) -> None:
        """Write what is left of the WAL, and let go of the file."""
        self._db.close()

    def meta(self, key: str) -> str | None:
        """A fact about this chain."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put_meta(self, key: str, value: str) -> None:
        """Keep a fact about this chain."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def append(self, block: Block, entries: Sequence[Entry], posted: Iterable[Posted]) -> None:
        """Write a block, all of it or nothing."""
        with self._whole():
            self._db.execute(
                "INSERT INTO blocks VALUES (?, ?, ?, ?)",
                (block.seqno, block.utime, str(block.minted), str(block.fees)),
            )
            self._db.executemany(
                f"INSERT INTO transactions ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 - fixed
                [_row(entry, _COLUMNS) for entry in entries],
            )
            self._db.executemany(
                f"INSERT INTO messages ({_MESSAGE_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 - fixed
                [_row(one, _MESSAGE_COLUMNS) for one in posted],
            )

    def back_to(self, seqno: int) -> None:
        """Forget every block after this one, as a chain that lost a fork does."""
        with self._whole():
            self._db.execute("DELETE FROM messages WHERE block > ?", (seqno,))
            self._db.execute("DELETE FROM transactions WHERE block > ?", (seqno,))
            self._db.execute("DELETE FROM blocks WHERE seqno > ?", (seqno,))

    def _whole(self) -> "_Whole":
        return _Whole(self._db)

    def head(self) -> Block:
        """The newest block; number 0 is the empty chain."""
        row = self._db.execute("SELECT * FROM blocks ORDER BY seqno DESC LIMIT 1").fetchone()
        return Block(0, 0, 0, 0) if row is None else _block(row)

    def block(self, seqno: int) -> Block | None:
        """One block."""
        row = self._db.execute("SELECT * FROM blocks WHERE seqno = ?", (seqno,)).fetchone()
        return None if row is None else _block(row)

    def totals(self) -> tuple[int, int]:
        """What the faucet ever gave, and what fees ever took, in nano."""
        rows = self._db.execute("SELECT minted, fees FROM blocks").fetchall()
        return sum(int(minted) for minted, _ in rows), sum(int(fees) for _, fees in rows)

    def last_lt(self) -> int:
        """The highest logical time of a transaction."""
        (lt,) = self._db.execute("SELECT max(lt) FROM transactions").fetchone()
        return int(lt or 0)

    def state(self, account: str) -> bytes | None:
        """The ShardAccount that an account's last transaction left."""
        row = self._db.execute(
            "SELECT after FROM transactions WHERE account = ? ORDER BY lt DESC LIMIT 1", (account,)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def accounts(self) -> list[str]:
        """Every address that a message ever reached."""
        rows = self._db.execute("SELECT DISTINCT account FROM transactions").fetchall()
        return [str(row[0]) for row in rows]

    def find(self, query: Query) -> list[Entry]:
        """Transactions."""
        rows = self._db.execute(*query.sql(_COLUMNS, "transactions"))
        return [Entry(*row) for row in rows]

    def find_messages(self, query: Query) -> list[Posted]:
        """Messages."""
        rows = self._db.execute(*query.sql(_MESSAGE_COLUMNS, "messages"))
        return [Posted(*row) for row in rows]


class _Whole:
    """One SQL transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _row(record: Entry | Posted, columns: str) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in columns.split(", "))


def _block(row: Sequence[Any]) -> Block:
    return Block(int(row[0]), int(row[1]), int(row[2]), int(row[3]))
