"""Small secrets in files of mode 0600: made once, whole or not at all, never through a link."""

import os
import secrets
import stat
from pathlib import Path

from bombyx.errors import SetupError
from bombyx.files.durable import NO_FOLLOW, write_new

_MAX_BYTES = 4096


def read_secret(path: Path) -> str | None:
    """The file's text, or None when it does not exist.

    Raises `SetupError` for a link, a file of somebody else, or one that others may read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
    try:
        _check_private(path, os.fstat(descriptor))
        data = os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise SetupError(f"{path} holds no secret of ours") from None
    if not text or len(data) > _MAX_BYTES:
        raise SetupError(f"{path} holds no secret of ours")
    return text


def _check_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SetupError(f"{path} is no plain file")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise SetupError(f"{path} belongs to another user")
    if os.name == "posix" and found.st_mode & 0o077:
        raise SetupError(f"{path} is open to other users; chmod 600 it")


def load_or_create_secret(path: Path) -> str:
    """The file's text; of several processes that start at once, one writes 32 random bytes in hex.

    Raises `SetupError` for a file that is not ours alone, `OSError` when none can be written.
    """
    found = read_secret(path)
    if found is not None:
        return found
    # Where another process was first, its secret counts.
    write_new(path, f"{secrets.token_hex(32)}\n".encode())
    created = read_secret(path)
    if created is None:
        raise FileNotFoundError(path)
    return created
