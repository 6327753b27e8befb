"""The journal for the event loop: a terminal statement is on disk before it is sent (SPEC 6.8).

One thread owns the file. What arrives while a commit runs shares the next one.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bombyx import canonical
from bombyx.attestation.keyset import Keyset, keyset_digest
from bombyx.errors import JournalFailed
from bombyx.link.documents import Disposition
from bombyx.money.receipt import Receipt
from bombyx.money.statement import statement_hash
from worker.ledger.journal_file import Disposed, Entry, JournalFile, KeysetEntry, Operation

T = TypeVar("T")


class Journal:
    """Statements that no gateway has disposed of yet."""

    def __init__(self, file: JournalFile, executor: ThreadPoolExecutor) -> None:
        self._file = file
        self._executor = executor
        self._queue: list[tuple[Operation, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._unpaid: dict[str, int] = {}

    @classmethod
    async def open(cls, path: Path) -> "Journal":
        """Open the file at `path`; raises `SetupError`."""
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        loop = asyncio.get_running_loop()
        try:
            file = await loop.run_in_executor(executor, JournalFile, path)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        journal = cls(file, executor)
        await journal._call(file.forget_keysets)
        journal._unpaid = await journal._call(file.unpaid)
        return journal

    async def close(self) -> None:
        """Write what is queued and close the file."""
        if self._writer is not None:
            await self._writer
        await self._call(self._file.close)
        self._executor.shutdown()

    def unpaid(self, gateway: str) -> int:
        """Nano earned from a gateway and not paid by it: undisposed or billed."""
        return self._unpaid.get(gateway, 0)

    async def keep_keyset(self, keyset: Keyset) -> None:
        """Keep the document that receipts of this generation are checked with."""
        await self._submit(KeysetEntry(keyset_digest(keyset), canonical.encode(keyset)))

    async def keep(self, receipt: Receipt, document: bytes) -> None:
        """Returns once the receipt is on disk; raises `JournalFailed`."""
        statement = receipt.statement
        await self._submit(
            Entry(
                statement=statement_hash(statement).hex(),
                gateway=statement.gateway,
                worker=statement.worker,
                boot=statement.boot,
                n=statement.n,
                at=statement.at,
                amount=int(statement.amount_nano),
                document=document,
                c=statement.c,
            )
        )

    async def dispose(self, gateway: str, dispositions: Sequence[Disposition]) -> None:
        """Take a gateway's final words about its own statements."""
        await asyncio.gather(*(self._submit(_disposed(gateway, one)) for one in dispositions))

    async def undisposed(self, gateway: str) -> list[Entry]:
        """Everything to send again, with the bytes that were sent before.

        Raises `JournalFailed`.
        """
        try:
            return await self._call(lambda: self._file.receipts(gateway))
        except (sqlite3.Error, OSError) as error:
            raise JournalFailed(f"the worker's journal cannot be read ({error})") from None

    async def keyset(self, worker: str) -> bytes | None:
        """The keyset document of an earlier generation or boot."""
        return await self._call(lambda: self._file.keyset(worker))

    def _submit(self, operation: Operation) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((operation, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return future

    async def _write(self) -> None:
        try:
            while self._queue:
                batch, self._queue = self._queue, []
                error = await self._commit([operation for operation, _ in batch])
                for _, future in batch:
                    if future.done():
                        continue
                    if error is None:
                        future.set_result(None)
                    else:
                        future.set_exception(error)
        finally:
            self._writer = None

    async def _commit(self, operations: Sequence[Operation]) -> JournalFailed | None:
        try:
            changes = await self._call(lambda: self._file.apply(operations))
        except (sqlite3.Error, OSError) as error:
            return JournalFailed(f"the worker's journal cannot be written ({error})")
        for gateway, change in changes.items():
            self._unpaid[gateway] = self._unpaid.get(gateway, 0) + change
        return None

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)


def _disposed(gateway: str, one: Disposition) -> Disposed:
    """What a disposition means for what the gateway owes."""
    is_owed = one.disposition in ("billed", "superseded")
    winner = one.winner
    if one.disposition != "superseded" or not isinstance(winner, Receipt):
        return Disposed(one.statement, gateway, is_owed)
    is_other = statement_hash(winner.statement).hex() != one.statement
    return Disposed(one.statement, gateway, is_owed, winner.statement.c if is_other else "")
