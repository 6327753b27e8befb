"""Files that are whole or not there, for their owner alone, also after a power cut (SPEC 7.9).

What they hold is synchronised before they get their name, and the name after it: it lies in the
folder, which is written on its own.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

OWNER_ONLY: Final = 0o600
NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
"""Windows has no such flag, and links there need rights."""
_FOLDER: Final = 0o700


def replace_durably(path: Path, data: bytes) -> None:
    """Put a file in the place of an older one, in one step; for one writer at a time.

    A draft that a killed writer left is taken away first. Raises `OSError`; the older file is then
    as it was, unless it is the folder that could not be synchronised.
    """
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    _write(draft, data)
    draft.replace(path)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> None:
    """Make a file, and its folder; one that is there stays, also if another process was first.

    Raises `OSError`.
    """
    path.parent.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
    with drafted(path, data) as draft, suppress(FileExistsError):
        os.link(draft, path)


@contextmanager
def drafted(path: Path, data: bytes) -> Iterator[Path]:
    """A synchronised draft beside `path`, to be given its name; what is done to it then lasts.

    For any number of writers at a time. Gone at the end where it got no name; raises `OSError`.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write(draft, data)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in it stays so. Raises `OSError`."""
    if os.name != "posix":  # elsewhere a folder cannot be opened, nor need it be
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(draft: Path, data: bytes) -> None:
    """A file that was not there, hence never through a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW
    with os.fdopen(os.open(draft, flags, OWNER_ONLY), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
