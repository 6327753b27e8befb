"""One channel's folder: held by one process, and on stable storage before a voucher leaves.

Only `ChannelStore` makes a `Saved` purse (SPEC 7.9), after fsync and rename. A thread of its own
writes, so that no event loop waits for a disk, and whatever came meanwhile goes with the next
write: a hundred requests at once cost a few.
"""

import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar, cast

from bombyx import canonical
from bombyx.client.channel.lock import FolderLock
from bombyx.client.channel.marks import UNREGISTERED, set_mark
from bombyx.client.channel.records import ChannelRecord, decode_books, encode_books
from bombyx.client.secret_files import read_secret
from bombyx.errors import BombyxError, NotCanonical, SetupError
from bombyx.files.durable import NO_FOLLOW, OWNER_ONLY, replace_durably, sync_folder
from bombyx.money.channel.closing import ChannelSigner
from bombyx.money.channel.identity import Channel
from bombyx.money.channel.spending import Purse, Saved

RECORD, BOOKS, KEY = "channel.json", "books.json", "session.key"
_SEED_BYTES = 32
Value = TypeVar("Value")
_FOLDER_MODE = 0o700


class Pending(Generic[Value]):
    """Something that another thread does: wait for `done`, then see what became of it."""

    def __init__(self) -> None:
        self.done: Future[None] = Future()
        self._value: Value | None = None
        self._error: BombyxError | None = None

    def finish(self, value: Value) -> None:
        """It is done."""
        self._value = value
        self.done.set_result(None)

    def fail(self, error: BombyxError) -> None:
        """It is over and came to nothing."""
        self._error = error
        self.done.set_result(None)

    def result(self) -> Value:
        """What was done, once it is `done`; raises what it failed with."""
        self.done.result()
        if self._error is not None:
            raise self._error
        return cast("Value", self._value)


Saving = Pending[Saved]
"""A write of the books. The purse may be a later one than was asked for, never an earlier one."""


class ChannelStore:
    """A channel of ours: what it is, its session key, and its books."""

    def __init__(self, folder: Path) -> None:
        """Open what `create_channel` made; raises `SetupError`, also while it is in use."""
        self.record = read_record(folder)
        self.channel = _channel_of(self.record, folder)
        self._lock_file = FolderLock(folder, name=self.name)
        try:
            self.signer = _signer(folder / KEY, self.channel)
            # What was read lies on disk: a crash before now cannot take it back.
            self._saved = Saved(read_purse(folder, self.record))
        except BombyxError:
            self._lock_file.close()
            raise
        weakref.finalize(self, self._lock_file.close)
        self.folder = folder
        self._lock = threading.Lock()
        self._latest: Purse = self._saved
        self._waiting, self._is_queued = Saving(), False
        self._closed = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="bombyx-books")

    def __repr__(self) -> str:
        return f"ChannelStore({self.name})"

    @property
    def name(self) -> str:
        """The account in hex."""
        return self.record.registration.channel

    @property
    def saved(self) -> Saved:
        """The newest purse that is on disk."""
        return self._saved

    @property
    def is_closed(self) -> bool:
        """Whether the channel was given back."""
        return self._closed

    def save(self, purse: Purse) -> Saving:
        """Write a purse; of several that wait only the newest is written."""
        with self._lock:
            if self._closed:
                lost = Saving()
                lost.fail(SetupError(f"the channel {self.name} was given back"))
                return lost
            self._latest = purse
            if not self._is_queued:
                self._is_queued = True
                self._writer.submit(self._flush)
            return self._waiting

    def _flush(self) -> None:
        with self._lock:
            purse, saving = self._latest, self._waiting
            self._waiting, self._is_queued = Saving(), False
        try:
            replace_durably(self.folder / BOOKS, encode_books(purse, self.name))
        except OSError as error:
            why = error.strerror or type(error).__name__
            saving.fail(SetupError(f"the channel's books cannot be written: {why}"))
        else:
            self._saved = Saved(purse)
            saving.finish(self._saved)

    def beside(self, name: str, make: Callable[[], bytes] | None) -> None:
        """Write a small file below the folder, or remove it; later, by the same thread.

        Not durable: it helps to prove what was spent, and limits nothing. A disk that refuses it
        costs headroom at most.
        """
        with self._lock:
            if not self._closed:
                self._writer.submit(_write_beside, self.folder / name, make)

    def close(self) -> None:
        """Write what waits, and let another process have the channel."""
        with self._lock:
            self._closed = True
        self._writer.shutdown(wait=True)
        self._lock_file.close()


def _write_beside(path: Path, make: Callable[[], bytes] | None) -> None:
    with contextlib.suppress(OSError):
        if make is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_FOLLOW
        with os.fdopen(os.open(path, flags, OWNER_ONLY), "wb") as file:
            file.write(make())


def create_channel(root: Path, record: ChannelRecord, seed: bytes) -> Path:
    """Lay down a new channel, with its key, before any money goes there; gives its folder.

    Raises `SetupError` where it cannot be written, or is there already.
    """
    folder = root / record.registration.channel
    try:
        root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        folder.mkdir(mode=_FOLDER_MODE)
        replace_durably(folder / KEY, f"{seed.hex()}\n".encode())
        replace_durably(folder / BOOKS, encode_books(Purse(), record.registration.channel))
        set_mark(folder, UNREGISTERED)
        # Last: a folder without it is no channel.
        replace_durably(folder / RECORD, canonical.encode(record))
        sync_folder(root)
    except OSError as error:
        raise SetupError(f"the channel's folder {folder} cannot be written: {error}") from None
    return folder


def read_record(folder: Path) -> ChannelRecord:
    """What a folder says its channel is; raises `SetupError`. Needs no lock."""
    try:
        return canonical.decode((folder / RECORD).read_bytes(), ChannelRecord)
    except OSError as error:
        raise SetupError(f"{folder / RECORD} cannot be read: {error.strerror}") from None
    except NotCanonical as error:
        raise SetupError(f"{folder / RECORD} is broken: {error.message}") from None


def read_purse(folder: Path, record: ChannelRecord) -> Purse:
    """The books as they lie there now; raises `SetupError`. Needs no lock: they change whole."""
    try:
        data = (folder / BOOKS).read_bytes()
    except OSError as error:
        raise SetupError(f"{folder / BOOKS} cannot be read: {error.strerror}") from None
    return decode_books(data, record.registration.channel)


def read_channel(folder: Path) -> tuple[ChannelRecord, Purse]:
    """Record and books, the address recomputed; raises `SetupError`. Needs no lock."""
    record = read_record(folder)
    _channel_of(record, folder)
    return record, read_purse(folder, record)


def _channel_of(record: ChannelRecord, folder: Path) -> Channel:
    try:
        return record.channel
    except (BombyxError, ValueError):
        raise SetupError(f"{folder / RECORD} was changed: its address is another's") from None


def _signer(path: Path, channel: Channel) -> ChannelSigner:
    try:
        seed = bytes.fromhex(read_secret(path) or "")
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise SetupError(f"{path} does not hold 32 bytes in hex")
    signer = ChannelSigner(seed)
    if signer.public_key != channel.config.client_key:
        raise SetupError(f"{path} is the key of another channel")
    return signer
