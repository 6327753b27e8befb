"""Marks in a channel's folder: empty files that say how far along it is (SPEC 7.9).

They stand beside the books and are no part of them: they choose a channel, and limit nothing.
"""

from pathlib import Path

from bombyx.errors import SetupError
from bombyx.files.durable import replace_durably, sync_folder

UNREGISTERED = "unregistered"
"""From its making until its gateway has accepted it; a folder of before has none."""
CLOSED = "closed"
"""Its contract has ended: there is nothing left to do with it."""


def is_marked(folder: Path, mark: str) -> bool:
    """Whether the folder has this mark."""
    return (folder / mark).exists()


def set_mark(folder: Path, mark: str) -> None:
    """Durable; a second time does nothing. Raises `SetupError`."""
    if is_marked(folder, mark):
        return
    try:
        replace_durably(folder / mark, b"")
    except OSError as error:
        raise SetupError(f"{folder / mark} cannot be written: {error.strerror}") from None


def clear_mark(folder: Path, mark: str) -> None:
    """The same the other way round."""
    try:
        (folder / mark).unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise SetupError(f"{folder / mark} cannot be removed: {error.strerror}") from None
