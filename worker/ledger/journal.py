"""The journal for the event loop: a terminal statement is on disk before it is sent (SPEC 6.8).

One thread owns the file. What arrives while a commit runs shares the next one. Whether the file is
an old copy of itself is looked at when it is opened (SPEC 21).
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bombyx import canonical
from bombyx.attestation.keyset import Keyset, keyset_digest
from bombyx.errors import JournalFailed, SetupError
from bombyx.link.documents import Disposition
from bombyx.money.receipt import Receipt
from bombyx.money.statement import statement_hash
from worker.ledger.hours import NOTES, Hours
from worker.ledger.journal_file import (
    Disposed,
    Entry,
    JournalFile,
    KeysetEntry,
    Operation,
    Payment,
    Probe,
)
from worker.ledger.payout_books import Payee, PayoutBooks
from worker.ledger.rollback import judge
from worker.sealing.file_key import FileSealing
from worker.sealing.port import Sealing, SealingKey

T = TypeVar("T")

MAX_KNOWN = 16_384
"""Statements that are remembered beyond their end: some minutes of a busy worker, a megabyte."""
PATIENCE_SECONDS = 20.0
"""How long a statement waits for room on the disk; less than a gateway waits for statements."""
RETRY_SECONDS = 0.5
HOURS_SECONDS = 30.0
"""Between two writings of the counts of hours."""
UNSET_PAYOUT = "unset"
_GENERATION = "generation"
_PAYOUT = "payout"


class Journal:
    """Statements that no gateway has disposed of yet."""

    def __init__(self, file: JournalFile, executor: ThreadPoolExecutor, key: SealingKey) -> None:
        self._file = file
        self._executor = executor
        self._counter = key.counter
        self.sealed_by = key.by
        """The kind of sealing that its key is from."""
        self.rollback = judge(kept=None, counted=None)
        """Whether the journal was put back to an old copy, as far as this can be told."""
        self.strangers = 0
        """Final words about statements that this journal never held: of an old copy's future."""
        self.trouble: str | None = None
        """Why nothing can be written just now; until it can, nothing should be signed."""
        self.hours = Hours()
        """What was done by hour, for the owner."""
        self._hours_at = float("-inf")
        self._remembering: asyncio.Task[None] | None = None
        self._known: dict[str, None] = {}
        self._queue: list[tuple[Operation, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._unpaid: dict[str, int] = {}

    @classmethod
    async def open(cls, path: Path, sealing: Sealing | None = None) -> "Journal":
        """Open the file at `path`, by default under a key in a file beside it.

        Raises `SetupError`.
        """
        sealing = sealing or FileSealing()
        key = await sealing.key(path)
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        loop = asyncio.get_running_loop()
        try:
            file = await loop.run_in_executor(executor, JournalFile, path, key)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        journal = cls(file, executor, key)
        try:
            await sealing.used(path)
            journal._unpaid = await journal._call(file.unpaid)
            journal.hours = Hours.read(await journal._call(lambda: file.notes(NOTES)))
            await journal._call(file.forget_keysets)
            await journal._call(journal._look_back)
        except (sqlite3.Error, OSError) as error:
            await journal._abandon()
            raise SetupError(f"the worker's journal {path} cannot be used ({error})") from None
        except BaseException:
            await journal._abandon()
            raise
        return journal

    async def close(self) -> None:
        """Write what is queued and close the file."""
        if self._writer is not None:
            await self._writer
        if self._remembering is not None:
            await self._remembering
        await self._keep_hours()
        with contextlib.suppress(sqlite3.Error, SetupError):  # the next start will say so
            await self._call(self._count_on)
        await self._abandon()

    async def _abandon(self) -> None:
        await self._call(self._file.close)
        self._executor.shutdown()

    def _look_back(self) -> None:
        """Compare with the machine's counter, and go on counting."""
        if self._counter is None:
            return
        kept = self._file.note(_GENERATION)
        told = None if kept is None else int(kept)
        self.rollback = judge(kept=told, counted=self._counter.read())
        self._count_on()

    def _count_on(self) -> None:
        """First the journal, then the machine: a cut in between leaves the journal ahead."""
        if self._counter is None:
            return
        self._file.take_note(_GENERATION, str(self._counter.read() + 1))
        self._counter.raise_once()

    async def payout(self, told: str) -> str:
        """The address that earnings go to: `told`, and kept; or the one that was kept.

        Raises `JournalFailed`.
        """
        if told == UNSET_PAYOUT:
            return await self.kept_payout() or told
        try:
            await self._call(lambda: self._file.take_note(_PAYOUT, told))
        except (sqlite3.Error, OSError) as error:
            raise JournalFailed(f"the worker's journal cannot be written ({error})") from None
        return told

    async def kept_payout(self) -> str | None:
        """The address of the process before; raises `JournalFailed`."""
        return await self._read(lambda: self._file.note(_PAYOUT))

    def unpaid(self, gateway: str) -> int:
        """Nano earned from a gateway and not paid by it: undisposed or billed."""
        return self._unpaid.get(gateway, 0)

    def all_unpaid(self) -> dict[str, int]:
        """The same of every gateway, by its key."""
        return dict(self._unpaid)

    async def keep_keyset(self, keyset: Keyset) -> None:
        """Keep the document that receipts of this generation are checked with."""
        await self._submit(KeysetEntry(keyset_digest(keyset), canonical.encode(keyset)))

    async def keep(self, receipt: Receipt, document: bytes) -> None:
        """Returns once the receipt is on disk; raises `JournalFailed`."""
        statement = receipt.statement
        name = statement_hash(statement).hex()
        self._know(name)
        await self._submit(
            Entry(
                statement=name,
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
        self.hours.served(statement)

    def remember_hours(self) -> None:
        """Write the counts of hours, unless that was done lately.

        A process that is killed loses what was counted since, and nothing of what it earned.
        """
        now = asyncio.get_running_loop().time()
        is_writing = self._remembering is not None and not self._remembering.done()
        if self.hours.is_changed and not is_writing and now >= self._hours_at + HOURS_SECONDS:
            self._hours_at = now
            self._remembering = asyncio.create_task(self._keep_hours())

    async def _keep_hours(self) -> None:
        """Where they cannot be written, that is tried again the next time."""
        notes = self.hours.notes()
        try:
            await self._call(lambda: self._file.take_notes(notes))
        except (sqlite3.Error, OSError):
            self.hours.put_back(notes)

    async def dispose(self, gateway: str, dispositions: Sequence[Disposition]) -> None:
        """Take a gateway's final words about its own statements."""
        self.strangers += sum(one.statement not in self._known for one in dispositions)
        await asyncio.gather(*(self._submit(_disposed(gateway, one)) for one in dispositions))

    async def pay(
        self, gateway: str, step: Callable[[PayoutBooks], PayoutBooks], payee: Payee | None
    ) -> PayoutBooks:
        """Take a step of what a gateway pays; raises `JournalFailed`."""
        payment = Payment(gateway, step, payee)
        await self._submit(payment)
        return payment.after

    async def all_books(self, payee: Payee | None) -> dict[str, PayoutBooks]:
        """What every gateway pays by; raises `JournalFailed`."""
        return await self._read(lambda: self._file.all_books(payee))

    async def billed(self, gateway: str) -> int:
        """Nano that a gateway billed and no voucher covers; raises `JournalFailed`."""
        return await self._read(lambda: self._file.billed(gateway))

    async def undisposed(self, gateway: str) -> list[Entry]:
        """Everything to send again, with the bytes that were sent before.

        Raises `JournalFailed`.
        """
        entries = await self._read(lambda: self._file.receipts(gateway))
        for one in entries:
            self._know(one.statement)
        return entries

    def _know(self, statement: str) -> None:
        """A gateway may say its word about a statement more than once."""
        self._known.pop(statement, None)
        self._known[statement] = None
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    async def waiting(self) -> int:
        """How many statements no gateway has disposed of; raises `JournalFailed`."""
        return await self._read(self._file.count)

    async def keyset(self, worker: str) -> bytes | None:
        """The keyset document of an earlier generation or boot; raises `JournalFailed`."""
        return await self._read(lambda: self._file.keyset(worker))

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
                error = await self._persist([operation for operation, _ in batch])
                for _, future in batch:
                    if future.done():
                        continue
                    if error is None:
                        future.set_result(None)
                    else:
                        future.set_exception(error)
        finally:
            self._writer = None

    async def _persist(self, operations: Sequence[Operation]) -> JournalFailed | None:
        """Commit; a disk without room is given a while, since what is signed is worth money."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + PATIENCE_SECONDS
        is_patient = any(not isinstance(one, Probe) for one in operations)
        while True:
            error = await self._commit(operations)
            self.trouble = None if error is None else error.message
            if error is None or not (is_patient and _may_pass(error)) or loop.time() >= ends:
                return error
            await asyncio.sleep(RETRY_SECONDS)

    def probe(self) -> None:
        """See whether it can be written again; `trouble` tells what came of it."""
        if self._writer is None:  # else somebody tries just now
            self._submit(Probe()).add_done_callback(lambda done: done.exception())

    async def _commit(self, operations: Sequence[Operation]) -> JournalFailed | None:
        try:
            changes = await self._call(lambda: self._file.apply(operations))
        except (sqlite3.Error, OSError) as error:
            return JournalFailed(f"the worker's journal cannot be written ({error})")
        for gateway, change in changes.items():
            self._unpaid[gateway] = self._unpaid.get(gateway, 0) + change
        return None

    async def _read(self, function: Callable[[], T]) -> T:
        try:
            return await self._call(function)
        except (sqlite3.Error, OSError) as error:
            raise JournalFailed(f"the worker's journal cannot be read ({error})") from None

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)


def _may_pass(error: JournalFailed) -> bool:
    """Whether room on the disk would mend it."""
    return any(word in error.message for word in ("is full", "No space left", "quota"))


def _disposed(gateway: str, one: Disposition) -> Disposed:
    """What a disposition means for what the gateway owes."""
    is_owed = one.disposition in ("billed", "superseded")
    winner = one.winner
    if one.disposition != "superseded" or not isinstance(winner, Receipt):
        return Disposed(one.statement, gateway, is_owed)
    is_other = statement_hash(winner.statement).hex() != one.statement
    return Disposed(one.statement, gateway, is_owed, winner.statement.c if is_other else "")
