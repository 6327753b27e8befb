"""Files that survive a power cut: replaced in one step, or gone for good (SPEC 7.9)."""

import os
from pathlib import Path

MODE = 0o600
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


def write_durable(path: Path, data: bytes) -> None:
    """Replace a file in one step that survives a power cut; for one writer. Raises `OSError`."""
    draft = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_FOLLOW
    with os.fdopen(os.open(draft, flags, MODE), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in it stays so. Raises `OSError`."""
    if os.name != "posix":  # pragma: no cover
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
