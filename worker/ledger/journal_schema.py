"""Opening the journal's file: its tables, its key, and journals from before they were encrypted."""

import sqlite3
from pathlib import Path

import msgspec

from bombyx.errors import SetupError
from worker.sealing.cipher import Cipher, Unreadable
from worker.sealing.port import SealingKey

VERSION = 2
"""Of the tables, in the file's `user_version`; 0 is a new file or a journal in the clear."""
_LOCK_SECONDS = 0.5
"""For a predecessor that is just closing the file."""
_CHECK, _BY = "key check", "sealed by"
_CHECK_VALUE = b"the key is the journal's"
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE keyset (worker TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
CREATE TABLE receipt (
    statement TEXT PRIMARY KEY, gateway TEXT NOT NULL, worker TEXT NOT NULL, sealed BLOB NOT NULL
) STRICT;
CREATE TABLE billed (gateway TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
"""


def open_database(path: Path, key: SealingKey, cipher: Cipher) -> sqlite3.Connection:
    """The file under its key; raises `SetupError` naming the file and the way out."""
    if key.was_used and not path.exists():
        raise SetupError(
            f"the worker's journal {path} is gone and its key is here: bring it back, or move the "
            "key away as well to begin without what the journal held"
        )
    try:
        # Commits are explicit: they are groups.
        database = sqlite3.connect(path, isolation_level=None, timeout=_LOCK_SECONDS)
    except sqlite3.Error as error:
        raise SetupError(f"the worker's journal {path} cannot be opened ({error})") from None
    try:
        _prepare(database, path, key, cipher)
    except sqlite3.Error as error:
        database.close()
        raise SetupError(_refusal(path, error)) from None
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection, path: Path, key: SealingKey, cipher: Cipher) -> None:
    database.execute("PRAGMA locking_mode=EXCLUSIVE")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("PRAGMA secure_delete=ON")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise SetupError(f"the worker's journal {path} is of a newer Bombyx: use that one")
    if version == VERSION:
        _check_key(database, path, key, cipher)
        _check_pages(database)
        return
    is_old = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'receipt'").fetchone()
    database.execute("BEGIN IMMEDIATE")
    try:
        if is_old:
            _check_pages(database)
        _make(database, key, cipher, is_old=bool(is_old))
        database.execute("COMMIT")
    except BaseException:
        take_back(database)
        raise
    if is_old:
        # What was in the clear is left neither in free pages nor in the log.
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def take_back(database: sqlite3.Connection) -> None:
    """End a transaction that failed, unless SQLite did: it does by itself where a disk is full."""
    if database.in_transaction:
        database.execute("ROLLBACK")


def _make(database: sqlite3.Connection, key: SealingKey, cipher: Cipher, *, is_old: bool) -> None:
    if is_old:
        for table in ("keyset", "receipt", "billed"):
            database.execute(f"ALTER TABLE {table} RENAME TO clear_{table}")
    for statement in _TABLES.split(";"):
        database.execute(statement)
    if is_old:
        _encrypt(database, cipher)
        for table in ("keyset", "receipt", "billed"):
            database.execute(f"DROP TABLE clear_{table}")
    check = cipher.seal(_CHECK, _CHECK_VALUE)
    database.executemany("INSERT INTO meta VALUES (?,?)", [(_CHECK, check), (_BY, key.by.encode())])
    database.execute(f"PRAGMA user_version = {VERSION}")


def _encrypt(database: sqlite3.Connection, cipher: Cipher) -> None:
    """Rows in the clear become rows of the tables of now; the places as `journal_file` has them."""
    for worker, document in database.execute("SELECT worker, document FROM clear_keyset"):
        sealed = cipher.seal(f"keyset/{worker}", bytes(document))
        database.execute("INSERT INTO keyset VALUES (?,?)", (worker, sealed))
    rows = database.execute(
        "SELECT statement, gateway, worker, boot, n, at, amount, document, c FROM clear_receipt"
    )
    for statement, gateway, worker, *inside in rows:
        sealed = cipher.seal(f"receipt/{statement}/{gateway}", msgspec.msgpack.encode(inside))
        database.execute(
            "INSERT INTO receipt VALUES (?,?,?,?)", (statement, gateway, worker, sealed)
        )
    for gateway, amount in database.execute("SELECT gateway, amount FROM clear_billed"):
        sealed = cipher.seal(f"billed/{gateway}", str(amount).encode())
        database.execute("INSERT INTO billed VALUES (?,?)", (gateway, sealed))


def _check_key(database: sqlite3.Connection, path: Path, key: SealingKey, cipher: Cipher) -> None:
    known = dict(database.execute("SELECT name, value FROM meta").fetchall())
    try:
        cipher.open(_CHECK, known.get(_CHECK, b""))
    except Unreadable:
        by = bytes(known.get(_BY, b"?")).decode("ascii", "replace")[:16]
        raise SetupError(
            f"the worker's journal {path} is under another key, of kind {by}, and this one is of "
            f"kind {key.by}: start it on the machine and image that it is from until it is empty, "
            "or move it away to give up what it holds"
        ) from None


def _check_pages(database: sqlite3.Connection) -> None:
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _refusal(path: Path, error: sqlite3.Error) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return f"the worker's journal {path} is locked: another worker uses this --state"
    if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
        return f"the worker's journal {path} has no room: its disk is full"
    return damaged(path, str(error))


def damaged(path: Path, why: str) -> str:
    """The sentence of a damaged journal, and the way out."""
    return (
        f"the worker's journal {path} is damaged ({why}): bring back its newest copy, or move it "
        "away together with its key to give up what it holds"
    )
