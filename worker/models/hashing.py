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
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
                advance(len(piece))
        return ManifestFile(path=relative, size=size, sha256=digest.hexdigest())
    except OSError as error:
        raise SetupError(f"{relative}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise SetupError(f"{relative}: a manifest cannot hold such a name") from None
