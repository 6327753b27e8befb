"""An outbox in a file of its own: SQLite, synchronised to the disk with every change.

One process has it at a time: a second one is refused, since both would evaluate the same history.
"""

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from pytoniq_core import Address

from bombyx.errors import SetupError
from ton.chain.port import Point
from ton.codec.cells import raw
from ton.wallet.errors import WalletBusy
from ton.wallet.outbox import Batch, Order, State
from ton.wallet.outgoing import Outgoing, read_outgoing

VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE orders (
    at INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, account TEXT NOT NULL,
    boc BLOB NOT NULL, state TEXT NOT NULL, message BLOB NOT NULL, tx BLOB NOT NULL
);
CREATE INDEX orders_state ON orders (state);
CREATE TABLE batches (
    at INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, seqno INTEGER NOT NULL,
    valid_until INTEGER NOT NULL, orders TEXT NOT NULL, boc BLOB NOT NULL
);
CREATE TABLE read_until (one INTEGER PRIMARY KEY CHECK (one = 1), lt TEXT, hash BLOB);
"""
_ORDER: Final = "id, boc, state, message, tx"


class SqliteOutbox:
    """See `Outbox`. Raises `WalletBusy` where another process has the file."""

    def __init__(self, path: Path | None, *, source: Address) -> None:
        """The file, or memory for None; `source` is the wallet's address."""
        self._source = source
        try:
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=0.1)
        except sqlite3.Error as error:
            raise SetupError(f"cannot open {path}: {error}") from None
        try:
            self._open(path)
        except sqlite3.OperationalError as error:
            self._db.close()
            raise WalletBusy(f"another process uses {path} ({error})") from None
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise SetupError(f"{path} is no outbox: {error}") from None
        except SetupError:
            self._db.close()
            raise

    def _open(self, path: Path | None) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA synchronous = EXTRA")
        self._db.execute("BEGIN EXCLUSIVE")
        self._db.execute("COMMIT")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
        elif version != VERSION:
            raise SetupError(f"{path} is an outbox of version {version}, not {VERSION}")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    async def put(self, order_id: str, outgoing: Outgoing) -> Order:
        """See `Outbox.put`."""
        with self._whole():
            self._db.execute(
                "INSERT OR IGNORE INTO orders (id, account, boc, state, message, tx)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (order_id, raw(outgoing.to), outgoing.boc(self._source), State.QUEUED, b"", b""),
            )
        (row,) = self._rows("id = ?", order_id)
        return row

    async def get(self, order_id: str) -> Order | None:
        """See `Outbox.get`."""
        found = self._rows("id = ?", order_id)
        return found[0] if found else None

    async def queued(self, limit: int) -> list[Order]:
        """See `Outbox.queued`."""
        return self._rows("state = ?", State.QUEUED)[:limit]

    async def withdraw(self, order_id: str) -> bool:
        """See `Outbox.withdraw`."""
        if any(order_id in batch.orders for batch in await self.batches()):
            return False
        with self._whole():
            done = self._db.execute(
                "DELETE FROM orders WHERE id = ? AND state = ?", (order_id, State.QUEUED)
            )
        return bool(done.rowcount)

    async def batches(self) -> list[Batch]:
        """See `Outbox.batches`."""
        rows = self._db.execute(
            "SELECT hash, seqno, valid_until, orders, boc FROM batches ORDER BY at"
        )
        return [Batch(row[0], row[1], row[2], tuple(json.loads(row[3])), row[4]) for row in rows]

    async def sign(self, batch: Batch) -> bool:
        """See `Outbox.sign`."""
        with self._whole():
            if self._move(batch.orders, State.QUEUED, State.SIGNED) != len(batch.orders):
                self._db.execute("ROLLBACK")
                return False
            self._db.execute(
                "INSERT INTO batches (hash, seqno, valid_until, orders, boc) VALUES (?,?,?,?,?)",
                (batch.hash, batch.seqno, batch.valid_until, json.dumps(batch.orders), batch.boc),
            )
        return True

    async def expire(self, batch: Batch) -> None:
        """See `Outbox.expire`."""
        with self._whole():
            self._move(batch.orders, State.SIGNED, State.QUEUED)

    async def sent_to(self, account: str) -> list[Order]:
        """See `Outbox.sent_to`."""
        return self._rows("account = ? AND state = ?", account, State.SENT)

    async def read_until(self) -> Point | None:
        """See `Outbox.read_until`."""
        row = self._db.execute("SELECT lt, hash FROM read_until").fetchone()
        return None if row is None else Point(int(row[0]), row[1])

    async def advance(
        self, since: Point | None, to: Point, *, seqno: int, results: Sequence[Order] = (),
        bounced: Collection[str] = (),
    ) -> bool:  # fmt: skip
        """See `Outbox.advance`."""
        if await self.read_until() != since:
            return False
        with self._whole():
            for one in results:
                self._db.execute(
                    "UPDATE orders SET state = ?, message = ?, tx = ? WHERE id = ?",
                    (one.state, one.message, one.transaction, one.id),
                )
            for batch in await self.batches():
                if batch.seqno < seqno:
                    self._move(batch.orders, State.SIGNED, State.QUEUED)
            self._db.execute("DELETE FROM batches WHERE seqno < ?", (seqno,))
            self._move(bounced, State.SENT, State.BOUNCED)
            self._db.execute(
                "INSERT OR REPLACE INTO read_until VALUES (1, ?, ?)", (str(to.lt), to.hash)
            )
        return True

    def _move(self, order_ids: Collection[str], before: State, after: State) -> int:
        return sum(
            self._db.execute(
                "UPDATE orders SET state = ? WHERE id = ? AND state = ?", (after, one, before)
            ).rowcount
            for one in order_ids
        )

    def _rows(self, where: str, *values: str) -> list[Order]:
        text = f"SELECT {_ORDER} FROM orders WHERE {where} ORDER BY at"  # noqa: S608 - fixed texts
        return [
            Order(row[0], read_outgoing(row[1]), State(row[2]), row[3], row[4])
            for row in self._db.execute(text, values)
        ]

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk takes it back by itself
                self._db.execute("ROLLBACK")
            raise
        if self._db.in_transaction:  # else the block took it back
            self._db.execute("COMMIT")
