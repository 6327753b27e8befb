"""Files that are there whole or not at all, for their owner alone, also after a power cut."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_OWNER_ONLY: Final = 0o600
_FOLDER: Final = 0o700


@contextmanager
def drafted(path: Path, data: bytes) -> Iterator[Path]:
    """A synchronised draft beside `path`, to be given its name; what is done to it then lasts.

    Raises `OSError`.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
    _sync(path.parent)


def write_new(path: Path, data: bytes) -> None:
    """Never over a file that is there: that one stays. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER)
    with drafted(path, data) as draft, suppress(FileExistsError):
        os.link(draft, path)


def _sync(folder: Path) -> None:
    """A name lies in its folder, which is written on its own."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
