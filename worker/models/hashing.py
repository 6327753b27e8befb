"""SHA-256 of many large files at once: hashing leaves Python's lock, so that threads help."""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bombyx.errors import SetupError
from bombyx.manifest import ManifestFile

_PIECE_BYTES = 4 * 2**20
_MAX_THREADS = 16
"""More than this waits for the disk."""

Advance = Callable[[int], None]
"""Told how many bytes more are done; called from one thread at a time."""


class Interrupted(Exception):
    """Raised within a thread that hashes when the process is told to stop."""


_stopping = threading.Event()
"""Threads cannot be cancelled, and a process does not end before they have."""


def interrupt(*, stopping: bool = True) -> None:
    """From now on whatever thread hashes gives up; False lets them hash again."""
    if stopping:
        _stopping.set()
    else:
        _stopping.clear()


def digest_file(path: Path, advance: Advance | None = None) -> tuple[int, str]:
    """Size and SHA-256; raises `OSError`, and `Interrupted` when the process is to stop."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            if _stopping.is_set():
                raise Interrupted
            digest.update(piece)
            size += len(piece)
            if advance is not None:
                advance(len(piece))
    return size, digest.hexdigest()


def ignore(_: int) -> None:
    """For whoever shows no progress."""


def hash_files(files: Mapping[str, Path], advance: Advance = ignore) -> list[ManifestFile]:
    """Each file's size and digest, in the order of the paths; raises `SetupError`."""
    lock = threading.Lock()

    def told(count: int) -> None:
        with lock:
            advance(count)

    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        made = pool.map(lambda one: _hash(one[0], one[1], told), sorted(files.items()))
        return list(made)


def _hash(relative: str, path: Path, advance: Advance) -> ManifestFile:
    try:
        size, digest = digest_file(path, advance)
        return ManifestFile(path=relative, size=size, sha256=digest)
    except OSError as error:
        raise SetupError(f"{relative}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise SetupError(f"{relative}: a manifest cannot hold such a name") from None
