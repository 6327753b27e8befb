"""Why a worker's process ended, in a file of its state folder: its owner's tools look there.

A worker that does not start, or that every gateway has sent away, has no control socket to ask.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bombyx.control.document import LAST_WORDS, LastWords
from bombyx.errors import BombyxError
from worker.clock import Clock, now_ms

MAX_SENTENCE = 2000
_OWNER_ONLY = 0o600


@contextlib.contextmanager
def last_words(folder: Path, *, clock: Clock = now_ms) -> Iterator[None]:
    """Keep the sentence that the block ends with; an end without one leaves no file."""
    try:
        yield
    except BombyxError as error:
        words = LastWords(at=clock(), code=error.code, sentence=error.message[:MAX_SENTENCE])
        with contextlib.suppress(OSError):
            _write(folder, words)
        raise
    forget_last_words(folder)


def forget_last_words(folder: Path) -> None:
    """It runs now, or has ended as it was told to."""
    with contextlib.suppress(OSError):
        (folder / LAST_WORDS).unlink(missing_ok=True)


def _write(folder: Path, words: LastWords) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = folder / f".{LAST_WORDS}.new"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(msgspec.json.encode(words))
    partial.replace(folder / LAST_WORDS)
