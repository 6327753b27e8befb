"""A key in a file that only its owner may read: where the platform seals nothing.

It keeps a copied journal from being read without its key, and a journal from vanishing unnoticed.
It does not keep who runs the machine from reading both.
"""

import asyncio
import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from bombyx.errors import SetupError
from worker.sealing.port import KEY_BYTES, SealingKey, beside

SUFFIX: Final = ".key"
DRAFT: Final = ".key-new"
"""Its name until the journal exists, so that a start that was cut short leaves nothing to mend."""
_MODE: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class FileSealing:
    """A `Sealing` without hardware."""

    name: Final = "file"

    def __init__(self, why: str = "the platform seals nothing") -> None:
        self._why = why

    @property
    def promise(self) -> str:
        """What keeps the key."""
        return f"{self._why}: the key lies in a file beside the journal, for its owner alone"

    async def key(self, journal: Path) -> SealingKey:
        """The key in the file, a new one at the first start; raises `SetupError`."""
        return await asyncio.to_thread(_load, journal)

    async def used(self, journal: Path) -> None:
        """Give the file its name for good."""
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(beside(journal, DRAFT).replace, beside(journal, SUFFIX))


def _load(journal: Path) -> SealingKey:
    for suffix in (SUFFIX, DRAFT):
        path = beside(journal, suffix)
        with contextlib.suppress(FileNotFoundError):
            return SealingKey(_read(path), FileSealing.name, was_used=suffix == SUFFIX)
    return SealingKey(_create(beside(journal, DRAFT)), FileSealing.name)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_mode & _OTHERS:
            raise SetupError(f"{path} may be read by others than its owner: chmod 600 {path}")
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        raise
    except (OSError, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SetupError(
            f"{path} is damaged and no key of the journal: bring back its copy; to give up what "
            "the journal holds, move both away"
        )
    return key


def _create(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SetupError(f"{path} cannot be written ({error.strerror})") from None
    return key
