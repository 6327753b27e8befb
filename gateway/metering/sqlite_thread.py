"""One thread that owns the SQLite connection; what a client waits for goes first (SPEC 5.4).

A commit that must survive the death of the process costs no disk flush (WAL, synchronous=NORMAL);
one that must survive the loss of power does (FULL). Settlements wait in the second queue, so a
claim stands behind at most one flush.
"""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from bombyx.errors import StoreBusy
from gateway.database import connect_sqlite

T = TypeVar("T")
_Job: TypeAlias = tuple[Callable[[], None], "Survives"]


class Survives(Enum):
    """What a commit must outlive."""

    PROCESS = "NORMAL"
    POWER = "FULL"


class SqliteThread:
    """Runs jobs, each in its own transaction."""

    def __init__(self, path: Path) -> None:
        self._connection = connect_sqlite(path)
        self._queues: dict[Survives, deque[_Job]] = {level: deque() for level in Survives}
        self._tokens: SimpleQueue[None] = SimpleQueue()
        """One for each job, and one when the thread is to end: waiting for it costs no Python."""
        self._closing = False
        self._level = Survives.POWER
        self._thread = threading.Thread(target=self._work, name="bombyx-sqlite", daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[sqlite3.Connection], T], survives: Survives) -> T:
        """Run `job(connection)` in a transaction; raises `StoreBusy` when the file is locked."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result = self._transact(job, survives)
            except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
                _post(loop, future, None, error)
            else:
                _post(loop, future, result, None)

        self._put((work, survives))
        return await future

    def _put(self, job: _Job) -> None:
        if self._closing:
            raise StoreBusy("the database is closed")
        self._queues[job[1]].append(job)
        self._tokens.put(None)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job[0]()
        self._connection.close()

    def _next(self) -> _Job | None:
        self._tokens.get()
        for queue in self._queues.values():
            if queue:
                return queue.popleft()
        return None

    def _transact(self, job: Callable[[sqlite3.Connection], T], survives: Survives) -> T:
        connection = self._connection
        try:
            if survives is not self._level:
                connection.execute(f"PRAGMA synchronous = {survives.value}")
                self._level = survives
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = job(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                raise StoreBusy("the database file is locked") from None
            raise
        return result

    async def close(self) -> None:
        """Do what is queued, then stop."""
        if not self._closing:
            self._closing = True
            self._tokens.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    # The extended code's low byte is the primary one.
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _post(
    loop: asyncio.AbstractEventLoop,
    future: "asyncio.Future[Any]",
    result: object,
    error: BaseException | None,
) -> None:
    def resolve() -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:
        # The caller's loop is gone; the job is done all the same.
        return
