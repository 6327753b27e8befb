"""Files that are the user's alone: mode 0600 in folders of mode 0700, whole or not at all."""

import os
import secrets
from pathlib import Path

_MODE = 0o600
_FOLDER_MODE = 0o700
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
"""Windows has no such flag, and links there need rights."""


def write_private(path: Path, data: bytes) -> None:
    """Write a file under its name in one step, replacing an older one; raises `OSError`."""
    path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
